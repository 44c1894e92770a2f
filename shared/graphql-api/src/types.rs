//! The types of the schema, under the names of the reference.
//!
//! An activity keeps the names and titles of its time. Its project and its company are as the directory has them now.

mod node;
mod texts;

use async_graphql::{Enum, ID, Object, SimpleObject};

pub(crate) use node::Node;

/// The kind of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum UserType {
    /// A person.
    User,
    /// An AI agent.
    Agent,
}

/// A person or an agent.
#[derive(Debug, SimpleObject)]
pub(crate) struct User {
    id: ID,
    /// Their name at the time.
    name: Option<String>,
    /// Their address at the time.
    email: Option<String>,
    /// Whether this is a person or an agent; null when the activity does not say.
    r#type: Option<UserType>,
}

/// An organization.
#[derive(Debug, SimpleObject)]
pub(crate) struct Company {
    id: ID,
    /// Its name now.
    name: Option<String>,
    /// Its slug now.
    slug: Option<String>,
}

/// A workspace.
#[derive(Debug, SimpleObject)]
pub(crate) struct Project {
    id: ID,
    /// Its name now.
    name: String,
    /// Its slug now.
    slug: Option<String>,
}

/// An issue.
#[derive(Debug, SimpleObject)]
pub(crate) struct Todo {
    id: ID,
    /// Its title at the time, if the activity has it.
    title: Option<String>,
}

/// A list of issues.
#[derive(Debug, SimpleObject)]
pub(crate) struct TodoList {
    id: ID,
    /// Its title at the time, if the activity has it.
    title: Option<String>,
}

/// A comment.
#[derive(Debug, SimpleObject)]
pub(crate) struct Comment {
    /// Null when its producer gave it none.
    id: Option<ID>,
    /// Its text at the time, if the activity has it.
    text: Option<String>,
}

/// A discussion.
#[derive(Debug, SimpleObject)]
pub(crate) struct Discussion {
    id: ID,
    /// Its title at the time, if the activity has it.
    title: Option<String>,
    /// Its text at the time, if the activity has it.
    text: Option<String>,
}

/// A status update.
#[derive(Debug, SimpleObject)]
pub(crate) struct StatusUpdate {
    id: ID,
    /// Its text at the time, if the activity has it.
    text: Option<String>,
}

/// The ways to record an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::provenance::Source")]
pub(crate) enum RecordingSource {
    /// The REST API.
    Http,
    /// The event bus.
    EventBus,
    /// The queue of producers.
    Queue,
    /// A direct invocation.
    Invoke,
}

/// The service that recorded an activity.
#[derive(Debug, SimpleObject)]
pub(crate) struct RecordedBy {
    /// The way on which it did so.
    pub(crate) source: RecordingSource,
    /// The verified sender: over HTTP the token's subject and client, on the bus the account and the source, in the queue
    /// the id of the sender's role. Null for invocations, as Lambda does not say who invoked.
    pub(crate) principal: Option<String>,
}

/// The position of a page in its feed.
#[derive(Debug, SimpleObject)]
pub(crate) struct PageInfo {
    /// Whether anything comes after it.
    pub(crate) has_next_page: bool,
    /// Whether anything comes before it.
    pub(crate) has_previous_page: bool,
    /// The cursor of its start: `before` it is the previous page.
    pub(crate) start_cursor: Option<String>,
    /// The cursor of its end: `after` it is the next page.
    pub(crate) end_cursor: Option<String>,
}

/// A page of activities.
#[derive(Debug)]
pub(crate) struct ActivityList {
    pub(crate) activities: Vec<Node>,
    pub(crate) page_info: PageInfo,
    pub(crate) total_count: i32,
}

/// A page of activities.
#[Object]
impl ActivityList {
    /// The activities, in the order of `orderBy`.
    async fn activities(&self) -> &[Node] {
        &self.activities
    }

    /// The position of the page.
    async fn page_info(&self) -> &PageInfo {
        &self.page_info
    }

    /// The number of activities that pass the filters, on all pages. It costs extra reads, and only when selected.
    async fn total_count(&self) -> i32 {
        self.total_count
    }
}
