//! Event patterns, in the part of EventBridge's language that the template uses.

use serde_json::Value;

/// Whether a record matches a pattern: each member that the pattern names has one of the listed values, or starts with one of
/// the listed prefixes.
pub(super) fn matches(pattern: &Value, record: &Value) -> bool {
    match pattern {
        Value::Object(members) => members.iter().all(|(name, pattern)| matches(pattern, &record[name])),
        Value::Array(rules) => rules.iter().any(|rule| match rule["prefix"].as_str() {
            Some(prefix) => record.as_str().is_some_and(|text| text.starts_with(prefix)),
            None => rule == record,
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::template::Template;

    #[test]
    fn only_new_activities_and_altered_items_match() {
        let source = Template::load().unwrap().stream_sources().pop().unwrap();
        let is_wanted = |record| source.patterns.iter().any(|pattern| matches(pattern, &record));
        for (pk, sk, wanted) in [
            ("WS#a", "AT#2025", ["INSERT", "MODIFY", "REMOVE"].as_slice()),
            ("ID#a#1", "ID", &["MODIFY", "REMOVE"]),
            ("COUNT#a", "M#2025-01#0", &[]),
            ("DIR#WS#a", "WORKSPACE", &[]),
        ] {
            for name in ["INSERT", "MODIFY", "REMOVE"] {
                let keys = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
                let record = json!({ "eventName": name, "dynamodb": { "Keys": keys } });
                assert_eq!(is_wanted(record), wanted.contains(&name), "{name} {pk}");
            }
        }
        assert!(!is_wanted(json!({ "eventName": "INSERT" })));
    }
}
