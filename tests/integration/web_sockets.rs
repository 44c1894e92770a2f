//! The local gateway's WebSockets, as bytes: how API Gateway ends a connection whose client breaks a rule.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gateway::RunningGateway;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
/// The bit of the last frame of a message.
const LAST: u8 = 0x80;

/// A frame of a client, masked with zeros.
fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![head, 0x80 | 127];
    frame.extend((payload.len() as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Opens a WebSocket, sends these bytes, and returns the code with which it is closed.
async fn close_code(gateway: &RunningGateway, bytes: &[u8]) -> u16 {
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    let head = "GET /graphql HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                sec-websocket-protocol: graphql-transport-ws\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        response.push(socket.read_u8().await.unwrap());
    }
    assert!(response.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&response));
    socket.write_all(bytes).await.unwrap();
    loop {
        let (head, length) = (socket.read_u8().await.unwrap(), socket.read_u8().await.unwrap());
        let length = if length == 126 { socket.read_u16().await.unwrap() } else { length.into() };
        let mut payload = vec![0; length.into()];
        socket.read_exact(&mut payload).await.unwrap();
        if head == LAST | 8 {
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

#[tokio::test]
async fn broken_rule_closes_with_its_code() {
    let gateway = RunningGateway::new().await;
    let text = |length: usize| vec![b' '; length];
    let parts = |length: usize, count: usize| {
        let first = frame(TEXT, &text(length));
        let further = (1..count).map(|n| frame(if n + 1 == count { LAST } else { 0 }, &text(length)));
        further.fold(first, |all, part| [all, part].concat())
    };
    let closing = frame(LAST | 8, &1000_u16.to_be_bytes());
    for (name, bytes, code) in [
        ("a frame of 32 KB", [frame(LAST | TEXT, &text(32 * 1024)), closing.clone()].concat(), 1000),
        ("a frame over 32 KB", frame(LAST | TEXT, &text(32 * 1024 + 1)), 1009),
        ("a large frame", frame(LAST | TEXT, &text(1024 * 1024)), 1009),
        ("a message of 128 KB", [parts(32 * 1024, 4), closing].concat(), 1000),
        ("a message over 128 KB", parts(32 * 1024, 5), 1009),
        ("a binary message", frame(LAST | BINARY, b"{}"), 1003),
        ("a text that is not UTF-8", frame(LAST | TEXT, b"\xff"), 1007),
        ("a frame without a mask", vec![LAST | TEXT, 2, b'{', b'}'], 1002),
    ] {
        assert_eq!(close_code(&gateway, &bytes).await, code, "{name}");
    }
}
