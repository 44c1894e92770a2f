//! Request bodies, with API Gateway's limit.

use axum::body::Body;
use domain::{Error, Result};
use futures_util::StreamExt as _;

/// The largest body that a Lambda function can get, in bytes.
const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;
/// How much of a larger body is read and discarded, in bytes. A client that is still sending reads no response.
const MAX_DISCARDED_BYTES: usize = 64 * 1024 * 1024;

/// Reads a body.
///
/// # Errors
/// [`Error::TooLarge`] past [`MAX_BODY_BYTES`]; [`Error::BadInput`] of a body that ends too early.
pub(crate) async fn read(body: Body) -> Result<Vec<u8>> {
    let mut chunks = body.into_data_stream();
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Error::bad_input("body", "ended too early"))?;
        length += chunk.len();
        if length <= MAX_BODY_BYTES {
            bytes.extend_from_slice(&chunk);
        } else if length > MAX_DISCARDED_BYTES {
            break;
        }
    }
    if length > MAX_BODY_BYTES {
        return Err(Error::too_large("body", format!("must be at most {MAX_BODY_BYTES} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_have_a_limit() {
        let body = |length| Body::from(vec![b'x'; length]);
        assert_eq!(read(body(MAX_BODY_BYTES)).await.unwrap().len(), MAX_BODY_BYTES);
        let error = read(body(MAX_BODY_BYTES + 1)).await.unwrap_err();
        assert!(error.to_string().starts_with("body: must be at most 6291456 bytes"));
    }
}
