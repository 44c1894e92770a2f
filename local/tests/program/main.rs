//! The program as a user meets it: its options, its greeting, its end, and its data after a crash.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod refusals;
mod running;
mod verify;

use std::net::TcpListener;

use running::{Folder, Running, one_line, program};

#[test]
fn bad_options_are_reported() {
    let run = |args: &[&str]| program(args).output().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    one_line(&run(&["--port", &port]), 1, &port);
    for (args, part) in [
        (&["--port", "eighty"][..], "eighty"),
        (&["--dynamodb-endpoint", "localhost"], "http://"),
        (&["verify", "--dynamodb-endpoint", "localhost"], "http://"),
    ] {
        let output = run(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(part) && said.contains("--help"), "{said}");
    }
    // These show the usage.
    for (args, part) in [
        (&["--prot", "80"][..], "'--prot'"),
        (&["serve"], "'serve'"),
        (&["--db-path", "x", "--dynamodb-endpoint", "http://127.0.0.1:1"], "'--db-path <FILE>'"),
        (&["verify"], "--db-path <FILE>|--dynamodb-endpoint <URL>"),
        (&["verify", "--db-path", "x", "--dynamodb-endpoint", "http://x"], "'--db-path <FILE>'"),
    ] {
        let output = run(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2) && said.contains(part) && said.contains("Usage: local"),
            "{said}"
        );
    }
    let printed = |option: &str| {
        let output = run(&[option]);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let help = printed("--help");
    for option in ["--port", "--db-path", "--dynamodb-endpoint", "--no-demo", "--version"] {
        assert!(help.contains(option), "{help}");
    }
    assert_eq!(printed("--version"), format!("local {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn tokens_survive_a_restart() {
    let folder = Folder::new("restart");
    let db = folder.file("log.db");
    let cache = folder.file("cache");
    let keys = |args: &[&str]| {
        let args = [&["--port", "0"], args].concat();
        let running = Running::run(program(&args).env("XDG_CACHE_HOME", &cache), true);
        let keys = running.request("GET /.well-known/jwks.json", None, "");
        keys.split("\r\n\r\n").nth(1).unwrap().to_owned()
    };
    let in_file = keys(&["--db-path", &db]);
    assert!(in_file.contains("\"n\":"), "{in_file}");
    assert_eq!(keys(&["--db-path", &db]), in_file);
    let in_memory = keys(&[]);
    assert_eq!(keys(&[]), in_memory);
    assert_ne!(in_memory, in_file);
    for file in [format!("{db}-key"), format!("{cache}/activity-log/signing-key")] {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file} is for its owner only");
        }
        // A gateway whose key cannot be read still starts.
        std::fs::write(&file, "no key").unwrap();
    }
    assert_ne!(keys(&[]), in_memory);
    assert_ne!(keys(&["--db-path", &db]), in_file);
}

#[test]
fn greeting_works_as_pasted_and_signals_stop_it() {
    for signal in ["-INT", "-TERM"] {
        let mut running = Running::start(&[]);
        let line = running.greeting.lines().find(|line| line.starts_with("curl ")).unwrap();
        let token = line.split("Bearer ").nth(1).unwrap().trim_end_matches('\'');
        let feed = running.request("GET /api/v1/workspaces/ws-demo/activity", Some(token), "");
        assert!(feed.starts_with("HTTP/1.1 200 ") && feed.contains("\"act-demo-1\""), "{feed}");
        assert_eq!(running.signal(signal), Some(0), "{signal}");
    }
}

#[test]
fn activities_survive_a_crash() {
    let folder = Folder::new("crash");
    let db = folder.file("log.db");
    let mut before = Running::start(&["--db-path", &db]);
    let writer = before.token("sub=service&scope=activity:write");
    let body = r#"{"id":"kept","actor_type":"user","actor_id":"ada","action":"deploy.finished"}"#;
    let post = "POST /api/v1/workspaces/ws-demo/activity";
    assert!(before.request(post, Some(&writer), body).starts_with("HTTP/1.1 201 "));
    assert_eq!(before.signal("-KILL"), None);

    let after = Running::start(&["--db-path", &db]);
    let reader = after.token("sub=user-demo");
    let feed = after.request("GET /api/v1/workspaces/ws-demo/activity?include=total", Some(&reader), "");
    assert!(feed.contains("x-total-count: 13") && feed.contains("\"kept\""), "{feed}");
    let writer = after.token("sub=service&scope=activity:write");
    assert!(after.request(post, Some(&writer), body).starts_with("HTTP/1.1 200 "));
}

#[test]
fn health_says_whether_the_log_can_be_read() {
    let running = Running::start(&["--no-demo"]);
    let answer = running.request("GET /healthz", None, "");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"status\":\"ok\""), "{answer}");
}

#[test]
fn no_demo_starts_empty() {
    let running = Running::start(&["--no-demo"]);
    let token = running.token("sub=user-demo");
    let answer = running.request("GET /api/v1/workspaces/ws-demo/activity", Some(&token), "");
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("Workspace not found"), "{answer}");
}
