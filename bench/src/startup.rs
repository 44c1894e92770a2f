//! How long a function takes to start, and to answer its first request.
//!
//! The function runs as it does on Lambda, with this program for Lambda and DynamoDB: a runtime API and a TLS
//! endpoint in front of the embedded engine. What it is compared with is a function that does nothing.

use std::path::Path;
use std::time::Duration;

use harness::{World, token_claims};
use serde_json::{Value, json};

use crate::Result;
use crate::data::{Data, WORKSPACE};
use crate::lambda::Lambda;
use crate::report::Report;
use crate::stats::Times;
use crate::tls::Endpoint;

const BARE: &str = "bare";
const FUNCTIONS: &[&str] = &[BARE, "list-workspace-activity", "list-issue-activity", "graphql"];
/// Starts of each function; they take turns.
const RUNS: usize = 60;
/// The most a function may take longer than the bare one, in milliseconds.
const MORE: f64 = 10.0;
/// Lambda invokes what is ready; this long after, nothing of the start is still at work.
const SETTLE: Duration = Duration::from_millis(30);
/// More than any start or answer takes.
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Measured {
    ready: Times,
    /// CPU time until then.
    cpu: Times,
    first: Times,
}

pub(crate) async fn measure(directory: &Path, report: &mut Report) -> Result<()> {
    let world = World::embedded(None).await?;
    let data = Data::new(1_000_000);
    world.given_workspace(WORKSPACE).await;
    // All of one issue, so that both functions list as much.
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
            // The first reads the program from disk.
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
        let target = || format!("≤ bare + {MORE} ms");
        let (ready, first) = (measured.ready.median(), measured.first.median());
        let more = ready - bare.ready.median();
        let figures = format!("{ready:.2} ms (bare + {more:.2} ms), {:.2} ms of CPU", measured.cpu.median());
        report.check(format!("start to ready, {name}"), figures, target(), more <= MORE);
        let more = first - bare.first.median();
        let figures = format!("{first:.2} ms (bare + {more:.2} ms)");
        report.check(format!("first answer, {name}"), figures, target(), more <= MORE);
    }
    Ok(())
}

/// One start.
struct Started {
    ready: Duration,
    cpu: Duration,
    first: Duration,
}

async fn start(program: &Path, tls: &Endpoint, issue: &str) -> Result<Started> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let mut function = Lambda::start(program, &tls.url, &[("SSL_CERT_FILE", &tls.trust)], LIMIT).await?;
    tokio::time::sleep(SETTLE).await;
    let (first, answer) = function.invoke(event(&name, issue).to_string()).await?;
    let answer: Value = serde_json::from_str(&answer)?;
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default())?;
    let list = if name == "graphql" { &body["data"]["activityList"]["activities"] } else { &body };
    let listed = list.as_array().map_or(0, Vec::len);
    if answer["statusCode"] != 200 || (listed != 50 && name != BARE) {
        return Err(format!("{name} answered {answer}").into());
    }
    Ok(Started { ready: function.ready, cpu: function.cpu, first })
}

/// A request for the first page.
fn event(name: &str, issue: &str) -> Value {
    let query =
        format!("{{ activityList(projectId: \"{WORKSPACE}\") {{ activities {{ id html createdAt }} }} }}");
    let (method, body) = match name {
        "graphql" => ("POST", Value::String(json!({ "query": query }).to_string())),
        _ => ("GET", Value::Null),
    };
    let (path, parameters) = match name {
        "graphql" => ("/graphql".to_owned(), Value::Null),
        "list-issue-activity" => (
            format!("/api/v1/workspaces/{WORKSPACE}/issues/{issue}/activity"),
            json!({ "ws_id": WORKSPACE, "issue_id": issue }),
        ),
        _ => (format!("/api/v1/workspaces/{WORKSPACE}/activity"), json!({ "ws_id": WORKSPACE })),
    };
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
        "headers": { "host": "api.example" }, "pathParameters": parameters, "body": body,
        "isBase64Encoded": false,
        "requestContext": {
            "requestId": "req-1", "stage": "$default",
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1" },
            "authorizer": { "jwt": { "claims": token_claims("owner", ""), "scopes": null } },
        }
    })
}
