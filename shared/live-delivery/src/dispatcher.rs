//! Tells watchers of a topic what was recorded, each what it may see, in order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future;
use futures_util::stream::{self, StreamExt as _};
use graphql::{Event, Refused};
use serde_json::Value;
use shared::access::{self, Caller, READ, View};
use shared::directory::{Role, Workspace};
use shared::ids::{ActorId, WorkspaceId};
use shared::live::{ConnectionId, Document, Mark, Session, Topic, Watch};
use shared::store::{Connections, Row, Store};
use shared::time::Clock;
use shared::{Error, Result};
use tokio::time::Instant;

use crate::message;
use crate::sender::{Lost, Patience, Sender};

/// Documents whose messages are held at once: of a batch of a hundred activities each has 12.7 MB of them at the most.
const DOCUMENTS: usize = 16;
/// Time in which a connection is forgotten, however much there is to delete.
const FORGETTING: Duration = Duration::from_secs(4);

/// Tells watchers of activities.
#[derive(Clone)]
pub struct Teller {
    /// What a document makes of an activity.
    pub graphql: graphql::App,
    /// The log.
    pub store: Store,
    /// Who watches.
    pub connections: Connections,
    /// The way to them.
    pub sender: Sender,
    /// By which tokens expire.
    pub clock: Clock,
}

/// Something to tell.
#[derive(Debug)]
pub struct News {
    /// The activity.
    pub row: Row,
    /// From where one goes on who was told of it.
    pub mark: Mark,
}

/// What became of a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was told everything that is for it.
    Told,
    /// Its subscription was ended, and it knows why.
    Ended,
    /// Its connection is gone, or was closed.
    Gone,
}

/// What makes messages alike: the document, its operation, and the variables that make a difference.
type Likeness<'a> = (&'a str, Option<&'a str>, String);
/// A watcher, and what of the news is for it, by their places.
type Member = (usize, Vec<usize>);

/// The directory, as far as some news are concerned.
struct Directory {
    workspaces: HashMap<WorkspaceId, Arc<Workspace>>,
    roles: HashMap<(ActorId, WorkspaceId), Role>,
}

