//! The subscription. Who watches is told of an activity by another process than the one they asked, so there are two
//! ways through here: one that finds out what is asked for, and one that has what there is to tell.

use std::sync::{Mutex, OnceLock, PoisonError};

use async_graphql::{Context, Enum, SimpleObject, Subscription};
use futures_util::stream::{self, Stream};

use crate::types::Node;

/// What became of an activity.
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
    /// What became of it.
    mutation: ActivityMutation,
    /// The activity.
    node: Node,
}

/// What a subscription is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The organization's id or slug.
    pub company: Option<String>,
    /// The workspace's id or slug.
    pub project: Option<String>,
    /// Where the last one was left.
    pub after: Option<String>,
}

/// Of a request: what it asks for, once that is known, and what there is to tell.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) arguments: OnceLock<Arguments>,
    pub(crate) nodes: Mutex<Vec<Node>>,
}

/// What can be watched.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subscription;

#[Subscription]
impl Subscription {
    /// The activities of a project, or of what the caller may see of a company, from now on. Each message has in its
    /// `extensions` a `cursor`, after which another subscription goes on.
    async fn subscribe_to_activity(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The company's id or slug.")] company_id: Option<String>,
        #[graphql(desc = "The project's id or slug.")] project_id: Option<String>,
        #[graphql(
            desc = "First all that came after this cursor, of the last day, of the same subscription."
        )]
        after: Option<String>,
    ) -> async_graphql::Result<impl Stream<Item = Option<ActivitySubscriptionPayload>>> {
        let told: &std::sync::Arc<Told> = ctx.data()?;
        told.arguments.set(Arguments { company: company_id, project: project_id, after }).ok();
        let nodes = std::mem::take(&mut *told.nodes.lock().unwrap_or_else(PoisonError::into_inner));
        let payload = |node| Some(ActivitySubscriptionPayload { mutation: ActivityMutation::Created, node });
        Ok(stream::iter(nodes.into_iter().map(payload)))
    }
}
