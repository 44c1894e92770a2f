//! The rate of recording from batches, compared with single events over HTTP and with an empty table.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use futures_util::future::try_join_all;
use harness::{Message, World, reported_failures};
use hyper_util::rt::TokioIo;
use local::template::Template;
use local::token::SigningKey;
use local::{Backend, Gateway};
use store::Connections;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::Result;
use crate::data::{Data, WORKSPACE};
use crate::report::Report;

/// Single events to record over HTTP.
const SINGLE: usize = 4_000;
/// HTTP connections that send them.
const CONNECTIONS: usize = 16;
/// Batches recorded at the same time.
const MAX_CONCURRENT_BATCHES: usize = 2;
/// The least speed of batches, as a multiple of single events.
const MIN_SPEEDUP: f64 = 3.0;
/// The greatest relative difference of two rates that must be equal.
const MAX_DRIFT: f64 = 0.15;

pub(crate) async fn measure(activities: usize, report: &mut Report) -> Result<()> {
    let world = world().await?;
    let source = Template::load()?.queue_sources().into_iter().next().ok_or("no queue in template.yaml")?;
    let batch = source.batch_size;
    let tenth = (activities / 10 / batch).max(1) * batch;
    let data = Data::new(SINGLE + 11 * tenth);
    let single = over_http(&world, &data).await?;
    report.note(
        format!("recording one by one over HTTP, {CONNECTIONS} connections"),
        format!("{single:.0} activities/s"),
    );
    let mut rates = Vec::new();
    world.transport.take_metered();
    let began = Instant::now();
    for n in 0..10 {
        let began = Instant::now();
        batches(&world, &data, SINGLE + n * tenth, tenth, batch).await?;
        rates.push(tenth as f64 / began.elapsed().as_secs_f64());
        eprintln!(
            "recorded {} of {}, the last tenth at {:.0} a second",
            (n + 1) * tenth,
            10 * tenth,
            rates[n]
        );
    }
    let recorded = 10 * tenth;
    let rate = recorded as f64 / began.elapsed().as_secs_f64();
    let metered = world.transport.take_metered();
    let requests = metered.total() as f64 / (recorded / batch) as f64;
    let units = metered.units / recorded as f64;
    report.check(
        format!("recording {recorded} from batches of {batch} messages, {MAX_CONCURRENT_BATCHES} at once"),
        format!(
            "{requests:.1} requests a batch, {units:.2} write units an activity, {rate:.0} activities/s, {:.1} times as many",
            rate / single
        ),
        format!("≥ {MIN_SPEEDUP} times"),
        rate >= MIN_SPEEDUP * single,
    );
    let (first, last) = (rates[0], rates[9]);
    report.check(
        "the last tenth of them beside the first",
        format!("{last:.0} and {first:.0} activities/s ({:+.0}%)", 100.0 * (last / first - 1.0)),
        format!("± {:.0}%", 100.0 * MAX_DRIFT),
        (last / first - 1.0).abs() <= MAX_DRIFT,
    );
    let (full, new) = beside_new(&world, &data, SINGLE + 10 * tenth, tenth, batch).await?;
    report.check(
        format!("{tenth} more, by turns with the first {tenth} of a new table"),
        format!("{full:.0} and {new:.0} activities/s ({:+.0}%)", 100.0 * (full / new - 1.0)),
        format!("± {:.0}%", 100.0 * MAX_DRIFT),
        (full / new - 1.0).abs() <= MAX_DRIFT,
    );
    world.stop().await;
    Ok(())
}

/// A new table with the workspace.
async fn world() -> Result<World> {
    let world = World::embedded(None).await?;
    world.given_workspace(WORKSPACE).await;
    Ok(world)
}

/// Records `count` activities from `first` on in a full table and in a new one, and returns both rates. The tables take
/// turns, because other load on the machine changes over time.
async fn beside_new(
    full: &World,
    data: &Data,
    first: usize,
    count: usize,
    batch: usize,
) -> Result<(f64, f64)> {
    let new = world().await?;
    let turn = MAX_CONCURRENT_BATCHES * batch;
    let mut spent = [Duration::ZERO; 2];
    for from in (first..first + count).step_by(turn) {
        for (world, spent) in [full, &new].into_iter().zip(&mut spent) {
            let began = Instant::now();
            batches(world, data, from, turn.min(first + count - from), batch).await?;
            *spent += began.elapsed();
        }
    }
    new.stop().await;
    let [full, new] = spent.map(|spent| count as f64 / spent.as_secs_f64());
    Ok((full, new))
}

/// Posts single events to a gateway, and returns the rate a second.
async fn over_http(world: &World, data: &Data) -> Result<f64> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let template = Template::load()?;
    let backend = Backend {
        store: world.store.clone(),
        connections: Connections::beside(&world.store, "none"),
        stream: None,
        clock: world.clock(),
        jitter: fastrand::Rng::new(),
        key: SigningKey::of_process(),
    };
    let gateway = Gateway::new(backend, &template, format!("http://{address}"));
    let token = gateway.token("bench", "activity:write");
    let (stop, stop_requested) = oneshot::channel::<()>();
    let served = tokio::spawn(local::serve(listener, gateway, async {
        stop_requested.await.ok();
    }));
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    try_join_all((0..CONNECTIONS).map(|_| posts(address, &token, data, &next))).await?;
    let rate = SINGLE as f64 / began.elapsed().as_secs_f64();
    stop.send(()).ok();
    served.await??;
    Ok(rate)
}

/// Posts events on one connection until none is left.
async fn posts(address: SocketAddr, token: &str, data: &Data, next: &AtomicUsize) -> Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut connection, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driven = tokio::spawn(driver);
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= SINGLE {
            break;
        }
        let request = Request::post(format!("/api/v1/workspaces/{WORKSPACE}/activity"))
            .header("host", address.to_string())
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from(data.row(index).event().to_string()))?;
        connection.ready().await?;
        let response = connection.send_request(request).await?;
        let status = response.status();
        let body = axum::body::to_bytes(Body::new(response.into_body()), usize::MAX).await?;
        if status != 201 {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
        }
    }
    drop(connection);
    driven.await??;
    Ok(())
}

/// Records `count` activities from `first` on, in batches of a queue.
async fn batches(world: &World, data: &Data, first: usize, count: usize, batch: usize) -> Result<()> {
    let next = AtomicUsize::new(first);
    try_join_all((0..MAX_CONCURRENT_BATCHES).map(|_| consume(world, data, &next, first + count, batch)))
        .await?;
    Ok(())
}

async fn consume(world: &World, data: &Data, next: &AtomicUsize, end: usize, batch: usize) -> Result<()> {
    loop {
        let from = next.fetch_add(batch, Ordering::Relaxed);
        if from >= end {
            return Ok(());
        }
        let messages: Vec<Message> = (from..end.min(from + batch))
            .map(|index| Message::new(format!("m-{index}"), data.row(index).event().to_string()))
            .collect();
        let response = world.deliver(&messages, Duration::from_secs(60)).await;
        let failures = reported_failures(&response);
        if !failures.is_empty() {
            return Err(format!("{} messages were not recorded", failures.len()).into());
        }
    }
}
