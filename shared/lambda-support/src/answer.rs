//! The answer of a function to API Gateway, compressed if the client takes that.

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use lambda_http::Response;
use lambda_http::http::HeaderValue;
use lambda_http::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use serde::Serialize;

/// The fewest bytes worth compressing: less fits one packet anyway.
const MIN_COMPRESSED_LEN: usize = 1400;

/// An answer in payload format 2.0.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    status_code: u16,
    headers: BTreeMap<String, String>,
    body: String,
    is_base64_encoded: bool,
}

impl Answer {
    /// The answer of a response, to a client that takes the encodings `accepted`. A body that compression does not make
    /// smaller, the base64 around it included, stays as it is, so that it never exceeds Lambda's limit for it.
    pub(crate) fn new(mut response: Response<String>, accepted: Option<&str>) -> Self {
        // A cache must not give a client what it did not ask for. Entity tags are weak, so that one fits both forms.
        response.headers_mut().append(VARY, HeaderValue::from(ACCEPT_ENCODING));
        let is_worth_it = response.body().len() >= MIN_COMPRESSED_LEN && accepted.is_some_and(takes_gzip);
        let compressed = if is_worth_it { compressed(response.body()) } else { None };
        if compressed.is_some() {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let (parts, text) = response.into_parts();
        let mut headers = BTreeMap::<String, String>::new();
        for (name, value) in &parts.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            headers
                .entry(name.to_string())
                .and_modify(|joined| joined.extend([", ", &value]))
                .or_insert_with(|| value.to_string());
        }
        Self {
            status_code: parts.status.as_u16(),
            headers,
            is_base64_encoded: compressed.is_some(),
            body: compressed.unwrap_or(text),
        }
    }
}

/// The base64 of the gzip of a text, if that is shorter.
fn compressed(text: &str) -> Option<String> {
    // The fastest level: JSON of activities shrinks to a sixth with it, and the others take several times as long.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).ok()?;
    let encoded = STANDARD.encode(encoder.finish().ok()?);
    (encoded.len() < text.len()).then_some(encoded)
}

/// Whether the header `Accept-Encoding` takes gzip, and likes it no less than no encoding at all.
fn takes_gzip(accepted: &str) -> bool {
    let (mut gzip, mut any, mut identity) = (None, None, 0.0);
    for coding in accepted.split(',') {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let parameter = parameters.trim().to_ascii_lowercase();
        let weight = match parameter.strip_prefix("q=") {
            Some(weight) => weight.trim().parse::<f32>().unwrap_or(0.0),
            None => 1.0,
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = Some(weight),
            "*" => any = Some(weight),
            "identity" => identity = weight,
            _ => {}
        }
    }
    let gzip: f32 = gzip.or(any).unwrap_or(0.0);
    gzip > 0.0 && gzip >= identity
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn clients_say_whether_they_take_gzip() {
        for (accepted, expected) in [
            ("gzip", true),
            ("gzip, deflate, br, zstd", true),
            ("deflate,GZIP;q=0.5", true),
            ("x-gzip", true),
            ("*", true),
            ("br;q=1.0, gzip;q=0.8, *;q=0.1", true),
            ("identity;q=0.5, gzip;q=0.5", true),
            ("", false),
            ("identity", false),
            ("br", false),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("*, gzip;q=0", false),
            ("*;q=0", false),
            ("gzip;q=0.5, identity", false),
            ("gzip;q=x", false),
            ("gzipped", false),
        ] {
            assert_eq!(takes_gzip(accepted), expected, "{accepted}");
        }
    }

    #[test]
    fn only_what_gets_smaller_is_compressed() {
        let answer = |body: &str| Answer::new(Response::new(body.to_owned()), Some("gzip"));
        let long = "an activity of a workspace, ".repeat(1000);
        let compressed = answer(&long);
        assert!(compressed.is_base64_encoded && compressed.body.len() < long.len() / 10);
        assert_eq!(compressed.headers["content-encoding"], "gzip");
        let bytes = STANDARD.decode(&compressed.body).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(text, long);
        // Base64 of random bytes shrinks to no less than those bytes, which base64 makes as long again.
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        };
        let noise = STANDARD.encode((0..6000).map(|_| random()).collect::<Vec<_>>());
        for body in [noise.as_str(), "short", ""] {
            let plain = answer(body);
            assert_eq!((plain.is_base64_encoded, plain.body.as_str()), (false, body));
            assert_eq!(plain.headers.get("content-encoding"), None);
            assert_eq!(plain.headers["vary"], "accept-encoding");
        }
    }
}
