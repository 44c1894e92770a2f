//! Cursors: opaque text that names a position and is bound by a digest to the feed it came from.
//!
//! A cursor carries no authority. The path and the token alone decide what may be read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Bytes of digest at the end of a cursor: enough that no damaged or foreign cursor passes for a good one.
const DIGEST_LEN: usize = 12;

/// Encodes `payload`. `version` is the first byte and tells the layouts of payloads apart; `binding` is a text that is
/// equal for equal feeds only.
pub fn encode(version: u8, payload: &[u8], binding: &str) -> String {
    let mut bytes = Vec::with_capacity(1 + payload.len() + DIGEST_LEN);
    bytes.push(version);
    bytes.extend(payload);
    let digest = digest(&bytes, binding);
    bytes.extend(digest);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes the payload of a cursor; `None` unless [`encode`] made it with this version and this binding.
pub fn decode(version: u8, cursor: &str, binding: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (content, found) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST_LEN)?)?;
    let payload = content.strip_prefix(&[version])?;
    (found == digest(content, binding)).then(|| payload.to_owned())
}

fn digest(content: &[u8], binding: &str) -> [u8; DIGEST_LEN] {
    let whole = Sha256::new().chain_update(binding).chain_update([0]).chain_update(content).finalize();
    let mut digest = [0; DIGEST_LEN];
    digest.copy_from_slice(&whole[..DIGEST_LEN]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_decode_where_they_were_made_only() {
        let cursor = encode(1, b"here", "feed");
        assert_eq!(decode(1, &cursor, "feed").as_deref(), Some(&b"here"[..]));
        assert_eq!(decode(2, &cursor, "feed"), None);
        assert_eq!(decode(1, &cursor, "another feed"), None);
    }

    #[test]
    fn damaged_cursors_do_not_decode() {
        let cursor = encode(1, b"here", "feed");
        for at in 0..cursor.len() {
            let mut damaged = cursor.clone().into_bytes();
            damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
            // The last character has bits that no byte needs, which a strict decoder refuses.
            assert_eq!(decode(1, std::str::from_utf8(&damaged).unwrap(), "feed"), None, "{at}");
        }
        for bad in ["", "A", "AAAA", "no cursor", &cursor[1..], &format!("{cursor}=")] {
            assert_eq!(decode(1, bad, "feed"), None, "{bad}");
        }
    }
}
