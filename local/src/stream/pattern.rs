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
    fn only_new_activities_match() {
        let source = Template::load().unwrap().stream_sources().pop().unwrap();
        let record = |name: &str, sk: &str| {
            let keys = json!({ "pk": { "S": "WS#a" }, "sk": { "S": sk } });
            json!({ "eventName": name, "dynamodb": { "Keys": keys } })
        };
        let is_wanted = |record| source.patterns.iter().any(|pattern| matches(pattern, &record));
        assert!(is_wanted(record("INSERT", "AT#2025")));
        assert!(!is_wanted(record("MODIFY", "AT#2025")));
        assert!(!is_wanted(record("INSERT", "ID")));
        assert!(!is_wanted(json!({ "eventName": "INSERT" })));
    }
}
