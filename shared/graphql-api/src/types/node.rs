//! The type `Activity` of the schema.

use std::sync::{Arc, OnceLock};

use async_graphql::{ID, Object};
use domain::activity::{Activity, ActorType, Party};
use domain::catalog;
use domain::directory::Workspace;
use domain::provenance::{self, Provenance};

use super::texts::Texts;
use super::{
    Comment, Company, Discussion, Project, RecordedBy, StatusUpdate, Todo, TodoList, User, UserType,
};
use crate::category::Category;
use crate::date_time::DateTime;
use crate::limits::ResponseBudget;

/// An activity, with the directory's entry of its workspace.
#[derive(Debug)]
pub(crate) struct Node {
    activity: Arc<Activity>,
    /// The details that fields show.
    texts: OnceLock<Texts>,
    workspace: Option<Arc<Workspace>>,
    /// Whether its readers may see when and by whom it was recorded.
    shows_provenance: bool,
    /// The budget of the texts. A text that does not fit becomes null, in a response that is not sent.
    response_budget: Arc<ResponseBudget>,
    /// The sentences, rendered once however often a document selects them.
    html: OnceLock<String>,
    text: OnceLock<String>,
}

/// One immutable record: who did what, where and when.
#[Object(name = "Activity")]
impl Node {
    /// Unique everywhere, for caches: the project's id, a slash, and `activityId`. All but `A-Z a-z 0-9 . _ : @ -` is
    /// percent-encoded in both.
    async fn id(&self) -> ID {
        self.unique_id().into()
    }

    /// The same as `id`.
    async fn uid(&self) -> String {
        self.unique_id()
    }

    /// The kind of the activity.
    async fn category(&self) -> Category {
        Category(self.activity.category)
    }

    /// A sentence of HTML that says what happened. Texts that people wrote are escaped. The only elements are `strong`
    /// and `em`.
    async fn html(&self) -> String {
        self.fitting(|| Some(self.html.get_or_init(|| catalog::html(&self.activity)).clone()))
            .unwrap_or_default()
    }

    /// A sentence that says what happened.
    #[graphql(deprecation = "Use html.")]
    async fn text(&self) -> String {
        self.fitting(|| Some(self.text.get_or_init(|| catalog::text(&self.activity)).clone()))
            .unwrap_or_default()
    }

    /// When it happened.
    async fn created_at(&self) -> DateTime {
        self.activity.created_at.into()
    }

    /// When it was last changed. Activities never change, so this is when it happened.
    async fn updated_at(&self) -> DateTime {
        self.activity.created_at.into()
    }

