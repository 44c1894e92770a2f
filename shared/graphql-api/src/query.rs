//! The query `activityList`.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Object};
use domain::access::VisibleWorkspace;
use domain::activity::Activity;
use domain::filter::FilterKind;
use domain::ids::WorkspaceId;
use domain::{Error, Result};
use feeds::reader::Reader;
use feeds::{Budget, Page, Scope, cursor};
use http_api::response_size;
use store::{Row, Store};

use crate::arguments::{DateRange, Filters, ListArguments, OrderBy, Paging, not_empty};
use crate::category::Category;
use crate::date_time::DateTime;
use crate::error;
use crate::limits::{PageSize, ResponseBudget, complexity};
use crate::types::{ActivityList, Node, PageInfo};

/// The root of queries. There is no mutation, because only services record activities.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query;

#[Object]
impl Query {
    /// The activities of a project, of a company, or of all that the caller may see.
    ///
    /// Every filter narrows the feed. An activity passes a filter that is a list when it matches any of its values.
    #[graphql(complexity = "complexity(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "they are the reference's")]
    async fn activity_list(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The company's id or slug.")] company_id: Option<String>,
        #[graphql(desc = "The project's id or slug.")] project_id: Option<String>,
        #[graphql(desc = "Only acts of this user.")] user_id: Option<String>,
        #[graphql(desc = "Only acts of any of these users; at most 20.")] user_ids: Option<Vec<String>>,
        #[graphql(desc = "Only activities with any of these tags; at most 20.")] tag_ids: Option<Vec<String>>,
        #[graphql(desc = "Only these categories.")] categories: Option<Vec<Category>>,
        #[graphql(desc = "From this instant on.")] start_date: Option<DateTime>,
        #[graphql(
            desc = "Up to this instant, included. With three fraction digits or fewer, its whole millisecond is."
        )]
        end_date: Option<DateTime>,
        #[graphql(desc = "Leaves out so many: from the start with first, from the end with last.")]
        skip: Option<i32>,
        #[graphql(desc = "The first so many, 1 to 200; 50 when last is not given.")] first: Option<i32>,
        #[graphql(desc = "The last so many, 1 to 200, in the same order.")] last: Option<i32>,
        #[graphql(desc = "Only activities after this cursor of the same feed.")] after: Option<String>,
        #[graphql(desc = "Only activities before this cursor of the same feed.")] before: Option<String>,
        #[graphql(desc = "The order; by default, the most recent first.")] order_by: Option<OrderBy>,
    ) -> async_graphql::Result<ActivityList> {
        for (argument, value) in [("companyId", &company_id), ("projectId", &project_id)] {
            not_empty(argument, value.as_deref(), "to show all").map_err(error::of_field)?;
        }
        let dates = DateRange::new(start_date, end_date).ok_or_else(error::reversed_dates)?;
        let filters = Filters::default()
            .any_of(FilterKind::Actor, "userIds", user_ids)
            .only_actor("userId", user_id)
            .any_of(FilterKind::Category, "categories", categories)
            .any_of(FilterKind::Tag, "tagIds", tag_ids);
        let paging = Paging { skip, first, last, after, before, order_by };
        let list = ListReader::new(ctx, ListArguments { filters, dates, paging })?;
        Box::pin(list.read(company_id.as_deref(), project_id.as_deref())).await.map_err(error::of_field)
    }
}

/// Reads one list.
struct ListReader<'a> {
    store: &'a Store,
    reader: &'a Reader,
    read_budget: &'a Budget,
    response_budget: &'a Arc<ResponseBudget>,
    page_size: PageSize,
    arguments: ListArguments,
    selected: SelectedFields,
}

/// The fields of a list that need reads of their own, and whether the document selects them.
#[derive(Default)]
struct SelectedFields {
    page: bool,
    total: bool,
    has_next_page: bool,
    has_previous_page: bool,
}

impl SelectedFields {
    fn of(ctx: &Context<'_>) -> Self {
        let mut selected = Self::default();
        for field in ctx.field().selection_set() {
            selected.page |= matches!(field.name(), "activities" | "pageInfo");
            selected.total |= field.name() == "totalCount";
            for field in field.selection_set() {
                selected.has_next_page |= field.name() == "hasNextPage";
                selected.has_previous_page |= field.name() == "hasPreviousPage";
            }
        }
        selected
    }
}