impl Teller {
    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        (self.clock)().utc().timestamp()
    }

    /// Tells watchers of `topic` the `news`, and says what became of each, in their order. Whoever could not be told by
    /// `deadline` is disconnected, and has all of it after its last message.
    ///
    /// # Errors
    /// When the directory could not be read, and nobody was told anything; when a subscription that is over could not be
    /// ended; or when somebody was not told, and could neither be disconnected nor forgotten, so that they would be told what
    /// comes next.
    pub async fn tell(
        &self,
        topic: &Topic,
        watchers: Vec<Watch>,
        news: &[News],
        workspaces: HashMap<WorkspaceId, Workspace>,
        deadline: Instant,
    ) -> Result<Vec<Fate>> {
        let directory = self.directory(&watchers, news, workspaces).await?;
        let now = self.now();
        // Those with the same document are told the same, of what they may see.
        let mut groups: BTreeMap<Likeness<'_>, Vec<Member>> = BTreeMap::new();
        let mut views: HashMap<&Session, Result<Vec<usize>, Error>> = HashMap::new();
        let mut refused = Vec::new();
        for (index, watch) in watchers.iter().enumerate() {
            let seen =
                views.entry(&watch.session).or_insert_with(|| directory.seen(topic, &watch.session, news));
            match seen {
                Ok(seen) if seen.is_empty() => {}
                _ if watch.session.is_over(now) => refused.push((index, None)),
                Ok(seen) => {
                    let Document { query, operation, variables } = &watch.document;
                    let key = (query.as_str(), operation.as_deref(), switches(variables));
                    groups.entry(key).or_default().push((index, seen.clone()));
                }
                Err(error) => refused.push((index, Some(Refused::of(error.same())))),
            }
        }
        let ended = refused.into_iter().map(|(index, refused)| {
            let watch = &watchers[index];
            async move {
                let fate = match refused {
                    Some(refused) => self.refuse(watch, &refused, deadline).await,
                    None => self.dismiss(watch, deadline).await,
                };
                vec![(index, fate)]
            }
        });
        let told = stream::iter(groups.into_values())
            .map(|members| self.tell_group(topic, &watchers, members, news, &directory, deadline));
        let told = told.buffer_unordered(DOCUMENTS).collect::<Vec<_>>();
        let (ended, told) = future::join(future::join_all(ended), told).await;
        let mut fates: Vec<Result<Fate>> = watchers.iter().map(|_| Ok(Fate::Told)).collect();
        for (index, fate) in ended.into_iter().chain(told).flatten() {
            fates[index] = fate;
        }
        fates.into_iter().collect()
    }

    /// Tells those whose messages are alike.
    async fn tell_group(
        &self,
        topic: &Topic,
        watchers: &[Watch],
        members: Vec<Member>,
        news: &[News],
        directory: &Directory,
        deadline: Instant,
    ) -> Vec<(usize, Result<Fate>)> {
        let Some((first, _)) = members.first() else { return Vec::new() };
        if Instant::now() >= deadline {
            let lost = members
                .iter()
                .map(|(index, _)| async { (*index, self.lose(&watchers[*index], Lost::Refused).await) });
            return future::join_all(lost).await;
        }
        let wanted: BTreeSet<usize> = members.iter().flat_map(|(_, seen)| seen.iter().copied()).collect();
        let events = wanted.iter().map(|&index| {
            let News { row, mark } = &news[index];
            let workspace = directory.workspaces.get(&row.activity.workspace_id).cloned();
            Event { activity: row.activity.clone(), workspace, cursor: mark.cursor(topic) }
        });
        let payloads = self.graphql.tell(&watchers[*first].document, events.collect()).await;
        let payloads: Result<BTreeMap<usize, String>, Refused> =
            payloads.map(|payloads| wanted.into_iter().zip(payloads).collect());
        let payloads = &payloads;
        let told = members.into_iter().map(|(index, seen)| async move {
            let watch = &watchers[index];
            let fate = match payloads {
                Ok(payloads) => {
                    let payloads = seen.iter().filter_map(|index| payloads.get(index));
                    self.deliver(watch, payloads, deadline).await
                }
                Err(refused) => self.refuse(watch, refused, deadline).await,
            };
            (index, fate)
        });
        future::join_all(told).await
    }

    /// Sends results in order.
    async fn deliver(
        &self,
        watch: &Watch,
        payloads: impl Iterator<Item = &String>,
        deadline: Instant,
    ) -> Result<Fate> {
        let mut patience = Patience::default();
        for payload in payloads {
            let message = || message::next(&watch.id, payload);
            if let Err(lost) =
                self.sender.send_next(&watch.connection, message, &mut patience, deadline).await
            {
                return self.lose(watch, lost).await;
            }
        }
        Ok(Fate::Told)
    }

    /// Ends a subscription, and says why.
    async fn refuse(&self, watch: &Watch, refused: &Refused, deadline: Instant) -> Result<Fate> {
        let message = || message::error(&watch.id, &refused.0);
        match self.sender.send(&watch.connection, message, deadline).await {
            Ok(()) => self.connections.end(watch).await.map(|()| Fate::Ended),
            Err(lost) => self.lose(watch, lost).await,
        }
    }

    /// Closes the connection of one whose token has expired; it may come again with another.
    async fn dismiss(&self, watch: &Watch, deadline: Instant) -> Result<Fate> {
        let message = || message::closing("The token has expired");
        let sent = self.sender.send(&watch.connection, message, deadline).await;
        self.lose(watch, sent.err().unwrap_or(Lost::Refused)).await
    }

    /// Gives up the connection of a watcher that misses a message.
    ///
    /// # Errors
    /// When it is there after all that, and would be told the next.
    pub async fn lose(&self, watch: &Watch, lost: Lost) -> Result<Fate> {
        if self.give_up_with(&watch.connection, Some(watch), lost).await {
            return Ok(Fate::Gone);
        }
        Err(Error::Unavailable("a connection could be neither closed nor forgotten".into()))
    }

    /// Gives up a connection that misses a message, and must not get the next. If it is there, it is closed, so that its
    /// client comes again and asks for what it missed.
    pub async fn give_up(&self, connection: &ConnectionId, lost: Lost) {
        self.give_up_with(connection, None, lost).await;
    }

    /// The same; says whether it will get no more. It is closed first: were this process to die in between, who is forgotten
    /// and not closed would wait in vain.
    async fn give_up_with(&self, connection: &ConnectionId, watch: Option<&Watch>, lost: Lost) -> bool {
        let is_closed = lost == Lost::Gone || self.sender.close(connection).await;
        let forgotten = async {
            self.connections.forget(connection).await?;
            // What is left of a watch without its subscription nothing else would find.
            match watch {
                Some(watch) => self.connections.end(watch).await,
                None => Ok(()),
            }
        };
        let forgotten = tokio::time::timeout(FORGETTING, forgotten).await;
        let is_forgotten = matches!(forgotten, Ok(Ok(())));
        if let Ok(Err(error)) = forgotten {
            tracing::warn!(error = error.chain(), "a connection was not forgotten");
        }
        let connection = connection.as_str();
        tracing::info!(connection, ?lost, is_closed, is_forgotten, "a connection was given up");
        is_closed || is_forgotten
    }

    async fn directory(
        &self,
        watchers: &[Watch],
        news: &[News],
        workspaces: HashMap<WorkspaceId, Workspace>,
    ) -> Result<Directory> {
        let places: HashSet<&WorkspaceId> = news.iter().map(|news| &news.row.activity.workspace_id).collect();
        let sessions: HashSet<&Session> = watchers.iter().map(|watch| &watch.session).collect();
        let users: HashSet<ActorId> = sessions
            .iter()
            .filter_map(|session| session.caller().ok().filter(|caller| !caller.has(READ))?.user)
            .collect();
        let wanted = users.iter().flat_map(|user| places.iter().map(|&place| (user.clone(), place.clone())));
        let roles = self.store.roles(&wanted.collect::<Vec<_>>()).await?;
        let workspaces = workspaces.into_iter().map(|(id, entry)| (id, Arc::new(entry))).collect();
        Ok(Directory { workspaces, roles })
    }
}

