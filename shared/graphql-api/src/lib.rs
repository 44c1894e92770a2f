//! The GraphQL API: its schema, and how requests are parsed, limited and executed.
//!
//! `query` serves `activityList` from its `arguments`. `subscription` and `updates` serve the functions behind the
//! WebSocket. `request` and `response` are the bodies over HTTP. `document` and `limits` bound what a request may cost.
//! `types`, `category` and `date_time` are the types of the schema.

mod arguments;
mod category;
mod date_time;
mod document;
mod error;
mod limits;
mod query;
mod request;
mod response;
mod subscription;
mod types;
mod updates;

use std::sync::Arc;

use async_graphql::{EmptyMutation, Schema};
use domain::Result;
use domain::access::Caller;
use feeds::Budget;
use feeds::reader::Reader;
use store::Store;

use document::Arguments;
use limits::{PageSize, ResponseBudget};

pub use async_graphql::{Request, Response};
pub use query::Query;
pub use request::{Refusal, is_persisted_query, parse, parse_query_string};
pub use response::respond;
pub use subscription::{SubscriptionArguments, SubscriptionRoot};
pub use updates::{GraphqlErrors, GraphqlUpdate, MAX_PAYLOAD, Operation, selects_provenance};

/// The schema, and the table behind it.
#[derive(Clone)]
pub struct App {
    schema: Schema<Query, EmptyMutation, SubscriptionRoot>,
    store: Store,
}

impl App {
    /// The schema on `store`.
    pub fn new(store: Store) -> Self {
        Self { schema: schema(), store }
    }

    /// Executes a request for `caller`.
    ///
    /// # Errors
    /// [`domain::Error::TooLarge`] when the response would be larger than Lambda can send. All other failures are in
    /// the response.
    pub async fn execute(&self, mut request: Request, caller: Caller) -> Result<Response> {
        let response_budget = Arc::<ResponseBudget>::default();
        let (name, variables) = (request.operation_name.clone(), request.variables.clone());
        // A document that does not parse has no list and no argument.
        let (lists, arguments) = request.parsed_query().map_or_else(
            |_| Default::default(),
            |document| (document::lists(document, name.as_deref()), Arguments::of(document, &variables)),
        );
        let request = request
            .data(PageSize::of_each(lists))
            .data(Reader::new(self.store.clone(), caller))
            .data(self.store.clone())
            .data(Budget::start())
            .data(Arc::clone(&response_budget));
        let mut response = Box::pin(self.schema.execute(request)).await;
        arguments.name_in(&mut response.errors);
        if response_budget.is_full() { Err(response::too_large()) } else { Ok(response) }
    }
}

fn schema() -> Schema<Query, EmptyMutation, SubscriptionRoot> {
    Schema::build(Query, EmptyMutation, SubscriptionRoot)
        .limit_complexity(limits::COMPLEXITY)
        .limit_directives(limits::DIRECTIVES)
        .finish()
}

/// The schema in GraphQL's schema definition language, as `schema.graphql` has it.
pub fn sdl() -> String {
    let options = async_graphql::SDLExportOptions::new().sorted_enum_items().include_specified_by();
    schema().sdl_with_options(options)
}
