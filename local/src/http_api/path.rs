//! Paths of routes, such as `/api/v1/workspaces/{ws_id}/activity`.

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
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = match (first, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => u8::try_from(16 * high + low).ok(),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok()
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