impl<'a> ListReader<'a> {
    fn new(ctx: &Context<'a>, arguments: ListArguments) -> async_graphql::Result<Self> {
        Ok(Self {
            store: ctx.data()?,
            reader: ctx.data()?,
            read_budget: ctx.data()?,
            response_budget: ctx.data()?,
            page_size: *ctx.data()?,
            arguments,
            selected: SelectedFields::of(ctx),
        })
    }

    async fn read(&self, company: Option<&str>, project: Option<&str>) -> Result<ActivityList> {
        match (project, company) {
            (Some(project), company) => {
                self.reader.by_id_or_slug(project, company, |id| self.read_workspace(id, company)).await
            }
            (None, Some(company)) => {
                let (organization, visible) = self.reader.organization(company).await?;
                self.read_scope(Scope::Organization(organization), async { Ok(visible) }).await
            }
            (None, None) => {
                let visible = self.reader.everything().await?;
                self.read_scope(Scope::Everything, async { Ok(visible) }).await
            }
        }
    }

    async fn read_workspace(&self, id: WorkspaceId, company: Option<&str>) -> Result<ActivityList> {
        let access = async { Ok(vec![self.reader.workspace(&id, company).await?]) };
        self.read_scope(Scope::Workspace(id.clone()), access).await
    }

    async fn read_scope(
        &self,
        scope: Scope,
        access: impl Future<Output = Result<Vec<VisibleWorkspace>>>,
    ) -> Result<ActivityList> {
        let mut query = match self.arguments.query(scope) {
            Ok(query) => query,
            // An error of access comes first, because the id may be a slug, and cursors are bound to the id itself.
            Err(error) => return Err(access.await.err().unwrap_or(error)),
        };
        query.max_bytes = self.page_size.0;
        query.total = self.selected.total;
        if self.selected.page {
            query.behind =
                if query.backward { self.selected.has_next_page } else { self.selected.has_previous_page };
        } else {
            query.limit = 0;
        }
        if self.arguments.filters.excludes_all() {
            access.await?;
            let empty = Page {
                entries: Vec::new(),
                ends: None,
                next: None,
                fits: None,
                behind: None,
                total: Some(0),
            };
            return self.list(&query, empty);
        }
        let page = Box::pin(feeds::read(self.store, self.read_budget, &query, weigh, access)).await?;
        tracing::info!(feed = ?query.scope, activities = page.entries.len(), "listed activities");
        self.list(&query, page)
    }

    fn list(&self, query: &feeds::Query, page: Page<Activity>) -> Result<ActivityList> {
        let Page { entries, ends, next, behind, total, .. } = page;
        let (has_more, has_behind) = (next.is_some(), behind.unwrap_or(false));
        let (has_next_page, has_previous_page) =
            if query.backward { (has_behind, has_more) } else { (has_more, has_behind) };
        let (mut start, mut end) = ends.unzip();
        // The next page begins where reading stopped, which is beyond the last activity when the page was cut short.
        if next.is_some() {
            *(if query.backward { &mut start } else { &mut end }) = next;
        }
        let mut workspaces: HashMap<WorkspaceId, Option<Arc<_>>> = HashMap::new();
        let nodes = entries.into_iter().map(|activity| {
            let workspace = workspaces
                .entry(activity.workspace_id.clone())
                .or_insert_with_key(|id| self.reader.entry(id).map(Arc::new))
                .clone();
            Node::new(Arc::new(activity), workspace, Arc::clone(self.response_budget))
        });
        let cursor = |bound: Option<_>| bound.map(|bound| cursor::encode(query, &bound));
        Ok(ActivityList {
            activities: nodes.collect(),
            page_info: PageInfo {
                has_next_page,
                has_previous_page,
                start_cursor: cursor(start),
                end_cursor: cursor(end),
            },
            total_count: i32::try_from(total.unwrap_or(0)).map_err(Error::internal)?,
        })
    }
}

/// An activity, and its size in a response of the REST API, so that both APIs cut a page at the same activity.
fn weigh(row: Row) -> Result<(Activity, usize)> {
    let size = response_size::of_value(&row.activity)?;
    Ok((row.activity, size))
}
