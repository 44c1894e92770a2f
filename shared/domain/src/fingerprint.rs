//! Fingerprints: digests of what activities say, by which a repeat is told from another activity with the same id.
//!
//! The table keeps them for ever. Should the digested content ever change, it gets another version, and this module goes on to
//! understand all.
//!
//! Version 2 is the SHA-256 of 16 random bytes, the salt, and the canonical JSON of the content: everything an activity says but
//! its time and the names of people, who may be renamed between two deliveries. The salt keeps a small content from being guessed
//! from its digest. Version 1 is half of the SHA-256 of the content with names, in which numbers are doubles.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::activity::{Activity, Party};
use crate::json::{Document, Json, Number, Object};
use crate::salt::Salt;
use crate::{Error, Result};

/// The fingerprint of an activity: of version 2 if it has a salt, and of version 1 otherwise.
///
/// # Errors
/// [`Error::Internal`] when the activity cannot be serialized, which no activity causes.
pub fn of(activity: &Activity) -> Result<String> {
    match &activity.salt {
        Some(salt) => Ok(salted(activity, salt)),
        None => first_version(activity),
    }
}

/// Whether an activity has the content of a fingerprint, of whatever version.
///
/// # Errors
/// As [`of`].
pub fn matches(fingerprint: &str, activity: &Activity) -> Result<bool> {
    let mut parts = fingerprint.split('.');
    let own = match (parts.next(), parts.next().and_then(|salt| URL_SAFE_NO_PAD.decode(salt).ok())) {
        (Some("2"), Some(salt)) => Salt::from_bytes(&salt).map(|salt| salted(activity, &salt)),
        (Some("1"), _) => Some(first_version(activity)?),
        _ => None,
    };
    Ok(own.is_some_and(|own| own == fingerprint))
}

fn salted(activity: &Activity, salt: &Salt) -> String {
    let content = Json::Object(content(activity)).canonical();
    let digest = Sha256::new().chain_update(salt.as_bytes()).chain_update(content.as_bytes()).finalize();
    format!("2.{}.{}", URL_SAFE_NO_PAD.encode(salt.as_bytes()), URL_SAFE_NO_PAD.encode(digest))
}

/// The members of the content in which two activities differ, such as `details.status`.
pub fn differences(one: &Activity, other: &Activity) -> Vec<String> {
    let (one, other) = (content(one), content(other));
    let mut names = Vec::new();
    for name in differing(&one, &other) {
        match (one.get(&name).and_then(Json::as_object), other.get(&name).and_then(Json::as_object)) {
            (Some(one), Some(other)) => {
                names.extend(differing(one, other).into_iter().map(|member| format!("{name}.{member}")));
            }
            _ => names.push(name),
        }
    }
    names
}

/// The names of the members in which two objects differ.
fn differing(one: &Object, other: &Object) -> Vec<String> {
    let is_same = |name: &str| match (one.get(name), other.get(name)) {
        (Some(one), Some(other)) => one.canonical() == other.canonical(),
        _ => false,
    };
    let added = other.iter().filter(|(name, _)| one.get(name).is_none());
    let names = one.iter().chain(added).map(|(name, _)| name).filter(|name| !is_same(name));
    names.map(str::to_owned).collect()
}

