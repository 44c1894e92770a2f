//! `POST /graphql`: the query `activityList`, of one request with one document; and the schema for those who tell of
//! activities live.
//!
//! `query` answers, from the `arguments`; `subscription` is told by others, through `live`. The other modules are the
//! types of the schema, and how a request travels.

mod arguments;
mod category;
mod date_time;
mod document;
mod error;
mod http;
mod limits;
mod live;
mod query;
mod subscription;
mod types;

use std::convert::Infallible;
use std::sync::Arc;

use async_graphql::{EmptyMutation, Schema};
use lambda_http::{Request, Response};
use shared::feed::Budget;
use shared::reader::Reader;
use shared::store::Store;

use limits::Room;
pub use live::{Asked, Event, MAX_PAYLOAD, Refused};
pub use query::Query;
pub use subscription::{Arguments, Subscription};

/// The schema, and the table behind it.
#[derive(Clone)]
pub struct App {
    schema: Schema<Query, EmptyMutation, Subscription>,
    store: Store,
}

impl App {
    /// The schema on `store`.
    pub fn new(store: Store) -> Self {
        Self { schema: schema(), store }
    }
}

/// What names the request in the logs.
#[derive(Debug)]
struct RequestId(Option<String>);

fn schema() -> Schema<Query, EmptyMutation, Subscription> {
    Schema::build(Query, EmptyMutation, Subscription)
        .limit_complexity(limits::COMPLEXITY)
        .limit_directives(limits::DIRECTIVES)
        .finish()
}

/// The schema in GraphQL's own language, as `schema.graphql` holds it.
pub fn sdl() -> String {
    let options = async_graphql::SDLExportOptions::new().sorted_enum_items().include_specified_by();
    schema().sdl_with_options(options)
}

/// Answers one request.
///
/// # Errors
/// None: every failure is an answer, and has the form of GraphQL's errors.
pub async fn handle(app: &App, request: Request) -> Result<Response<String>, Infallible> {
    let request_id = shell::request_id(&request).map(str::to_owned);
    let answer = async {
        let caller = shell::caller(&request)?;
        let query = http::parse(&request)?;
        let room = Arc::<Room>::default();
        let query = query.data(Reader::new(app.store.clone(), caller)).data(app.store.clone());
        let query = query.data(Budget::start()).data(Arc::clone(&room)).data(RequestId(request_id.clone()));
        let answer = Box::pin(app.schema.execute(query)).await;
        if room.is_full() { Err(http::too_long()) } else { Ok(answer) }
    };
    let answered: shared::Result<_> = answer.await;
    Ok(http::answer(answered, shell::header(&request, "accept").ok().flatten(), request_id.as_deref()))
}