    /// The user or agent that did it.
    async fn created_by(&self) -> User {
        let activity = &self.activity;
        User {
            id: activity.actor_id.as_str().into(),
            name: activity.actor_name.clone(),
            email: activity.actor_email.clone(),
            r#type: Some(match activity.actor_type {
                ActorType::User => UserType::User,
                ActorType::Agent => UserType::Agent,
            }),
        }
    }

    /// The user or agent that was affected.
    async fn affected_by(&self) -> Option<User> {
        if let Some(Party { id, name, email }) = &self.activity.affected {
            return Some(User {
                id: id.as_str().into(),
                name: name.clone(),
                email: email.clone(),
                r#type: None,
            });
        }
        Some(User { id: self.id_of("user")?, name: None, email: None, r#type: None })
    }

    /// The organization it belongs to.
    async fn company(&self) -> Option<Company> {
        let workspace = self.workspace.as_ref()?;
        Some(Company {
            id: workspace.organization.as_ref()?.as_str().into(),
            name: workspace.organization_name.clone(),
            slug: workspace.organization_slug.clone(),
        })
    }

    /// The workspace it belongs to.
    async fn project(&self) -> Option<Project> {
        let workspace = self.workspace.as_ref()?;
        Some(Project {
            id: self.activity.workspace_id.as_str().into(),
            name: workspace.name.clone(),
            slug: workspace.slug.clone(),
        })
    }

    /// The issue it is about.
    async fn todo(&self) -> Option<Todo> {
        let id = self.activity.issue_id.as_ref()?.as_str().into();
        let title = if self.noun() == "issue" { self.detail("title") } else { self.detail("issue_title") };
        Some(Todo { id, title })
    }

    /// The list it is about. For an issue that was moved, this is the list it was moved to.
    async fn todo_list(&self) -> Option<TodoList> {
        if self.noun() == "issue_list" {
            return Some(TodoList { id: self.id_of("list")?, title: self.detail("title") });
        }
        let (list, title) =
            if self.has_detail("to_list") { ("to_list", "to_list_title") } else { ("list", "list_title") };
        Some(TodoList { id: self.id_of(list)?, title: self.detail(title) })
    }

    /// The comment it is about.
    async fn comment(&self) -> Option<Comment> {
        (self.noun() == "comment").then(|| Comment { id: self.id_of("comment"), text: self.detail("text") })
    }

    /// The discussion it is about.
    async fn discussion(&self) -> Option<Discussion> {
        let id = self.id_of("discussion")?;
        let own = |name| if self.noun() == "discussion" { self.detail(name) } else { None };
        Some(Discussion { id, title: own("title"), text: own("text") })
    }

    /// The status update it is about.
    async fn status_update(&self) -> Option<StatusUpdate> {
        let id = self.id_of("status_update")?;
        let text = if self.noun() == "status_update" { self.detail("text") } else { None };
        Some(StatusUpdate { id, text })
    }

    /// All its details, as JSON.
    async fn metadata(&self) -> Option<String> {
        let details = &self.activity.details;
        self.fitting(|| (!details.is_empty()).then(|| details.as_str().to_owned()))
    }

    /// When it was recorded, by the server's clock. Null for readers who are neither owners nor admins of the project nor
    /// have the scope `activity:read`, and for activities from before this was kept.
    async fn recorded_at(&self) -> Option<DateTime> {
        Some(self.provenance()?.recorded_at.into())
    }

    /// The service that recorded it. Null where `recordedAt` is.
    async fn recorded_by(&self) -> Option<RecordedBy> {
        let provenance::RecordedBy { source, principal } = &self.provenance()?.recorded_by;
        let principal = self.fitting(|| principal.clone());
        Some(RecordedBy { source: (*source).into(), principal })
    }

    /// Unique in its project: the `id` in the REST API and in events.
    async fn activity_id(&self) -> ID {
        self.activity.id.as_str().into()
    }
}

impl Node {
    /// A node whose texts use up `response_budget`. The activity says when and by whom it was recorded only if its readers
    /// may see that, unless [`Node::without_provenance`] follows.
    pub(crate) fn new(
        activity: Arc<Activity>,
        workspace: Option<Arc<Workspace>>,
        response_budget: Arc<ResponseBudget>,
    ) -> Self {
        let (texts, html, text) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { activity, texts, workspace, shows_provenance: true, response_budget, html, text }
    }

    fn unique_id(&self) -> String {
        format!("{}/{}", self.activity.workspace_id.key(), self.activity.id.key())
    }

    fn texts(&self) -> &Texts {
        self.texts.get_or_init(|| Texts::of(&self.activity.details))
    }

    fn has_detail(&self, name: &str) -> bool {
        self.texts().has(name)
    }

    /// The same node for readers who may not see when and by whom the activity was recorded.
    pub(crate) fn without_provenance(self) -> Self {
        Self { shows_provenance: false, ..self }
    }

    fn provenance(&self) -> Option<&Provenance> {
        self.activity.recorded.as_ref().filter(|_| self.shows_provenance)
    }

    /// The first word of the action, which names the thing that the activity is about.
    fn noun(&self) -> &str {
        let action = self.activity.action.as_str();
        action.split_once('.').map_or(action, |(noun, _)| noun)
    }

    /// A text, if there is one and it fits the budget. Once the budget is full, no text is rendered any more.
    fn fitting(&self, render: impl FnOnce() -> Option<String>) -> Option<String> {
        if self.response_budget.is_full() {
            return None;
        }
        render().filter(|text| self.response_budget.take(text.len()))
    }

    fn detail(&self, name: &str) -> Option<String> {
        self.fitting(|| self.texts().text(name).map(str::to_owned))
    }

    fn id_of(&self, name: &str) -> Option<ID> {
        self.detail(name).map(ID::from)
    }
}
