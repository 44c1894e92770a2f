//! Files and endpoints that cannot be used: one line each, which says what to do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;

use crate::running::{Folder, Running, one_line, program};

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
