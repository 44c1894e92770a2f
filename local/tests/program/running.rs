//! The program in a process of its own, and folders for its files.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub(crate) fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    command.args(args).env_remove("RUST_LOG").env("XDG_CACHE_HOME", cache).stdin(Stdio::null());
    command
}

/// A gateway that runs until this is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) port: u16,
    /// The text that it printed when it was ready.
    pub(crate) greeting: String,
}

impl Running {
    pub(crate) fn start(args: &[&str]) -> Self {
        let args: Vec<&str> = ["--port", "0"].iter().chain(args).copied().collect();
        Self::run(&mut program(&args), !args.contains(&"--no-demo"))
    }

    pub(crate) fn run(command: &mut Command, demo: bool) -> Self {
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

    pub(crate) fn request(&self, line: &str, token: Option<&str>, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{token}");
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(crate) fn token(&self, query: &str) -> String {
        let answer = self.request(&format!("GET /dev/token?{query}"), None, "");
        answer.split("\"access_token\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }

    pub(crate) fn signal(&mut self, name: &str) -> Option<i32> {
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
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[track_caller]
pub(crate) fn one_line(output: &Output, status: i32, part: &str) {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(said.contains(part), "{said}");
}
