//! The time until a function has started, and until it responds to its first request.
//!
//! This program stands in for Lambda and DynamoDB, with a runtime API and a TLS endpoint in front of the embedded
//! engine. The functions are compared with one that does nothing.

use std::path::Path;
use std::time::Duration;

use harness::World;
use serde_json::{Value, json};

use crate::Result;
use crate::data::{Data, WORKSPACE};
use crate::lambda::{Lambda, http_event};
use crate::report::Report;
use crate::stats::Times;
use crate::tls::Endpoint;

const BARE: &str = "bare";
const FUNCTIONS: &[&str] = &[BARE, "list-workspace-activity", "list-issue-activity", "graphql"];
/// Starts of each function. The functions take turns.
const RUNS: usize = 60;
/// The most milliseconds that a function may take more than the bare one.
const MAX_MORE_MS: f64 = 10.0;
/// The time between a function's start and its first request, so that the start is over.
const SETTLE: Duration = Duration::from_millis(30);
/// The time limit of a start and of an invocation.
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Measured {
    ready: Times,
    /// The CPU time until then.
    cpu: Times,
    first: Times,
}

pub(crate) async fn measure(directory: &Path, report: &mut Report) -> Result<()> {
    let world = World::embedded(None).await?;
    let data = Data::new(1_000_000);
    world.given_workspace(WORKSPACE).await;
    // All activities are of one issue, so that both listing functions list the same.
    let issue = "issue-1";
    world
        .given((0..98).map(|index| {
            let mut event = data.row(index).event();
            event["issue_id"] = json!(issue);
            event
        }))
        .await;
    let files = std::env::temp_dir().join(format!("activity-log-bench-{}", std::process::id()));
    std::fs::create_dir_all(&files)?;
    let tls = Endpoint::start(world.endpoint().trim_start_matches("http://"), &files).await?;
    let mut measured: Vec<Measured> = FUNCTIONS.iter().map(|_| Measured::default()).collect();
    for round in 0..=RUNS {
        for (name, measured) in FUNCTIONS.iter().zip(&mut measured) {
            let started = start(&directory.join(name), &tls, issue).await?;
            // The first start reads the program from disk, and is not counted.
            if round > 0 {
                measured.ready.push(started.ready);
                measured.cpu.push(started.cpu);
                measured.first.push(started.first);
            }
        }
    }
    std::fs::remove_dir_all(files)?;
    world.stop().await;
    let Some((bare, listing)) = measured.split_first() else { return Ok(()) };
    report.note("certificates a function reads at start", tls.trusted.to_string());
    report.note(
        "start to ready, bare",
        format!("{:.2} ms, {:.2} ms of CPU", bare.ready.median(), bare.cpu.median()),
    );
    report.note("first answer, bare", format!("{:.2} ms", bare.first.median()));
    for (name, measured) in FUNCTIONS.iter().skip(1).zip(listing) {
        let target = || format!("≤ bare + {MAX_MORE_MS} ms");
        let (ready, first) = (measured.ready.median(), measured.first.median());
        let more = ready - bare.ready.median();
        let figures = format!("{ready:.2} ms (bare + {more:.2} ms), {:.2} ms of CPU", measured.cpu.median());
        report.check(format!("start to ready, {name}"), figures, target(), more <= MAX_MORE_MS);
        let more = first - bare.first.median();
        let figures = format!("{first:.2} ms (bare + {more:.2} ms)");
        report.check(format!("first answer, {name}"), figures, target(), more <= MAX_MORE_MS);
    }
    Ok(())
}

/// The times of one start.
struct Started {
    ready: Duration,
    cpu: Duration,
    first: Duration,
}

async fn start(program: &Path, tls: &Endpoint, issue: &str) -> Result<Started> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let mut function = Lambda::start(program, &tls.url, &[("SSL_CERT_FILE", &tls.trust)], LIMIT).await?;
    tokio::time::sleep(SETTLE).await;
    let (first, response) = function.invoke(event(&name, issue)?.to_string()).await?;
    let response: Value = serde_json::from_str(&response)?;
    let body: Value = serde_json::from_str(response["body"].as_str().unwrap_or_default())?;
    let list = if name == "graphql" { &body["data"]["activityList"]["activities"] } else { &body };
    let listed = list.as_array().map_or(0, Vec::len);
    if response["statusCode"] != 200 || (listed != 50 && name != BARE) {
        return Err(format!("{name} responded {response}").into());
    }
    Ok(Started { ready: function.ready, cpu: function.cpu, first })
}

/// The event of a request for the first page.
fn event(name: &str, issue: &str) -> Result<Value> {
    let query =
        format!("{{ activityList(projectId: \"{WORKSPACE}\") {{ activities {{ id html createdAt }} }} }}");
    let (method, path, body) = match name {
        "graphql" => ("POST", "/graphql".to_owned(), json!({ "query": query }).to_string()),
        "list-issue-activity" => {
            ("GET", format!("/api/v1/workspaces/{WORKSPACE}/issues/{issue}/activity"), String::new())
        }
        _ => ("GET", format!("/api/v1/workspaces/{WORKSPACE}/activity"), String::new()),
    };
    http_event(method, &path, "", body)
}
