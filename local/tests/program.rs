//! The program as a user meets it: its options, its greeting, its end, and its data after a crash.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use aws_sdk_dynamodb::types::AttributeValue;
use local::engine::{self, Engine};
use local::tables;
use local::template::Template;

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    command.args(args).env_remove("RUST_LOG").env("XDG_CACHE_HOME", cache).stdin(Stdio::null());
    command
}

/// A gateway that runs until this is dropped.
struct Running {
    child: Child,
    port: u16,
    /// The text that it printed when it was ready.
    greeting: String,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let args: Vec<&str> = ["--port", "0"].iter().chain(args).copied().collect();
        Self::run(&mut program(&args), !args.contains(&"--no-demo"))
    }

    fn run(command: &mut Command, demo: bool) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut greeting = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        // The address comes first, and the rest in the same write.
        while lines.read_line(&mut greeting).unwrap() > 0 && !greeting.contains("Tokens") {}
        while demo && !greeting.contains("curl") && lines.read_line(&mut greeting).unwrap() > 0 {}
        let port = greeting.split("http://localhost:").nth(1).unwrap();
        let port = port.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
        Self { child, port, greeting }
    }

    fn request(&self, line: &str, token: Option<&str>, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{token}");
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn token(&self, query: &str) -> String {
        let answer = self.request(&format!("GET /dev/token?{query}"), None, "");
        answer.split("\"access_token\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }

    fn signal(&mut self, name: &str) -> Option<i32> {
        let killed = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A folder of its own, which is deleted when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[track_caller]
fn one_line(output: &Output, status: i32, part: &str) {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(said.contains(part), "{said}");
}

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
fn unusable_files_are_reported_with_what_to_do() {
    let folder = Folder::new("unusable");
    let good = folder.file("good.db");
    Running::start(&["--db-path", &good]).signal("-INT");
    let bytes = std::fs::read(&good).unwrap();
    let made = |name: &str, bytes: &[u8]| {
        let path = folder.file(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let text = made("notes.txt", b"This is a text.");
    let long_text =
        made("long.txt", "This is no database, however long one makes it. ".repeat(200).as_bytes());
    let other = folder.file("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE notes (body TEXT)").unwrap();
    let with_noise = |range: std::ops::Range<usize>| {
        let noise = bytes[range.clone()].iter().map(|byte| byte ^ 0x5a);
        bytes
            .iter()
            .copied()
            .take(range.start)
            .chain(noise)
            .chain(bytes[range.end..].iter().copied())
            .collect()
    };
    let damaged: [Vec<u8>; 4] = [
        with_noise(16..100),
        with_noise(100..4096),
        with_noise(8192..40_960),
        bytes[..bytes.len() / 2].to_vec(),
    ];
    let read_only = made("read-only.db", &bytes);
    let mut permissions = std::fs::metadata(&read_only).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&read_only, permissions).unwrap();
    let here = folder.file("");
    let nowhere = folder.file("nowhere/at/all.db");
    let run = |args: &[&str]| program(args).output().unwrap();
    let start = |path: &str| run(&["--port", "0", "--db-path", path]);
    let verify = |path: &str| run(&["verify", "--db-path", path]);

    one_line(&start(&here), 1, "is a folder; name a file in it, such as --db-path ");
    one_line(&start(&nowhere), 1, "nowhere/at; make it first: mkdir -p ");
    one_line(&start(&text), 1, "notes.txt is no SQLite database; give --db-path another name");
    one_line(&start(&long_text), 1, "long.txt is no SQLite database");
    one_line(&start(&other), 1, "other.db is the database of another program; give --db-path another name");
    one_line(&start(&read_only), 1, "read-only.db is read-only; allow writing to it");
    for (n, bytes) in damaged.iter().enumerate() {
        let path = made(&format!("damaged-{n}.db"), bytes);
        let output = start(&path);
        one_line(&output, 1, &format!("damaged-{n}.db is "));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("is damaged (") || n == 0 && said.contains("is no SQLite database"), "{said}");
        assert_eq!(std::fs::read(&path).unwrap(), *bytes, "the file is as it was");
    }
    assert_eq!(std::fs::read(&text).unwrap(), b"This is a text.");

    one_line(&verify(&here), 1, "is a folder; name the database file in it");
    one_line(&verify(&folder.file("missing.db")), 1, "there is no file ");
    one_line(&verify(&text), 1, "notes.txt is no SQLite database");
    assert!(!Path::new(&folder.file("missing.db")).exists());

    let running = Running::start(&["--db-path", &good]);
    one_line(&start(&good), 1, "good.db is in use by another gateway or program; stop that one");
    one_line(&verify(&good), 1, "good.db is in use by a gateway; stop it first");
    drop(running);
    // The gateway was killed, and its lock ended with it.
    Running::start(&["--db-path", &good]).signal("-INT");
}

/// Answers each request with the same bytes.
fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head =
                BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            assert!(head.count() > 0);
            stream.write_all(answer.as_bytes()).ok();
        }
    });
    url
}