impl Directory {
    /// Which of the news are for somebody who watches `topic`.
    ///
    /// # Errors
    /// Those of [`access::decide`], of a workspace that is watched for itself.
    fn seen(&self, topic: &Topic, session: &Session, news: &[News]) -> Result<Vec<usize>> {
        let caller = session.caller()?;
        let mut views: HashMap<&WorkspaceId, View> = HashMap::new();
        let mut seen = Vec::new();
        for (index, News { row, .. }) in news.iter().enumerate() {
            let workspace = &row.activity.workspace_id;
            let view = match views.get(workspace) {
                Some(view) => *view,
                None => {
                    let view = self.view(topic, &caller, workspace)?;
                    views.insert(workspace, view);
                    view
                }
            };
            if view.shows(row.staff) {
                seen.push(index);
            }
        }
        Ok(seen)
    }

    fn view(&self, topic: &Topic, caller: &Caller, workspace: &WorkspaceId) -> Result<View> {
        let entry = self.workspaces.get(workspace).map(Arc::as_ref);
        let role = caller.user.as_ref().and_then(|user| self.roles.get(&(user.clone(), workspace.clone())));
        let decided = access::decide(caller, entry, role.copied());
        match topic {
            Topic::Workspace(_) => decided,
            // Of an organization, everybody sees what is theirs; a workspace may have left it.
            Topic::Organization(organization) => {
                let is_of_it = entry.is_some_and(|entry| entry.organization.as_ref() == Some(organization));
                Ok(decided.ok().filter(|_| is_of_it).unwrap_or(View::Nothing))
            }
        }
    }
}

/// Of variables, what can make a difference to a message: what `@include` and `@skip` take. The others say what is
/// watched, and from where.
fn switches(variables: &str) -> String {
    let Ok(Value::Object(mut variables)) = serde_json::from_str(variables) else {
        return variables.to_owned();
    };
    variables.retain(|_, value| value.is_boolean());
    Value::Object(variables).to_string()
}
