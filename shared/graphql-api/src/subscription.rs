//! The subscription `subscribeToActivity`.
//!
//! No process executes a subscription from its beginning to its end. One execution, without updates, finds its arguments
//! when the client subscribes. Later executions, in other processes, each render some updates.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_graphql::{Context, Enum, SimpleObject, Subscription};
use domain::access::VisibleWorkspace;
use domain::subscription::{JournalPosition, Topic};
use domain::{Error, Result};
use feeds::reader::Reader;
use futures_util::stream::{self, Stream};

use crate::arguments::not_empty;
use crate::error;
use crate::types::Node;

/// The kind of change to an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum ActivityMutation {
    /// It was recorded.
    #[graphql(name = "ACTIVITY_CREATED")]
    Created,
    /// It was changed. Activities never are.
    #[graphql(name = "ACTIVITY_UPDATED")]
    Updated,
    /// It was removed. Activities never are.
    #[graphql(name = "ACTIVITY_DELETED")]
    Deleted,
}

/// An activity, as soon as it is recorded.
#[derive(Debug, SimpleObject)]
pub(crate) struct ActivitySubscriptionPayload {
    /// The kind of change.
    mutation: ActivityMutation,
    /// The activity.
    node: Node,
}

/// The arguments of a subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubscriptionArguments {
    /// The organization's id or slug, `companyId`.
    organization: Option<String>,
    /// The workspace's id or slug, `projectId`.
    workspace: Option<String>,
    /// The cursor of the last update that the client got.
    after: Option<String>,
}

impl SubscriptionArguments {
    /// The topic, which the reader may read at least in part.
    ///
    /// # Errors
    /// [`Error::BadInput`] when neither a workspace nor an organization is given, and no topic has all that the reader may
    /// see; otherwise those of [`Reader::by_id_or_slug`], [`Reader::organization`] and [`Reader::everything`].
    pub async fn topic(&self, reader: &Reader) -> Result<Topic> {
        let organization = self.organization.as_deref();
        if let Some(workspace) = &self.workspace {
            let read = |id| async move { reader.workspace(&id, organization).await };
            let visible = reader.by_id_or_slug(workspace, organization, read).await?;
            return Ok(Topic::Workspace(visible.workspace));
        }
        match organization {
            Some(organization) => Ok(Topic::Organization(reader.organization(organization).await?.0)),
            None => topic_of_all(&reader.everything().await?),
        }
    }

    /// The position in the topic's journal to resume at; `None` to begin with the next update.
    ///
    /// # Errors
    /// [`Error::BadInput`] when the cursor `after` was not made for this topic.
    pub fn resume_at(&self, topic: &Topic) -> Result<Option<JournalPosition>> {
        self.after.as_deref().map(|after| JournalPosition::from_cursor("after", after, topic)).transpose()
    }
}

/// The topic that has all that a reader may see, which is that of their only organization. There is none for several,
/// because a cursor is a position in one journal.
fn topic_of_all(visible: &[VisibleWorkspace]) -> Result<Topic> {
    let required = |reason| Err(Error::bad_input("companyId", format!("or projectId is required: {reason}")));
    let organizations: BTreeSet<_> = visible.iter().map(|visible| &visible.organization).collect();
    match (organizations.into_iter().collect::<Vec<_>>().as_slice(), visible) {
        (_, []) => required("you may see no project"),
        ([Some(organization)], _) => Ok(Topic::Organization((*organization).clone())),
        (_, [only]) => Ok(Topic::Workspace(only.workspace.clone())),
        _ => required("what you may see belongs to several companies, or to none"),
    }
}

/// The data of one execution: the arguments, which the execution finds, and the updates that it renders.
#[derive(Debug, Default)]
pub(crate) struct UpdateFeed {
    arguments: OnceLock<SubscriptionArguments>,
    updates: Mutex<Vec<Node>>,
}

impl UpdateFeed {
    /// A feed of these updates.
    pub(crate) fn new(updates: Vec<Node>) -> Self {
        Self { arguments: OnceLock::new(), updates: Mutex::new(updates) }
    }

    /// The arguments; `None` when the execution did not come to the subscription.
    pub(crate) fn arguments(&self) -> Option<SubscriptionArguments> {
        self.arguments.get().cloned()
    }

    fn take_updates(&self) -> Vec<Node> {
        std::mem::take(&mut self.updates.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The root of subscriptions.
#[derive(Debug, Clone, Copy, Default)]
pub struct SubscriptionRoot;

#[Subscription(name = "Subscription")]
impl SubscriptionRoot {
    /// The activities of a project, or of what the caller may see of a company, from now on. Without both arguments, of all
    /// that the caller may see, if that belongs to one company. Each message has in its `extensions` a `cursor`, after
    /// which another subscription goes on.
    async fn subscribe_to_activity(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The company's id or slug.")] company_id: Option<String>,
        #[graphql(desc = "The project's id or slug.")] project_id: Option<String>,
        #[graphql(
            desc = "A cursor of the same subscription, at most a day old. The activities after it come first."
        )]
        after: Option<String>,
    ) -> async_graphql::Result<impl Stream<Item = Option<ActivitySubscriptionPayload>>> {
        let scope = [("companyId", &company_id), ("projectId", &project_id)];
        for (argument, value) in scope {
            not_empty(argument, value.as_deref(), "to get all").map_err(error::of_field)?;
        }
        not_empty("after", after.as_deref(), "to begin with the next activity").map_err(error::of_field)?;
        let feed: &Arc<UpdateFeed> = ctx.data()?;
        let arguments = SubscriptionArguments { organization: company_id, workspace: project_id, after };
        feed.arguments.set(arguments).ok();
        let payload = |node| Some(ActivitySubscriptionPayload { mutation: ActivityMutation::Created, node });
        Ok(stream::iter(feed.take_updates().into_iter().map(payload)))
    }
}
