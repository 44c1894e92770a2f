//! Activities as items of the table.
//!
//! Free-form data is stored as JSON text, because DynamoDB's own types would normalise numbers.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::activity::{Action, Activity, ActorType, Audience, Party};
use domain::catalog::{OTHER, audience, category};
use domain::ids::{ActorId, IssueId, Tag, WorkspaceId};
use domain::json::Details;
use domain::position::TimePosition;
use domain::provenance::{Provenance, RecordedBy, Source};
use domain::salt::Salt;
use domain::time::Timestamp;
use domain::{Error, Result};
use serde_json::{Map, Value};

use super::keys::{self, Index, Key, OrgPartition};
use super::{Item, string};

/// The attribute, always true, of activities that were for staff when they were recorded. The counters count these apart.
pub(super) const STAFF: &str = "staff";

/// The item of an activity without the attributes that depend on its organization.
pub(super) fn encode(activity: &Activity) -> Result<Item> {
    let mut item =
        super::key((keys::workspace(&activity.workspace_id), keys::activity(&activity.position())));
    encode_members(activity, &mut item)?;
    if is_staff(activity) {
        item.insert(STAFF.into(), AttributeValue::Bool(true));
    }
    Ok(item)
}

/// Puts the item of an activity into the indexes it belongs to.
pub(super) fn index(activity: &Activity, partition: &OrgPartition, item: &mut Item) {
    for index in Index::ALL {
        if let Some(value) = index.value(activity, partition) {
            item.insert(index.attribute().into(), string(value));
        }
    }
}

/// Whether an activity that is recorded now is marked and counted as staff's.
pub(super) fn is_staff(activity: &Activity) -> bool {
    audience(activity) == Audience::Staff
}

/// Reads an activity back.
///
/// # Errors
/// [`Error::Internal`] that names the item when it is not one that [`encode`] made: rows are never dropped.
pub(super) fn decode(mut item: Item) -> Result<Activity> {
    let pk = text(&mut item, keys::PK)?;
    let sk = text(&mut item, keys::SK)?;
    read(item, &pk, &sk).map_err(|error| Error::internal(format!("item {pk} {sk}: {}", error.chain())))
}

/// Reads an activity whose key is `pk` and `sk`. Attributes of `item` that no activity has do not matter.
pub(super) fn read(mut item: Item, pk: &str, sk: &str) -> Result<Activity> {
    let Some(Key::Activity(workspace, position)) = Key::parse(pk, sk) else {
        return Err(Error::internal("not the key of an activity"));
    };
    // An action that had no row in the catalog when it was recorded stays in the category it was put in.
    let other = keys::category_prefix(OTHER);
    let is_other =
        optional(&mut item, Index::Action.attribute())?.is_some_and(|position| position.starts_with(&other));
    let mut activity = decode_members(&mut item, workspace, position)?;
    if !is_other {
        activity.category = category(&activity.action);
    }
    Ok(activity)
}

/// A member of an activity as an attribute of its item.
trait Stored: Sized {
    /// The attribute; `None` when there is none to store.
    fn to_attribute(&self) -> Result<Option<AttributeValue>>;

    /// Reads the attribute `name`, if the item has it.
    fn from_attribute(name: &str, value: Option<AttributeValue>) -> Result<Self>;
}

/// Lists the members that are stored each as the attribute of the same name. It is the only place that does, so that
/// reading and writing cannot differ.
macro_rules! members {
    ($($member:ident),+) => {
        fn encode_members(activity: &Activity, item: &mut Item) -> Result<()> {
            $(if let Some(value) = activity.$member.to_attribute()? {
                item.insert(stringify!($member).into(), value);
            })+
            Ok(())
        }

        fn decode_members(item: &mut Item, workspace_id: WorkspaceId, position: TimePosition) -> Result<Activity> {
            let TimePosition { created_at, id } = position;
            Ok(Activity {
                $($member: Stored::from_attribute(stringify!($member), item.remove(stringify!($member)))?,)+
                id,
                workspace_id,
                created_at,
                category: OTHER,
            })
        }
    };
}

members!(
    issue_id,
    actor_type,
    actor_id,
    action,
    details,
    on_behalf_of,
    affected,
    tags,
    version,
    audience,
    actor_name,
    actor_email,
    recorded,
    salt
);

macro_rules! stored_text {
    ($($type:ty: $parse:expr;)+) => {
        $(impl Stored for $type {
            fn to_attribute(&self) -> Result<Option<AttributeValue>> {
                Ok(Some(string(self.as_str())))
            }

            fn from_attribute(name: &str, value: Option<AttributeValue>) -> Result<Self> {
                let parse: fn(&str, String) -> Result<Self> = $parse;
                match value {
                    Some(AttributeValue::S(text)) => parse(name, text),
                    Some(_) => Err(Error::internal(format!("{name} is no string"))),
                    None => Err(Error::internal(format!("{name} is missing"))),
                }
            }
        })+
    };
}