#[test]
fn endpoint_without_dynamodb_is_reported() {
    let gateway = Running::start(&[]);
    let endpoints = [
        "http://127.0.0.1:1".to_owned(),
        format!("http://localhost:{}", gateway.port),
        server(""),
        server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"),
        server("HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>"),
        server("HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>"),
        server("SSH-2.0-OpenSSH\r\n"),
    ];
    for endpoint in endpoints {
        let part = format!("no DynamoDB answers at {endpoint} (");
        one_line(&program(&["--port", "0", "--dynamodb-endpoint", &endpoint]).output().unwrap(), 1, &part);
        one_line(&program(&["verify", "--dynamodb-endpoint", &endpoint]).output().unwrap(), 1, &part);
    }
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
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("Project not found"), "{answer}");
}

/// Every file of a folder but for the index of SQLite's write-ahead log, which any reader may rebuild.
fn contents(folder: &Folder) -> Vec<(PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(&folder.0).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| !path.to_str().unwrap().ends_with("-shm")).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[track_caller]
fn verified(args: &[&str], status: i32, lines: &str) {
    let output = program(args).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), lines);
    assert_eq!(output.status.code(), Some(status));
}

#[test]
fn verify_leaves_the_file_unchanged() {
    let folder = Folder::new("verify");
    // SQLite gets the name in a URI, in which these characters have meanings.
    let db = folder.file("lo%67 ?x=1#.db");
    for signal in ["-INT", "-KILL"] {
        Running::start(&["--db-path", &db]).signal(signal);
        let before = contents(&folder);
        // The crash left the write-ahead log beside the file, its lock and its key.
        assert_eq!(before.len(), if signal == "-INT" { 3 } else { 4 });
        verified(&["verify", "--db-path", &db], 0, "activities 12, workspaces 1, faults 0\n");
        assert!(contents(&folder) == before, "{signal}");
    }
    one_line(&program(&["verify", "--db-path", &db, "--table", "other"]).output().unwrap(), 1, "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_prints_a_line_for_each_fault() {
    let folder = Folder::new("faults");
    let db = folder.file("log.db");
    Running::start(&["--db-path", &db]).signal("-INT");
    let engine = Engine::start(Some(Path::new(&db))).await.unwrap();
    let client = engine::client(engine.endpoint()).await;
    for id in ["act-demo-1", "act-demo-2"] {
        let id_item = HashMap::from([
            ("pk".to_owned(), AttributeValue::S(format!("ID#ws-demo#{id}"))),
            ("sk".to_owned(), AttributeValue::S("ID".to_owned())),
        ]);
        let deleted = client.delete_item().table_name("activity-log").set_key(Some(id_item));
        deleted.send().await.unwrap();
    }
    let lines = "ws-demo: act-demo-1 has no id item\nws-demo: act-demo-2 has no id item\n";
    verified(&["verify", "--dynamodb-endpoint", engine.endpoint()], 1, lines);
    let template = Template::load().unwrap();
    tables::ensure(&client, &template, "LogTable", "empty", false).await.unwrap();
    let empty = ["verify", "--dynamodb-endpoint", engine.endpoint(), "--table", "empty"];
    verified(&empty, 0, "activities 0, workspaces 0, faults 0\n");
    engine.stop().await;
    verified(&["verify", "--db-path", &db], 1, lines);

    // Nobody reads the lines.
    let mut unread =
        program(&["verify", "--db-path", &db]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(unread.stdout.take());
    one_line(&unread.wait_with_output().unwrap(), 1, "cannot print");
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_engine_writes_nothing() {
    let folder = Folder::new("read-only");
    let db = folder.file("log.db");
    Running::start(&["--db-path", &db]).signal("-INT");
    let before = contents(&folder);
    let engine = Engine::start_read_only(Path::new(&db)).await.unwrap();
    let client = engine::client(engine.endpoint()).await;
    let item = ["pk", "sk"].map(|name| (name.to_owned(), AttributeValue::S("x".to_owned())));
    let put = client.put_item().table_name("activity-log").set_item(Some(item.into())).send().await;
    assert!(put.is_err(), "{put:?}");
    engine.stop().await;
    assert!(contents(&folder) == before);
}

#[test]
fn aws_table_needs_credentials() {
    let mut command = program(&["verify", "--dynamodb-endpoint", "https://127.0.0.1:1"]);
    for (name, value) in [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "key"), ("AWS_REGION", "x")]
    {
        one_line(&command.env_remove(name).env_remove("AWS_DEFAULT_REGION").output().unwrap(), 1, name);
        command.env(name, value);
    }
    one_line(&command.output().unwrap(), 1, "https://127.0.0.1:1");
}
