//! The types of the schema, as the reference names them. Names and titles are those of the time of the event; of what every
//! activity of a workspace shares, its project and company, they are the directory's.

use std::sync::{Arc, OnceLock};

use async_graphql::{Enum, ID, Object, SimpleObject};
use serde_json::{Map, Value};
use shared::activity::{Activity, ActorType, Party};
use shared::catalog;
use shared::directory::Workspace;

use crate::category::Category;
use crate::date_time::DateTime;
use crate::limits::Room;

/// What a user is.
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
    /// Whether this is a person or an agent; null when nobody said.
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
    /// Its title at the time, when the activity tells.
    title: Option<String>,
}

/// A list of issues.
#[derive(Debug, SimpleObject)]
pub(crate) struct TodoList {
    id: ID,
    /// Its title at the time, when the activity tells.
    title: Option<String>,
}

/// A comment.
#[derive(Debug, SimpleObject)]
pub(crate) struct Comment {
    /// Null when its producer gave it none.
    id: Option<ID>,
    /// Its text at the time, when the activity tells.
    text: Option<String>,
}

/// A discussion.
#[derive(Debug, SimpleObject)]
pub(crate) struct Discussion {
    id: ID,
    /// Its title at the time, when the activity tells.
    title: Option<String>,
    /// Its text at the time, when the activity tells.
    text: Option<String>,
}

/// A status update.
#[derive(Debug, SimpleObject)]
pub(crate) struct StatusUpdate {
    id: ID,
    /// Its text at the time, when the activity tells.
    text: Option<String>,
}

/// Where a page lies.
#[derive(Debug, SimpleObject)]
pub(crate) struct PageInfo {
    /// Whether anything comes after it.
    pub(crate) has_next_page: bool,
    /// Whether anything comes before it.
    pub(crate) has_previous_page: bool,
    /// Where it begins: `before` this is the page before.
    pub(crate) start_cursor: Option<String>,
    /// Where it ends: `after` this is the page after.
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
    /// The activities, in the order asked for.
    async fn activities(&self) -> &[Node] {
        &self.activities
    }

    /// Where the page lies.
    async fn page_info(&self) -> &PageInfo {
        &self.page_info
    }

    /// How many activities match the filters, on all pages. It costs reads of its own, and only when asked for.
    async fn total_count(&self) -> i32 {
        self.total_count
    }
}

/// An activity, with what was known of its workspace when it was read.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) activity: Activity,
    pub(crate) workspace: Option<Arc<Workspace>>,
    /// Where its texts go. What does not fit is null, in an answer that is not sent.
    pub(crate) room: Arc<Room>,
    /// Its sentences, made once however often they are asked for.
    pub(crate) html: OnceLock<String>,
    pub(crate) text: OnceLock<String>,
}

/// One immutable record: who did what, where and when.
#[Object(name = "Activity")]
impl Node {
    /// Unique in its project.
    async fn id(&self) -> ID {
        self.activity.id.as_str().into()
    }

    /// Unique everywhere: the project's id, a slash, and the activity's.
    async fn uid(&self) -> String {
        format!("{}/{}", self.activity.workspace_id, self.activity.id)
    }

    /// What kind of activity it is.
    async fn category(&self) -> Category {
        Category(self.activity.category)
    }

    /// What happened, in a sentence of HTML. What people wrote is escaped; of its own it has `strong` and `em`.
    async fn html(&self) -> String {
        self.fitting(|| Some(self.html.get_or_init(|| catalog::html(&self.activity)).clone()))
            .unwrap_or_default()
    }

    /// What happened, in a sentence.
    #[graphql(deprecation = "Use html.")]
    async fn text(&self) -> String {
        self.fitting(|| Some(self.text.get_or_init(|| catalog::text(&self.activity)).clone()))
            .unwrap_or_default()
    }

    /// When it happened.
    async fn created_at(&self) -> DateTime {
        DateTime(self.activity.created_at)
    }

    /// When it was last changed. Activities never are, so this is when it happened.
    async fn updated_at(&self) -> DateTime {
        DateTime(self.activity.created_at)
    }

    /// Who did it.
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

    /// Who was affected.
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

    /// The list it is about; of an issue that was moved, the one it is in now.
    async fn todo_list(&self) -> Option<TodoList> {
        if self.noun() == "issue_list" {
            return Some(TodoList { id: self.id_of("list")?, title: self.detail("title") });
        }
        let (list, title) = if self.activity.details.contains_key("to_list") {
            ("to_list", "to_list_title")
        } else {
            ("list", "list_title")
        };
        Some(TodoList { id: self.id_of(list)?, title: self.detail(title) })
    }

    /// The comment it is about.
    async fn comment(&self) -> Option<Comment> {
        (self.noun() == "comment").then(|| Comment { id: self.id_of("comment"), text: self.detail("text") })
    }

    /// The discussion it is about.
    async fn discussion(&self) -> Option<Discussion> {
        let id = self.id_of("discussion")?;
        let of = |name| if self.noun() == "discussion" { self.detail(name) } else { None };
        Some(Discussion { id, title: of("title"), text: of("text") })
    }

    /// The status update it is about.
    async fn status_update(&self) -> Option<StatusUpdate> {
        let id = self.id_of("status_update")?;
        let text = if self.noun() == "status_update" { self.detail("text") } else { None };
        Some(StatusUpdate { id, text })
    }

    /// All its details, as JSON.
    async fn metadata(&self) -> Option<String> {
        let details: &Map<String, Value> = &self.activity.details;
        self.fitting(|| (!details.is_empty()).then(|| serde_json::to_string(details).ok())?)
    }
}

impl Node {
    /// What the action is about.
    fn noun(&self) -> &str {
        let action = self.activity.action.as_str();
        action.split_once('.').map_or(action, |(noun, _)| noun)
    }

    /// A text that is there, if it fits. Once one did not, none is made any more.
    fn fitting(&self, text: impl FnOnce() -> Option<String>) -> Option<String> {
        if self.room.is_full() {
            return None;
        }
        text().filter(|text| self.room.fits(text.len()))
    }

    fn detail(&self, name: &str) -> Option<String> {
        self.fitting(|| Some(self.activity.details.get(name)?.as_str()?.to_owned()))
    }

    fn id_of(&self, name: &str) -> Option<ID> {
        self.detail(name).map(ID::from)
    }
}
