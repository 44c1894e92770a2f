//! Paths of routes, such as `/api/v1/workspaces/{ws_id}/activity`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The names of the parameters of a route's path.
pub(crate) fn parameters(template: &str) -> impl Iterator<Item = &str> {
    template.split('/').filter_map(parameter)
}

/// Matches a request's path with a route's, and returns the values of the parameters, still percent-encoded. The last
/// segment of a path has at least one character.
pub(super) fn matches<'a>(template: &'a str, path: &str) -> Option<Vec<(&'a str, String)>> {
    if path.ends_with('/') || template.split('/').count() != path.split('/').count() {
        return None;
    }
    let mut parameters = Vec::new();
    for (segment, given) in template.split('/').zip(path.split('/')) {
        match parameter(segment) {
            Some(name) => parameters.push((name, given.to_owned())),
            None if segment == given => {}
            None => return None,
        }
    }
    Some(parameters)
}

/// Decodes a percent-encoded value. Returns `None` when it is not UTF-8. A `%` without two hexadecimal digits stands for
/// itself.
pub(super) fn decode(value: &str) -> Option<String> {
    percent_decode_str(value).decode_utf8().ok().map(Cow::into_owned)
}

fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_or_refused() {
        for (encoded, decoded) in [
            ("ws-1", Some("ws-1")),
            ("a%2Fb%2f", Some("a/b/")),
            ("a+b", Some("a+b")),
            ("%C3%A9é", Some("éé")),
            ("%", Some("%")),
            ("%2", Some("%2")),
            ("%zz", Some("%zz")),
            ("%%41", Some("%A")),
            ("", Some("")),
            ("%FF", None),
        ] {
            assert_eq!(decode(encoded).as_deref(), decoded, "{encoded}");
        }
    }
}
