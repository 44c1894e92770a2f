//! The query.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use async_graphql::{Context, Object};
use shared::access::Place;
use shared::feed::{self, Budget, Page, Scope, cursor};
use shared::ids::WorkspaceId;
use shared::reader::Reader;
use shared::store::Store;
use shared::{Error, Result};

use crate::RequestId;
use crate::arguments::{Arguments, OrderBy};
use crate::category::Category;
use crate::date_time::DateTime;
use crate::error;
use crate::limits::{Room, complexity};
use crate::types::{ActivityList, Node, PageInfo};

/// What can be asked. Activities are recorded by services, never here: there is no mutation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query;

#[Object]
impl Query {
    /// The activities of a project, of a company, or of all that the caller may see.
    ///
    /// Every filter narrows the feed; of a list, any may match.
    #[graphql(complexity = "complexity(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "they are the reference's")]
    async fn activity_list(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The company's id or slug.")] company_id: Option<String>,
        #[graphql(desc = "The project's id or slug.")] project_id: Option<String>,
        #[graphql(desc = "Only what this user did.")] user_id: Option<String>,
        #[graphql(desc = "Only what one of these users did; at most 20.")] user_ids: Option<Vec<String>>,
        #[graphql(desc = "Only what has one of these tags; at most 20.")] tag_ids: Option<Vec<String>>,
        #[graphql(desc = "Only these categories; at most 20.")] categories: Option<Vec<Category>>,
        #[graphql(desc = "From this instant on.")] start_date: Option<DateTime>,
        #[graphql(desc = "Up to this instant, included.")] end_date: Option<DateTime>,
        #[graphql(desc = "Leaves out so many: from the start with first, from the end with last.")]
        skip: Option<i32>,
        #[graphql(desc = "The first so many, 1 to 200; 50 when last is not given.")] first: Option<i32>,
        #[graphql(desc = "The last so many, 1 to 200, in the same order.")] last: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor, of the same feed.")] after: Option<String>,
        #[graphql(desc = "Only what comes before this cursor, of the same feed.")] before: Option<String>,
        #[graphql(desc = "In what order; by default, the most recent first.")] order_by: Option<OrderBy>,
    ) -> async_graphql::Result<ActivityList> {
        let arguments = Arguments {
            user_id,
            user_ids,
            tag_ids,
            categories,
            start_date,
            end_date,
            skip,
            first,
            last,
            after,
            before,
            order_by,
        };
        if arguments.are_reversed() {
            return Err(error::reversed());
        }
        let list = List::of(ctx, arguments)?;
        Box::pin(list.read(company_id.as_deref(), project_id.as_deref())).await.map_err(error::of_field)
    }
}

/// One list that is asked for.
struct List<'a> {
    store: &'a Store,
    reader: &'a Reader,
    budget: &'a Budget,
    room: &'a Arc<Room>,
    request_id: &'a RequestId,
    arguments: Arguments,
    wanted: Wanted,
}

/// What is selected of a list: what is not, is not read.
#[derive(Default)]
struct Wanted {
    page: bool,
    total: bool,
    has_next: bool,
    has_previous: bool,
}

impl<'a> List<'a> {
    fn of(ctx: &Context<'a>, arguments: Arguments) -> async_graphql::Result<Self> {
        let mut wanted = Wanted::default();
        for field in ctx.field().selection_set() {
            wanted.page |= matches!(field.name(), "activities" | "pageInfo");
            wanted.total |= field.name() == "totalCount";
            for field in field.selection_set() {
                wanted.has_next |= field.name() == "hasNextPage";
                wanted.has_previous |= field.name() == "hasPreviousPage";
            }
        }
        Ok(Self {
            store: ctx.data()?,
            reader: ctx.data()?,
            budget: ctx.data()?,
            room: ctx.data()?,
            request_id: ctx.data()?,
            arguments,
            wanted,
        })
    }

    async fn read(&self, company: Option<&str>, project: Option<&str>) -> Result<ActivityList> {
        let Some(project) = project else {
            let Some(company) = company else {
                let places = self.reader.everything().await?;
                return self.page(Scope::Everything, async { Ok(places) }).await;
            };
            let (organization, places) = self.reader.company(company).await?;
            return self.page(Scope::Organization(organization), async { Ok(places) }).await;
        };
        self.reader.any_project(project, company, |id| self.project(id, company)).await
    }

    async fn project(&self, id: WorkspaceId, company: Option<&str>) -> Result<ActivityList> {
        let access = async { Ok(vec![self.reader.project(&id, company).await?]) };
        self.page(Scope::Workspace(id.clone()), access).await
    }

    async fn page(
        &self,
        scope: Scope,
        access: impl Future<Output = Result<Vec<Place>>>,
    ) -> Result<ActivityList> {
        let asked = match self.arguments.of(scope) {
            Ok(asked) => asked,
            // It may be a slug, whose cursors are those of another id.
            Err(error) => return Err(access.await.err().unwrap_or(error)),
        };
        let mut query = asked.query;
        query.total = self.wanted.total;
        if self.wanted.page {
            query.behind = if query.backward { self.wanted.has_next } else { self.wanted.has_previous };
        } else {
            query.limit = 0;
        }
        if asked.is_empty {
            access.await?;
            let none = Page { activities: Vec::new(), ends: None, next: None, behind: None, total: Some(0) };
            return self.list(&query, none);
        }
        let page = Box::pin(feed::read(self.store, self.budget, &query, access)).await?;
        // Beside the access log, which knows who it was: every read of the log is told.
        let request_id = self.request_id.0.as_deref();
        tracing::info!(request_id, feed = ?query.scope, activities = page.activities.len(), "a list was read");
        self.list(&query, page)
    }

    fn list(&self, query: &feed::Query, page: Page) -> Result<ActivityList> {
        let Page { activities, ends, next, behind, total } = page;
        let (more, behind) = (next.is_some(), behind.unwrap_or(false));
        let (mut start, mut end) = ends.unzip();
        // A page that was cut short goes on where reading stopped, and not after its last activity.
        if next.is_some() {
            *(if query.backward { &mut start } else { &mut end }) = next;
        }
        let mut workspaces: HashMap<WorkspaceId, Option<Arc<_>>> = HashMap::new();
        let nodes = activities.into_iter().map(|activity| {
            let workspace = workspaces
                .entry(activity.workspace_id.clone())
                .or_insert_with_key(|id| self.reader.met(id).map(Arc::new))
                .clone();
            let room = Arc::clone(self.room);
            Node { activity, workspace, room, html: OnceLock::new(), text: OnceLock::new() }
        });
        let cursor = |place: Option<_>| place.map(|place| cursor::encode(query, &place));
        Ok(ActivityList {
            activities: nodes.collect(),
            page_info: PageInfo {
                has_next_page: if query.backward { behind } else { more },
                has_previous_page: if query.backward { more } else { behind },
                start_cursor: cursor(start),
                end_cursor: cursor(end),
            },
            total_count: i32::try_from(total.unwrap_or(0)).map_err(Error::internal)?,
        })
    }
}
