//! `GET /api/v1/actions`: the catalog, for services that record.

use domain::activity::Audience;
use domain::catalog::{self, Entry};
use domain::{Error, Result, event};
use http_api::listing;
use lambda_http::http::header::IF_NONE_MATCH;
use lambda_http::{Request, Response};
use serde::Serialize;
use serde_json::Value;

/// A known action. Unknown actions are recorded as they are, for staff.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KnownAction {
    /// The action, as events name it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "issue.created"))]
    pub action: &'static str,
    /// Its name in GraphQL, which no other action has.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "CREATE_TODO"))]
    pub category: &'static str,
    /// Its audience.
    pub audience: Audience,
    /// Its meaning for producers.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub description: &'static str,
    /// JSON Schema (2020-12) of an event of this action as it is posted, complete in itself.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub schema: Value,
}

impl From<&Entry> for KnownAction {
    fn from(entry: &Entry) -> Self {
        let &Entry { action, category, audience, description, .. } = entry;
        Self { action, category, audience, description, schema: event::schema(entry) }
    }
}

/// Answers the catalog, in its order, to anyone with a token. It changes only with a deployment, so that the entity
/// tag spares most callers its 140 KB.
///
/// # Errors
/// [`Error::Unauthenticated`] without a token, and [`Error::BadInput`] of any parameter, because it takes none.
pub(crate) fn list(request: &Request) -> Result<Response<String>> {
    lambda_support::caller(request)?;
    let if_none_match = lambda_support::header(request, IF_NONE_MATCH.as_str())?;
    if !lambda_support::query(request).is_empty() {
        return Err(Error::bad_input("query", "must be empty: the actions are listed without parameters"));
    }
    let actions: Vec<KnownAction> = catalog::entries().iter().map(KnownAction::from).collect();
    listing::tagged(Response::new(serde_json::to_string(&actions).map_err(Error::internal)?), if_none_match)
}
