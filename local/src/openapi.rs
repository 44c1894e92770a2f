//! The REST API as an OpenAPI 3.1 document, and a page to browse it.
//!
//! Paths, methods and scopes come from the template, a list's parameters from [`::http_api::params`], the event from
//! [`domain::event`], and responses from the types that are serialized. Only the descriptions are written here.

mod components;
mod event;
mod operation;
mod operations;
mod ordered;
mod problems;
mod references;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use serde_json::json;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::template::{Route, Template};
use operation::Operation;
use ordered::{Ordered, object};

/// The path of the document, where the page finds it too.
const PATH: &str = "/openapi.json";

const DESCRIPTION: &str = "An audit trail for workspaces and the issues in them: who did what, where and when.\n\n\
     Every error is an RFC 9457 problem; its `code` says what to do about it, its `field` what is at fault. A parameter that \
     is not known is an error.\n\n\
     **Try it.** On a gateway of your own (`cargo run -p local`), the page `/docs` has a token of `user-demo` filled in, and \
     the examples work on the demo workspace `ws-demo`: choose an operation and press *Execute*. `GET /dev/token` issues \
     tokens for others.\n\n\
     **GraphQL.** `POST /graphql` reads the same feeds, of several workspaces too, with a sentence for each activity. On a \
     gateway of your own, [/graphql](/graphql) is a page to try it: see `docs/graphql.md`.\n\n\
     **Live.** The subscription `subscribeToActivity` sends activities over WebSocket as they are recorded: see \
     `docs/live.md`.\n\n\
     **Producing.** Services record over HTTP as below, and in AWS through the event bus, a queue or an invocation too: \
     see `docs/recording.md`.";

/// The script that starts the page, in place of the page's own.
const START: &str = include_str!("../pages/docs.js");

/// The document, as it is served.
pub fn document() -> String {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        let routes = Template::load().map(|template| template.routes).unwrap_or_default();
        let mut text = serde_json::to_string_pretty(&of_routes(&routes)).unwrap_or_default();
        text.push('\n');
        text
    });
    DOCUMENT.clone()
}

/// The document and its page.
pub(crate) fn routes() -> Router {
    Router::new()
        .route(PATH, get(async || ([(CONTENT_TYPE, "application/json")], document())))
        .route("/docs/swagger-initializer.js", get(async || ([(CONTENT_TYPE, "text/javascript")], START)))
        .merge(SwaggerUi::new("/docs").config(Config::new([PATH])))
}

fn of_routes(routes: &[Route]) -> Ordered {
    object([
        ("openapi", "3.1.0".into()),
        ("info", info()),
        ("servers", json!([{ "url": "/" }]).into()),
        ("paths", paths(routes)),
        ("components", components::components()),
        ("tags", operations::tags()),
    ])
}

fn info() -> Ordered {
    let license = env!("CARGO_PKG_LICENSE");
    object([
        ("title", "Activity Log".into()),
        ("description", DESCRIPTION.into()),
        ("license", json!({ "name": license, "identifier": license }).into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
    ])
}

/// The described routes, by their paths and methods, in the template's order.
fn paths(routes: &[Route]) -> Ordered {
    let described = |path: &str| -> Vec<(&Route, &Operation)> {
        let of_path = routes.iter().filter(|route| route.path == path);
        of_path.filter_map(|route| Some((route, operations::of_route(&route.name)?))).collect()
    };
    let mut seen = BTreeSet::new();
    let paths = routes.iter().map(|route| route.path.as_str()).filter(|path| seen.insert(*path));
    let paths = paths.map(|path| (path, described(path))).filter(|(_, operations)| !operations.is_empty());
    Ordered::object(paths.map(|(path, operations)| {
        let methods = operations.into_iter();
        let methods =
            methods.map(|(route, operation)| (route.method.to_lowercase(), operation.document(route)));
        (path, Ordered::object(methods))
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn parsed() -> Value {
        serde_json::from_str(&document()).unwrap()
    }

    /// Every `$ref` within a value.
    fn references(value: &Value) -> BTreeSet<&str> {
        let inner: Vec<&Value> = match value {
            Value::Array(items) => items.iter().collect(),
            Value::Object(members) => members.values().collect(),
            _ => Vec::new(),
        };
        value["$ref"].as_str().into_iter().chain(inner.into_iter().flat_map(references)).collect()
    }

    #[test]
    fn every_route_of_the_rest_api_is_described() {
        let routes = Template::load().unwrap().routes;
        let names: BTreeSet<&str> = routes
            .iter()
            .filter(|route| route.path.starts_with("/api/"))
            .map(|route| route.name.as_str())
            .collect();
        assert_eq!(operations::described_routes().collect::<BTreeSet<&str>>(), names);
    }

    #[test]
    fn every_path_parameter_is_described() {
        for (path, item) in parsed()["paths"].as_object().unwrap() {
            for operation in item.as_object().unwrap().values() {
                let parameters = operation["parameters"].as_array().unwrap();
                let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
                let names: Vec<&str> =
                    in_path.clone().map(|parameter| parameter["name"].as_str().unwrap()).collect();
                assert_eq!(names, crate::http_api::path_parameters(path).collect::<Vec<_>>());
                assert!(in_path.clone().all(|parameter| parameter["description"].is_string()), "{path}");
            }
        }
    }

    #[test]
    fn references_have_their_targets() {
        let document = parsed();
        let references = references(&document);
        assert!(references.contains("#/components/schemas/Event"));
        for reference in references {
            let target = document.pointer(reference.strip_prefix('#').unwrap());
            assert!(target.is_some_and(Value::is_object), "{reference}");
        }
    }

    #[test]
    fn checked_in_file_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi.json");
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        let file = std::fs::read_to_string(path).unwrap();
        assert!(file == document(), "run UPDATE_OPENAPI=1 cargo test -p local openapi");
    }
}