/// The content that version 2 digests.
fn content(activity: &Activity) -> Object {
    // Naming every field lets the compiler ask, of each new one, whether it is content.
    let Activity {
        id,
        workspace_id,
        issue_id,
        actor_type,
        actor_id,
        action,
        details,
        on_behalf_of,
        affected,
        ..
    } = activity;
    let Activity { tags, version, audience, .. } = activity;
    let Activity { created_at: _, category: _, actor_name: _, actor_email: _, recorded: _, salt: _, .. } =
        activity;
    let text = |text: &str| Some(Json::from(text));
    let party =
        |party: &Party| Json::Object(Object::from_iter([("id".to_owned(), Json::from(party.id.as_str()))]));
    let members = [
        ("id", text(id.as_str())),
        ("workspace_id", text(workspace_id.as_str())),
        ("issue_id", issue_id.as_ref().map(|issue| Json::from(issue.as_str()))),
        ("actor_type", text(actor_type.as_str())),
        ("actor_id", text(actor_id.as_str())),
        ("action", text(action.as_str())),
        ("details", Some(Json::Object(details.members()))),
        ("on_behalf_of", on_behalf_of.as_ref().map(party)),
        ("affected", affected.as_ref().map(party)),
        (
            "tags",
            (!tags.is_empty())
                .then(|| Json::Array(tags.iter().map(|tag| Json::from(tag.as_str())).collect())),
        ),
        ("version", version.map(|version| Json::Number(Number::from(version)))),
        ("audience", audience.map(|audience| Json::from(audience.as_str()))),
    ];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn first_version(activity: &Activity) -> Result<String> {
    let mut content = serde_json::to_value(activity).map_err(Error::internal)?;
    if let Value::Object(members) = &mut content {
        members.remove("created_at");
        members.insert("actor".into(), json!([activity.actor_name, activity.actor_email]));
    }
    let digest = Sha256::digest(Document::from(content).value.sorted().as_bytes());
    Ok(format!("1.{}", URL_SAFE_NO_PAD.encode(&digest[..16])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Defaults, InputEvent};
    use crate::json::parse;
    use crate::provenance::{RecordedBy, Source};
    use crate::time::Timestamp;

    const EVENT: &str = r#"{
        "id": "act-1", "workspace_id": "ws-1", "issue_id": "issue-1", "actor_type": "agent", "actor_id": "agent-1",
        "actor": {"name": "Ada", "email": "ada@example.com"}, "on_behalf_of": {"id": "user-1"}, "action": "issue.created",
        "details": {"identifier": "ISS-1", "title": "Fix login bug", "n": [1.5, 10]},
        "affected": {"id": "user-2", "name": "Bob"}, "tags": ["bug", "p1"], "created_at": "2025-01-01T00:00:00Z"
    }"#;

    fn activity(event: &str) -> Activity {
        let now = Timestamp::parse("t", "2025-06-01T12:00:00Z").unwrap();
        let recorded_by = RecordedBy::new(Source::Http, &["ada"]);
        let defaults =
            Defaults { id: ("id".into(), "id"), workspace: None, created_at: now, now, recorded_by };
        let document = Document::read(&parse("event", event.as_bytes()).unwrap());
        InputEvent::parse(document, &defaults).unwrap().activity
    }

    #[test]
    fn fingerprints_never_change() {
        let base = activity(EVENT);
        let salted = Activity { salt: Salt::from_bytes(&[7; 16]), ..base };
        assert_eq!(
            of(&salted).unwrap(),
            "2.BwcHBwcHBwcHBwcHBwcHBw.1YXwP8kcBBzPSiVejQGqSQRR2iFTIfkD4EfKOqncYLU"
        );
        let earlier = activity(&EVENT.replace(r#", "n": [1.5, 10]"#, ""));
        assert_eq!(of(&Activity { salt: None, ..earlier }).unwrap(), "1.-KDKgMwGVoC1QyRbqJ4uuw");
    }

    #[test]
    fn content_is_everything_but_time_and_names() {
        let base = activity(EVENT);
        for salt in [base.salt, Salt::from_bytes(&[0; 16]), None] {
            let stored = of(&Activity { salt, ..base.clone() }).unwrap();
            let is_same = |from: &str, to: &str| {
                assert!(EVENT.contains(from), "{from}");
                matches(&stored, &activity(&EVENT.replacen(from, to, 1))).unwrap()
            };
            assert!(is_same("", ""));
            for (from, to) in [
                (r#""created_at": "2025-01-01T00:00:00Z""#, r#""created_at": null"#),
                (
                    r#""identifier": "ISS-1", "title": "Fix login bug""#,
                    r#""title": "Fix login bug", "identifier": "ISS-1""#,
                ),
            ] {
                assert!(is_same(from, to), "{from}");
            }
            // Only the first version compares names, and numbers by their spelling.
            for (from, to) in [
                ("\"Ada\"", "\"Bea\""),
                (r#", "email": "ada@example.com""#, ""),
                (r#", "name": "Bob""#, ""),
                ("[1.5, 10]", "[15e-1, 1.0e1]"),
            ] {
                assert_eq!(is_same(from, to), salt.is_some(), "{from}");
            }
            for (from, to) in [
                ("act-1", "act-2"),
                ("issue-1", "issue-2"),
                ("agent-1", "agent-2"),
                ("user-1", "user-9"),
                ("user-2", "user-9"),
                ("[1.5, 10]", "[10, 1.5]"),
                ("[1.5, 10]", "[1.5, 10.5]"),
                ("10]", "\"10\"]"),
                (r#"["bug", "p1"]"#, r#"["p1", "bug"]"#),
                (r#""tags""#, r#""audience": "staff", "tags""#),
                (r#""tags""#, r#""audience": "everyone", "tags""#),
            ] {
                assert!(!is_same(from, to), "{from} {to}");
            }
        }
        // As doubles these would be one.
        let exact = activity(&EVENT.replace("10]", "1700000000.123456789]"));
        let other = activity(&EVENT.replace("10]", "1700000000.123456788]"));
        assert!(!matches(&of(&exact).unwrap(), &other).unwrap());
    }

    #[test]
    fn strange_fingerprints_match_nothing() {
        let base = activity(EVENT);
        for strange in ["", "1", "1.", "2", "2.", "2.AA.AA", "3.x", "2.BwcHBwcHBwcHBwcHBwcHBw."] {
            assert!(!matches(strange, &base).unwrap(), "{strange}");
        }
        assert_ne!(of(&base).unwrap(), of(&activity(EVENT)).unwrap(), "each has its own salt");
    }
}