stored_text! {
    String: |_, text| Ok(text);
    IssueId: IssueId::parse;
    ActorId: ActorId::parse;
    Action: Action::parse;
    ActorType: |name, text| ActorType::parse(name, &text);
    Audience: |name, text| Audience::parse(name, &text);
}

impl<T: Stored> Stored for Option<T> {
    fn to_attribute(&self) -> Result<Option<AttributeValue>> {
        self.as_ref().map_or(Ok(None), Stored::to_attribute)
    }

    fn from_attribute(name: &str, value: Option<AttributeValue>) -> Result<Self> {
        value.map(|value| T::from_attribute(name, Some(value))).transpose()
    }
}

impl Stored for Details {
    fn to_attribute(&self) -> Result<Option<AttributeValue>> {
        Ok(Some(string(self.as_str())))
    }

    fn from_attribute(name: &str, value: Option<AttributeValue>) -> Result<Self> {
        Self::from_json(String::from_attribute(name, value)?)
    }
}

impl Stored for Salt {
    fn to_attribute(&self) -> Result<Option<AttributeValue>> {
        Ok(Some(AttributeValue::B(Blob::new(self.as_bytes()))))
    }

    fn from_attribute(name: &str, value: Option<AttributeValue>) -> Result<Self> {
        let bytes = match &value {
            Some(AttributeValue::B(bytes)) => Self::from_bytes(bytes.as_ref()),
            _ => None,
        };
        bytes.ok_or_else(|| Error::internal(format!("{name} is not 16 bytes")))
    }
}

/// A number that DynamoDB keeps exactly: it has 38 digits.
impl Stored for u64 {
    fn to_attribute(&self) -> Result<Option<AttributeValue>> {
        Ok(Some(AttributeValue::N(self.to_string())))
    }

    fn from_attribute(name: &str, value: Option<AttributeValue>) -> Result<Self> {
        match value {
            Some(AttributeValue::N(number)) => number.parse().map_err(Error::internal),
            _ => Err(Error::internal(format!("{name} is no number"))),
        }
    }
}

impl Stored for Party {
    fn to_attribute(&self) -> Result<Option<AttributeValue>> {
        serde_json::to_string(self).map(|text| Some(string(text))).map_err(Error::internal)
    }

    fn from_attribute(name: &str, value: Option<AttributeValue>) -> Result<Self> {
        let text = String::from_attribute(name, value)?;
        let mut members: Map<String, Value> = serde_json::from_str(&text).map_err(Error::internal)?;
        let mut take = |member: &str| match members.remove(member) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (name, email) = (take("name"), take("email"));
        Ok(Self { id: ActorId::parse("id", take("id").unwrap_or_default())?, name, email })
    }
}

impl Stored for Vec<Tag> {
    fn to_attribute(&self) -> Result<Option<AttributeValue>> {
        let tags = self.iter().map(|tag| string(tag.as_str())).collect();
        Ok((!self.is_empty()).then_some(AttributeValue::L(tags)))
    }

    fn from_attribute(name: &str, value: Option<AttributeValue>) -> Result<Self> {
        let tag = |value| match value {
            AttributeValue::S(text) => Tag::parse(name, text),
            _ => Err(Error::internal("a tag is no string")),
        };
        match value {
            None => Ok(Self::new()),
            Some(AttributeValue::L(tags)) => tags.into_iter().map(tag).collect(),
            Some(_) => Err(Error::internal(format!("{name} is no list"))),
        }
    }
}

/// A time, the first letter of a way in, and the principal if there is one, separated by spaces.
impl Stored for Provenance {
    fn to_attribute(&self) -> Result<Option<AttributeValue>> {
        let Self { recorded_at, recorded_by: RecordedBy { source, principal } } = self;
        let mut text = format!("{} {}", recorded_at.key(), &source.as_str()[..1]);
        if let Some(principal) = principal {
            text.push(' ');
            text.push_str(principal);
        }
        Ok(Some(string(text)))
    }

    fn from_attribute(name: &str, value: Option<AttributeValue>) -> Result<Self> {
        let text = String::from_attribute(name, value)?;
        let mut parts = text.splitn(3, ' ');
        let recorded_at = Timestamp::parse(name, parts.next().unwrap_or_default())?;
        let letter = parts.next().unwrap_or_default();
        let source = Source::ALL.into_iter().find(|source| source.as_str()[..1] == *letter);
        let source = source.ok_or_else(|| Error::internal(format!("{name} has no way in")))?;
        let principal = parts.next().map(str::to_owned);
        Ok(Self { recorded_at, recorded_by: RecordedBy { source, principal } })
    }
}

/// Takes a string that may be absent.
pub(super) fn optional(item: &mut Item, name: &str) -> Result<Option<String>> {
    Stored::from_attribute(name, item.remove(name))
}

/// Takes a string that must be there.
pub(super) fn text(item: &mut Item, name: &str) -> Result<String> {
    Stored::from_attribute(name, item.remove(name))
}
