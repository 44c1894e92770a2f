//! The body of a request, as it was before it was compressed.

use std::borrow::Cow;
use std::io::Read as _;

use domain::{Error, Result};
use flate2::read::MultiGzDecoder;
use lambda_http::Request;
use lambda_http::http::header::{CONTENT_ENCODING, CONTENT_TYPE};

/// The most bytes of a body, compressed or not. Lambda takes no more of one that is not.
const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// The body of a request. One in gzip is decompressed, and no further than a body may be long.
///
/// # Errors
/// [`Error::UnsupportedMedia`] of another encoding, or of a charset that is not UTF-8; [`Error::TooLarge`] past 6 MB; and
/// [`Error::BadInput`] of a body that is not in gzip and is said to be.
pub fn body(request: &Request) -> Result<Cow<'_, [u8]>> {
    check_charset(crate::header(request, CONTENT_TYPE.as_str())?.unwrap_or_default())?;
    let encoding = crate::header(request, CONTENT_ENCODING.as_str())?.unwrap_or_default().trim();
    let is = |name: &str| encoding.eq_ignore_ascii_case(name);
    if is("gzip") || is("x-gzip") {
        return decompressed(request.body()).map(Cow::Owned);
    }
    if encoding.is_empty() || is("identity") {
        return Ok(Cow::Borrowed(request.body()));
    }
    let detail = "must be gzip, once, or absent: no other encoding is read here";
    Err(Error::UnsupportedMedia { field: "Content-Encoding", detail: detail.to_owned() })
}

fn decompressed(body: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than a body may have tells one that is longer.
    let mut decoder = MultiGzDecoder::new(body).take(MAX_BODY_BYTES as u64 + 1);
    let read = decoder.read_to_end(&mut bytes);
    if bytes.len() > MAX_BODY_BYTES {
        let detail = format!("must be at most {MAX_BODY_BYTES} bytes, decompressed");
        return Err(Error::too_large("body", detail));
    }
    let wrong = |error| Error::bad_input("body", format!("must be gzip, as Content-Encoding says: {error}"));
    read.map_err(wrong)?;
    Ok(bytes)
}

/// Checks the charset of a media type, if it has one: JSON is UTF-8, as RFC 8259 has it, and ASCII is part of that.
fn check_charset(content_type: &str) -> Result<()> {
    for parameter in content_type.split(';').skip(1) {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let charset = value.trim().trim_matches('"').to_ascii_lowercase();
        if name.trim().eq_ignore_ascii_case("charset")
            && !["utf-8", "utf8", "us-ascii"].contains(&charset.as_str())
        {
            let detail = "must have the charset UTF-8, or none".to_owned();
            return Err(Error::UnsupportedMedia { field: "Content-Type", detail });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use lambda_http::Body;
    use lambda_http::http::HeaderValue;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(encoding: &str, content_type: &str, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut request = Request::new(Body::Binary(bytes.to_vec()));
        for (name, value) in [(CONTENT_ENCODING, encoding), (CONTENT_TYPE, content_type)] {
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        body(&request).map(Cow::into_owned)
    }

    #[test]
    fn gzip_is_read_and_other_encodings_are_not() {
        let event = b"{\"action\":\"issue.created\"}";
        for encoding in ["gzip", " GZIP ", "x-gzip"] {
            assert_eq!(read(encoding, "application/json", &gzip(event)).unwrap(), event, "{encoding}");
        }
        let two_members = [gzip(&event[..5]), gzip(&event[5..])].concat();
        assert_eq!(read("gzip", "", &two_members).unwrap(), event);
        for encoding in ["", "identity"] {
            assert_eq!(read(encoding, "", event).unwrap(), event, "{encoding}");
        }
        for encoding in ["br", "deflate", "zstd", "gzip, gzip", "compress"] {
            let refused = read(encoding, "", &gzip(event)).unwrap_err();
            assert!(matches!(refused, Error::UnsupportedMedia { .. }), "{encoding}");
        }
    }

    #[test]
    fn damaged_gzip_is_refused() {
        let whole = gzip(b"{\"action\":\"issue.created\"}");
        let mut altered = whole.clone();
        *altered.last_mut().unwrap() ^= 1;
        let trailing = [whole.clone(), b"x".to_vec()].concat();
        for bytes in [&whole[..whole.len() - 1], &whole[..5], b"", b"{}", &altered, &trailing] {
            let refused = read("gzip", "", bytes).unwrap_err();
            assert!(matches!(refused, Error::BadInput { .. }), "{refused}");
        }
    }

    #[test]
    fn bomb_is_decompressed_no_further_than_a_body_may_be() {
        let zeros = vec![b' '; MAX_BODY_BYTES];
        assert_eq!(read("gzip", "", &gzip(&zeros)).unwrap().len(), MAX_BODY_BYTES);
        // A hundred members of 6 MB each.
        let bomb = gzip(&zeros).repeat(100);
        let refused = read("gzip", "", &bomb).unwrap_err();
        assert!(matches!(refused, Error::TooLarge { .. }), "{refused}");
    }

    #[test]
    fn charset_must_be_utf_8() {
        for content_type in [
            "",
            "application/json",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json; charset=us-ascii; profile=x",
        ] {
            assert!(read("", content_type, b"{}").is_ok(), "{content_type}");
        }
        for content_type in [
            "application/json; charset=iso-8859-1",
            "text/plain;Charset=UTF-16",
            "application/json; charset=",
        ] {
            let refused = read("", content_type, b"{}").unwrap_err();
            assert!(matches!(refused, Error::UnsupportedMedia { .. }), "{content_type}");
        }
    }
}
