//! API Gateway's HTTP API: the route of a request, the event that its function gets, and the response of the function.
//!
//! The gateway and the tests call functions through this module. The event has payload format 2.0.

mod event;
mod path;
mod response;

use domain::{Error, Result};
use serde_json::Value;

use crate::template::{Route, Template};

pub use event::{HttpCall, claims_as_texts};
pub(crate) use path::parameters as path_parameters;
pub use response::response;

/// The routes of the template.
#[derive(Debug, Clone)]
pub struct HttpApi {
    /// The routes with the fewest path parameters come first, because they win over less specific ones.
    routes: Vec<Route>,
}

/// The route of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMatch<'a> {
    /// The route.
    pub route: &'a Route,
    /// The path's parameters, still percent-encoded.
    parameters: Vec<(&'a str, String)>,
}

/// Why a request has no route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRoute<'a> {
    /// No route has the path.
    NotFound,
    /// Routes have the path, with other methods.
    MethodNotAllowed {
        /// Their methods.
        allowed: Vec<&'a str>,
    },
}

impl HttpApi {
    /// The HTTP API of a template.
    pub fn new(template: &Template) -> Self {
        let mut routes = template.routes.clone();
        routes.sort_by_key(|route| path_parameters(&route.path).count());
        Self { routes }
    }

    /// The paths of the routes, with their parameters in braces.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|route| route.path.as_str())
    }

    /// Finds the route of a request. `path` is percent-encoded, as it was sent.
    ///
    /// # Errors
    /// When there is none.
    pub fn route<'a>(&'a self, method: &str, path: &str) -> Result<RouteMatch<'a>, NoRoute<'a>> {
        let best = self.routes.iter().find_map(|route| Some((route, path::matches(&route.path, path)?)));
        let (best, parameters) = best.ok_or(NoRoute::NotFound)?;
        let same_path = || self.routes.iter().filter(|route| route.path == best.path);
        match same_path().find(|route| route.method == method) {
            Some(route) => Ok(RouteMatch { route, parameters }),
            None => Err(NoRoute::MethodNotAllowed {
                allowed: same_path().map(|route| route.method.as_str()).collect(),
            }),
        }
    }

    /// The event of a call, for the function of its route.
    ///
    /// # Errors
    /// [`Error::BadInput`] of a path whose parameters are not UTF-8.
    pub fn event(&self, matched: &RouteMatch<'_>, call: HttpCall<'_>) -> Result<Value> {
        let decoded =
            |(name, value): &(&str, String)| Some(((*name).to_owned(), path::decode(value)?.into()));
        let parameters: Option<_> = matched.parameters.iter().map(decoded).collect();
        let parameters =
            parameters.ok_or_else(|| Error::bad_input("path", "must be UTF-8, percent-encoded"))?;
        Ok(call.into_event(matched.route, parameters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api() -> HttpApi {
        HttpApi::new(&Template::load().unwrap())
    }

    fn name<'a>(api: &'a HttpApi, method: &str, path: &str) -> Option<&'a str> {
        api.route(method, path).ok().map(|matched| matched.route.name.as_str())
    }

    #[test]
    fn requests_find_their_routes() {
        let api = api();
        let ws = "/api/v1/workspaces";
        for (method, path, expected) in [
            ("GET", format!("{ws}/w/activity"), Some("ListWorkspaceActivity")),
            ("POST", format!("{ws}/w/activity"), Some("RecordActivity")),
            ("GET", format!("{ws}/w%2Fx/activity"), Some("ListWorkspaceActivity")),
            ("GET", format!("{ws}//activity"), Some("ListWorkspaceActivity")),
            ("GET", format!("{ws}/w/activity/a"), Some("GetActivity")),
            ("GET", format!("{ws}/w/issues/i/activity"), Some("ListIssueActivity")),
            ("GET", "/api/v1/actions".to_owned(), Some("ListActions")),
            ("POST", "/graphql".to_owned(), Some("Graphql")),
            ("GET", format!("{ws}/w/activity/"), None),
            ("GET", format!("{ws}/w/activity/a/b"), None),
            ("GET", "/api/v1".to_owned(), None),
            ("GET", "/".to_owned(), None),
            ("GET", String::new(), None),
        ] {
            assert_eq!(name(&api, method, &path), expected, "{method} {path}");
        }
    }

    #[test]
    fn other_methods_get_a_list_of_allowed_ones() {
        let api = api();
        let delete = api.route("DELETE", "/api/v1/workspaces/w/activity");
        assert_eq!(delete, Err(NoRoute::MethodNotAllowed { allowed: vec!["GET", "POST"] }));
        assert_eq!(api.route("GET", "/nothing"), Err(NoRoute::NotFound));
    }
}
