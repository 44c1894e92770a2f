//! Reads of a YAML document with CloudFormation's tags.

use yaml_serde::{Mapping, Value};

/// The value at a path of members.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(*name))
}

/// A member that is a mapping.
pub(crate) fn map<'a>(value: &'a Value, name: &str) -> Option<&'a Mapping> {
    value.get(name)?.as_mapping()
}

/// The items of a list, or the one value that stands for a list of one.
pub(crate) fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    let items: Vec<&Value> = match value {
        None => Vec::new(),
        Some(Value::Sequence(items)) => items.iter().collect(),
        Some(one) => vec![one],
    };
    items.into_iter()
}

/// The strings of a member that is a list.
pub(crate) fn strings(value: &Value, name: &str) -> Vec<String> {
    list(value.get(name)).filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// The text of a value, with or without a tag such as `!Sub`.
pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Tagged(tagged) => tagged.value.as_str(),
        other => other.as_str(),
    }
}

/// The first value of an `!If`, which holds when its condition does. Any other value stands for itself.
pub(crate) fn when_true(value: &Value) -> &Value {
    match value {
        Value::Tagged(tagged) if tagged.tag == "If" => tagged.value.get(1).unwrap_or(value),
        other => other,
    }
}

/// The logical id that a `!Ref` or a `!GetAtt` names.
pub(crate) fn target(value: &Value) -> Option<&str> {
    match value {
        Value::Tagged(tagged) if tagged.tag == "Ref" => tagged.value.as_str(),
        Value::Tagged(tagged) if tagged.tag == "GetAtt" => {
            tagged.value.as_str()?.split_once('.').map(|(id, _)| id)
        }
        _ => None,
    }
}
