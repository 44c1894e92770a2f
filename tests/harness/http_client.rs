//! A minimal HTTP client. It sends any request as it is given, however malformed.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::Reply;

/// Sends a request with these header lines, a `Connection: close` and the body's length, and reads the whole response.
pub async fn exchange(server: SocketAddr, head: &[&str], body: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let mut request = head.join("\r\n");
    request += &format!("\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    // A server that refuses a long body may close the connection before it has read all of it.
    stream.write_all(body).await.ok();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.ok();
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(response[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_lowercase(), value.to_owned())
    };
    let body = String::from_utf8(response[end + 4..].to_vec()).unwrap();
    let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
    Reply { status, headers: lines.map(header).collect(), body }
}
