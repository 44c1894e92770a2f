//! The origin of a message: the first message's id, time, way in and sender, which stay when a recorder forwards it.

use std::collections::HashMap;

use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::types::MessageAttributeValue;
use chrono::DateTime;
use domain::error::Forbidden;
use domain::provenance::Source;
use domain::time::Timestamp;
use domain::{Error, Result};

use crate::ingress::Forwarded;

const SENT_TIMESTAMP: &str = "SentTimestamp";
/// The attribute with the sender: the id of a user, or of a role and, after a colon, the name of its session.
const SENDER_ID: &str = "SenderId";
/// The attribute with the group that a message belongs to, if its sender named one. The queues are fair between groups.
const GROUP_ID: &str = "MessageGroupId";
/// The message attributes of what a recorder forwards.
const FIRST_ID: &str = "first-message-id";
const FIRST_SENT: &str = "first-sent";
const FIRST_SENDER: &str = "first-sender";
const WAY_IN: &str = "way-in";
const PARKED_SINCE: &str = "parked-since";

/// The origin of a message, whichever queue it is in now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The first message's id.
    pub(crate) id: String,
    /// When it was sent.
    pub(crate) sent: Timestamp,
    /// The queue that it was sent to: that of producers or that of the bus.
    pub(crate) source: Source,
    /// The id of the role or user that sent it. In the queue of the bus this is EventBridge, whose envelope says more.
    pub(crate) sender: String,
    /// The group that it belongs to in its queue.
    pub(crate) group: Option<String>,
    /// When it was parked first.
    pub(crate) parked: Option<Timestamp>,
}

impl Origin {
    /// The origin of a message that was sent to the queue of `source`. Message attributes are not believed.
    ///
    /// # Errors
    /// [`Error::BadInput`] when it does not say when it was sent.
    pub(crate) fn of(id: &str, message: &SqsMessage, source: Source) -> Result<Self> {
        let sent = message.attributes.get(SENT_TIMESTAMP).and_then(|sent| millis(sent));
        let sent = sent.ok_or_else(|| Error::bad_input(SENT_TIMESTAMP, "must be milliseconds since 1970"))?;
        let (sender, group) = (role(message).to_owned(), message.attributes.get(GROUP_ID).cloned());
        Ok(Self { id: id.to_owned(), sent, source, sender, group, parked: None })
    }

    /// The origin that a forwarded message names, if it comes from one who may say so.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when somebody else sent it, and [`Error::BadInput`] when it lacks a part.
    pub(crate) fn forwarded(message: &SqsMessage, forwarded: &Forwarded) -> Result<Self> {
        if !forwarded.senders.contains(Some(role(message))) {
            return Err(Error::Forbidden(Forbidden::Forward));
        }
        let text =
            |name: &str| message.message_attributes.get(name).and_then(|it| it.string_value.as_deref());
        let missing = |name: &str| Error::bad_input(name, "is required of a forwarded message");
        let source = text(WAY_IN).and_then(Source::parse);
        let source = source.filter(|source| matches!(source, Source::Queue | Source::EventBus));
        Ok(Self {
            id: text(FIRST_ID).ok_or_else(|| missing(FIRST_ID))?.to_owned(),
            sent: text(FIRST_SENT).and_then(millis).ok_or_else(|| missing(FIRST_SENT))?,
            source: source.ok_or_else(|| missing(WAY_IN))?,
            sender: text(FIRST_SENDER).unwrap_or_default().to_owned(),
            group: message.attributes.get(GROUP_ID).cloned(),
            parked: text(PARKED_SINCE).and_then(millis),
        })
    }

    /// The message attributes that carry it.
    pub(crate) fn attributes(&self) -> HashMap<String, String> {
        let millis = |time: Timestamp| time.utc().timestamp_millis().to_string();
        let all = [
            (FIRST_ID, Some(self.id.clone())),
            (FIRST_SENT, Some(millis(self.sent))),
            (WAY_IN, Some(self.source.as_str().to_owned())),
            // SQS takes no empty value.
            (FIRST_SENDER, Some(self.sender.clone()).filter(|sender| !sender.is_empty())),
            (PARKED_SINCE, self.parked.map(millis)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// A message attribute with a text.
///
/// # Errors
/// None in fact: the builder knows no required part besides its type.
pub(crate) fn attribute(value: &str) -> Result<MessageAttributeValue> {
    let attribute = MessageAttributeValue::builder().data_type("String").string_value(value);
    attribute.build().map_err(Error::internal)
}

/// The role or user that sent a message. Anyone who assumes the role names its session, so that only the role counts.
fn role(message: &SqsMessage) -> &str {
    let sender = message.attributes.get(SENDER_ID).map_or("", String::as_str);
    sender.split(':').next().unwrap_or_default()
}

fn millis(text: &str) -> Option<Timestamp> {
    text.parse().ok().and_then(DateTime::from_timestamp_millis).map(Timestamp::truncate)
}
