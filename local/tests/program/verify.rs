//! `local verify`, and the engine that reads a file only.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use aws_sdk_dynamodb::types::AttributeValue;
use local::engine::{self, Engine};
use local::tables;
use local::template::Template;

use crate::running::{Folder, Running, one_line, program};

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
