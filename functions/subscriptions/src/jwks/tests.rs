use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::time::Timestamp;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const NOW: i64 = 1_750_000_000;

/// A token that the issuer's key did not sign.
const KNOWN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYS0xIn0.e30.AA";
/// A token that names another key.
const UNKNOWN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYS0yIn0.e30.AA";

/// An issuer, and a key set of its keys.
struct Served {
    keys: KeySet,
    /// The heads of the requests that it got.
    requests: Arc<std::sync::Mutex<Vec<String>>>,
    is_down: Arc<AtomicBool>,
    /// The failed fetches that were reported.
    failures: Arc<AtomicUsize>,
}

impl Served {
    async fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (requests, is_down) =
            (Arc::<std::sync::Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (seen, down, base) = (Arc::clone(&requests), Arc::clone(&is_down), url.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let head = read_head(&mut stream).await;
                let (status, body) = match head.contains("openid-configuration") {
                    _ if down.load(Ordering::SeqCst) => ("503 Service Unavailable", json!({})),
                    true => ("200 OK", json!({ "jwks_uri": format!("{base}/keys") })),
                    false => {
                        let modulus = URL_SAFE_NO_PAD.encode([255; 256]);
                        let key = json!({ "kty": "RSA", "kid": "rsa-1", "n": modulus, "e": "AQAB" });
                        ("200 OK", json!({ "keys": [key] }))
                    }
                };
                seen.lock().unwrap().push(head);
                let body = body.to_string();
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let failures = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&failures);
        let sink = Box::new(move |_: &Source| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let keys = KeySet::of_issuer(url, vec!["activity-log".into()], sink);
        Self { keys, requests, is_down, failures }
    }

    /// Verifies a token at some seconds, and returns the result, and the number of requests that it took.
    async fn verify(&self, token: &str, at: i64) -> (Option<TokenError>, usize) {
        let before = self.requests.lock().unwrap().len();
        let verified = match self.keys.verify(token, NOW + at).await {
            Ok(verified) => Some(verified.unwrap_err()),
            Err(Error::Unavailable(_)) => None,
            Err(error) => panic!("{error}"),
        };
        (verified, self.requests.lock().unwrap().len() - before)
    }

    fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    fn failures(&self) -> usize {
        self.failures.load(Ordering::SeqCst)
    }
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn keys_are_fetched_once_an_hour() {
    let issuer = Served::new().await;
    for (at, requests) in [(0, 2), (3_599, 0), (3_600, 2), (3_601, 0)] {
        assert_eq!(issuer.verify(KNOWN, at).await, (Some(TokenError::Signature), requests), "{at}");
    }
    for request in &*issuer.requests.lock().unwrap() {
        assert!(request.contains("\r\nuser-agent: activity-log/"), "{request}");
    }
    assert_eq!(issuer.failures(), 0);
}

#[tokio::test]
async fn unknown_key_causes_a_fetch_in_half_a_minute() {
    let issuer = Served::new().await;
    issuer.verify(KNOWN, 0).await;
    for (at, requests) in [(0, 0), (29, 0), (30, 2), (59, 0), (60, 2)] {
        assert_eq!(issuer.verify(UNKNOWN, at).await, (Some(TokenError::UnknownKey), requests), "{at}");
    }
}

#[tokio::test]
async fn failed_fetch_is_reported_and_not_repeated_at_once() {
    let issuer = Served::new().await;
    issuer.set_down(true);
    for (at, requests, failures) in [(0, 1, 1), (1, 0, 1), (9, 0, 1), (10, 1, 2), (11, 0, 2)] {
        assert_eq!(issuer.verify(KNOWN, at).await, (None, requests), "{at}");
        assert_eq!(issuer.failures(), failures, "{at}");
    }
    issuer.set_down(false);
    assert_eq!(issuer.verify(KNOWN, 19).await, (None, 0));
    assert_eq!(issuer.verify(KNOWN, 20).await, (Some(TokenError::Signature), 2));
    assert_eq!(issuer.failures(), 2);
}

#[tokio::test]
async fn last_keys_serve_while_the_issuer_is_down() {
    let issuer = Served::new().await;
    issuer.verify(KNOWN, 0).await;
    issuer.set_down(true);
    for (token, at, expected) in [
        (KNOWN, 3_600, (Some(TokenError::Signature), 1)),
        (KNOWN, 3_601, (Some(TokenError::Signature), 0)),
        // The issuer may know this key by now.
        (UNKNOWN, 3_602, (None, 0)),
        (KNOWN, 7_199, (Some(TokenError::Signature), 1)),
        (KNOWN, 7_200, (None, 0)),
        (KNOWN, 7_209, (None, 1)),
    ] {
        assert_eq!(issuer.verify(token, at).await, expected, "{at}");
    }
    assert_eq!(issuer.failures(), 3);
}

#[test]
fn failed_fetch_is_a_metric() {
    let now = Timestamp::parse("now", "2025-01-01T00:00:00Z").unwrap();
    let line = failure_line(&"https://issuer.example answered with 403".into()).to_json("subscriptions", now);
    let metrics = json!([{ "Name": "KeyFetchFailures", "Unit": "Count" }]);
    let directive =
        json!({ "Namespace": "ActivityLog", "Dimensions": [["FunctionName"]], "Metrics": metrics });
    let expected = json!({
        "timestamp": "2025-01-01T00:00:00.000000Z", "level": "ERROR",
        "message": "failed to fetch the issuer's keys", "error": "https://issuer.example answered with 403",
        "FunctionName": "subscriptions", "KeyFetchFailures": 1,
        "_aws": { "Timestamp": 1_735_689_600_000_u64, "CloudWatchMetrics": [directive] }
    });
    assert_eq!(line, expected);
}
