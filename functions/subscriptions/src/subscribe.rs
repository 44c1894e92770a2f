//! Begins to watch: first what was missed, then what comes.

use std::collections::{BTreeMap, HashSet};

use graphql::{Arguments, Asked, Refused};
use live::{Fate, Lost, News, message};
use shared::ids::WorkspaceId;
use shared::keys::Position;
use shared::live::{ConnectionId, Document, MAX_SUBSCRIPTIONS, Mark, Topic, Watch};
use shared::reader::Reader;
use shared::store::{Ended, Entry, Row, Standing, Turn, new_mark};
use shared::{Error, Result};
use tokio::time::Instant;

use crate::{App, Reply, refusal};

/// Activities of what was missed that are read, and told, at once.
const AT_ONCE: usize = 100;

impl App {
    /// Does what a client asks for: a query is answered, a subscription begins.
    pub(crate) async fn subscribe(
        &self,
        connection: &ConnectionId,
        id: String,
        document: Document,
        request_id: &str,
        deadline: Instant,
    ) -> Result<Reply> {
        let (teller, now) = (&self.teller, self.teller.now());
        let close = |reason: &str| Ok(Reply::Close(reason.to_owned()));
        let Some(Standing { session, subscriptions }) = teller.connections.standing(connection, now).await?
        else {
            return close("Unauthorized: connection_init comes first");
        };
        let session = match session {
            Ok(session) => session,
            Err(reason) => {
                return Ok(Reply::Message(message::error(&id, &Refused::unauthenticated(reason).0)));
            }
        };
        if session.is_over(now) {
            return close("The token has expired");
        }
        if subscriptions.contains_key(&id) {
            return close("Subscriber already exists: an id names one operation at a time");
        }
        if subscriptions.len() >= MAX_SUBSCRIPTIONS {
            return refusal(&id, too_many());
        }
        let caller = session.caller()?;
        let arguments = match teller.graphql.ask(&document, caller.clone(), request_id).await {
            Err(refused) => return Ok(Reply::Message(message::error(&id, &refused.0))),
            Ok(Asked::Answer(payload)) => {
                let answer = || message::next(&id, &payload);
                if teller.sender.send(connection, answer, deadline).await.is_err() {
                    return close("The answer was not taken");
                }
                return Ok(Reply::Message(message::complete(&id)));
            }
            Ok(Asked::Subscription(arguments)) => arguments,
        };
        let reader = Reader::new(teller.store.clone(), caller);
        let topic = match topic(&reader, &arguments).await {
            Ok(topic) => topic,
            Err(error) => return refusal(&id, error),
        };
        let last = teller.connections.open_journal(&topic, now).await?;
        let from = match arguments.after.as_deref().map(|after| Mark::of(after, &topic)) {
            None => Mark::end_of(last),
            Some(Ok(mark)) => mark,
            Some(Err(error)) => return refusal(&id, error),
        };
        let (connection, mark) = (connection.clone(), new_mark());
        let watch = Watch { topic, connection, id, session, document, since: None, mark, began: now };
        match teller.connections.watch(&watch).await? {
            None => {}
            // It has been told that nothing comes of it, and waits for nothing.
            Some(Ended::Already) => return Ok(Reply::Message(message::complete(&watch.id))),
            Some(Ended::Taken) => {
                return close("Subscriber already exists: an id names one operation at a time");
            }
            Some(Ended::TooMany) => return refusal(&watch.id, too_many()),
        }
        // Beside the session, the record of who has read what.
        let (connection, topic) = (watch.connection.as_str(), watch.topic.name());
        tracing::info!(connection, id = watch.id, topic, "a subscription begins");
        let caught_up = Box::pin(self.catch_up(&watch, from, last, deadline));
        let Ok(told) = tokio::time::timeout_at(deadline, caught_up).await else {
            // It comes again by itself, and goes on from the last message it got.
            teller.lose(&watch, Lost::Refused).await?;
            return Ok(Reply::Nothing);
        };
        match told {
            Ok(Some(mark)) => Ok(Reply::Message(message::subscribed(&watch.id, &mark.cursor(&watch.topic)))),
            Ok(None) => Ok(Reply::Nothing),
            Err(error) => {
                teller.connections.end(&watch).await?;
                refusal(&watch.id, error)
            }
        }
    }

    /// Tells a watcher all that was recorded after a mark, until broadcasts take over; says up to where that was. `None`
    /// when it watches no more: what it missed is left for when it comes again.
    ///
    /// # Errors
    /// [`Error::BadInput`] when the journal does not have all of that any more.
    async fn catch_up(
        &self,
        watch: &Watch,
        from: Mark,
        last: u64,
        deadline: Instant,
    ) -> Result<Option<Mark>> {
        let connections = &self.teller.connections;
        let (mut told, mut known) = (from, HashSet::new());
        loop {
            let (entries, next) = connections.journal(&watch.topic, told, last).await?;
            if next == told {
                match connections.take_turn(watch, told.batch).await? {
                    Turn::Taken => return Ok(Some(told)),
                    Turn::Missed => continue,
                    Turn::Ended => return Ok(None),
                }
            }
            // A batch that came again is listed again.
            let mut entries = entries;
            entries.retain(|entry| known.insert((entry.workspace.clone(), entry.place.clone())));
            for entries in entries.chunks(AT_ONCE) {
                if self.tell(watch, entries, deadline).await? != Fate::Told {
                    return Ok(None);
                }
            }
            told = next;
        }
    }

    async fn tell(&self, watch: &Watch, entries: &[Entry], deadline: Instant) -> Result<Fate> {
        let store = &self.teller.store;
        let places: Vec<(WorkspaceId, Position)> =
            entries.iter().map(|entry| (entry.workspace.clone(), entry.place.clone())).collect();
        let mut ids: Vec<WorkspaceId> = places.iter().map(|(workspace, _)| workspace.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        let (rows, workspaces) = tokio::try_join!(store.activities(&places), store.workspaces(&ids))?;
        let key = |row: &Row| (row.activity.workspace_id.clone(), row.activity.position());
        let rows: BTreeMap<(WorkspaceId, Position), Row> =
            rows.into_iter().map(|row| (key(&row), row)).collect();
        let news = places.iter().zip(entries).map(|(place, entry)| {
            let row = rows.get(place).cloned();
            let row = row.ok_or_else(|| Error::internal("a journal lists what is not in the log"))?;
            Ok(News { row, mark: entry.mark })
        });
        let news: Vec<News> = news.collect::<Result<_>>()?;
        let told = self.teller.tell(&watch.topic, vec![watch.clone()], &news, workspaces, deadline).await?;
        Ok(told.first().copied().unwrap_or(Fate::Told))
    }
}

fn too_many() -> Error {
    Error::bad_input("id", format!("is one more than the {MAX_SUBSCRIPTIONS} a connection may have"))
}

/// What is to be watched, which must be for the reader.
///
/// # Errors
/// As of `activityList`; [`Error::BadInput`] when neither a project nor a company is named.
async fn topic(reader: &Reader, arguments: &Arguments) -> Result<Topic> {
    let company = arguments.company.as_deref();
    if let Some(project) = &arguments.project {
        let read = |id| async move { reader.project(&id, company).await };
        return Ok(Topic::Workspace(reader.any_project(project, company, read).await?.workspace));
    }
    let company = company.ok_or_else(|| Error::bad_input("companyId", "or projectId is required"))?;
    Ok(Topic::Organization(reader.company(company).await?.0))
}
