//! The REST API as an OpenAPI 3.1 document, made from the types, and a page to browse it.

mod paths;
mod problems;
mod schemas;

use std::sync::LazyLock;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use shared::problem::Problem;
use utoipa::openapi::Server;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Where the document is served, and where the page finds it.
const PATH: &str = "/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Activity Log",
        description = "An audit trail for workspaces and the issues in them: who did what, where and when.\n\n\
                       Every error is an RFC 9457 problem; its `code` says what to do about it, its `field` what is \
                       at fault. A parameter that is not known is an error."
    ),
    paths(
        paths::list_workspace_activity,
        paths::get_activity,
        paths::list_issue_activity,
        paths::record_activity,
        paths::list_actions
    ),
    components(schemas(Problem)),
    tags(
        (name = "Reading", description = "For members of the workspace, and tokens with the scope `activity:read`."),
        (name = "Recording", description = "For tokens with the scope `activity:write`; the list of actions for any.")
    ),
    modifiers(&Surroundings)
)]
struct Document;

/// What is not said of a single operation.
struct Surroundings;

impl Modify for Surroundings {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("A JSON Web Token of the issuer that the API was deployed with."))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        // Wherever the document came from.
        document.servers = Some(vec![Server::new("/")]);
    }
}

/// The document, as it is served.
pub fn document() -> String {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
        text.push('\n');
        text
    });
    DOCUMENT.clone()
}

/// The document and its page.
pub(crate) fn routes() -> Router {
    Router::new()
        .route(PATH, get(async || ([(CONTENT_TYPE, "application/json")], document())))
        .merge(SwaggerUi::new("/docs").config(Config::new([PATH])))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};
    use shared::event::{Defaults, Event};
    use shared::params::{DEFAULT_LIMIT, MAX_LIMIT, MAX_VALUES, Params};
    use shared::time::Timestamp;

    use super::*;
    use crate::template::Template;

    fn parsed() -> Value {
        serde_json::from_str(&document()).unwrap()
    }

    /// The names that an error lists after "allowed are".
    fn allowed(error: &shared::Error) -> BTreeSet<String> {
        let text = error.to_string();
        text.split_once("allowed are ").unwrap().1.split(", ").map(str::to_owned).collect()
    }

    #[test]
    fn has_every_route_of_the_template() {
        let document = parsed();
        let described: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                item.as_object().unwrap().keys().map(|method| (path.clone(), method.to_uppercase()))
            })
            .collect();
        let routes = Template::load().unwrap().routes.into_iter().map(|route| (route.path, route.method));
        assert_eq!(described, routes.filter(|(path, _)| path.starts_with("/api/")).collect());
    }

    #[test]
    fn has_every_parameter_of_a_list() {
        let names = allowed(&Params::parse("nothing=1").unwrap_err());
        let document = parsed();
        for path in
            ["/api/v1/workspaces/{ws_id}/activity", "/api/v1/workspaces/{ws_id}/issues/{issue_id}/activity"]
        {
            let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
            let query = parameters.iter().filter(|parameter| parameter["in"] == "query");
            let described: BTreeSet<String> =
                query.clone().map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect();
            assert_eq!(described, names);
            let schema =
                |name: &str| &query.clone().find(|parameter| parameter["name"] == name).unwrap()["schema"];
            assert_eq!(schema("limit")["maximum"], json!(MAX_LIMIT));
            assert_eq!(schema("limit")["default"], json!(DEFAULT_LIMIT));
            assert_eq!(schema("tag")["maxItems"], json!(MAX_VALUES));
        }
    }

    #[test]
    fn describes_the_event_that_is_recorded() {
        let document = parsed();
        let event = &document["components"]["schemas"]["Event"];
        let members: BTreeSet<String> = event["properties"].as_object().unwrap().keys().cloned().collect();
        let now = Timestamp::parse("now", "2026-01-01T00:00:00Z").unwrap();
        let defaults = Defaults { id: ("a".into(), "id"), workspace: None, created_at: now, now };
        let example = event["example"].clone();
        assert_eq!(members, example.as_object().unwrap().keys().cloned().collect());
        Event::parse(example.clone(), &defaults).unwrap();
        let mut unknown = example.clone();
        unknown["colour"] = json!("red");
        assert_eq!(members, allowed(&Event::parse(unknown, &defaults).unwrap_err()));
        let required: BTreeSet<&str> =
            event["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        for name in &members {
            let mut without =
                json!({ "workspace_id": "ws-1", "issue_id": "issue-1", "details": example["details"] });
            for required in &required {
                without[*required] = example[*required].clone();
            }
            without[name] = Value::Null;
            let is_required = Event::parse(without, &defaults)
                .is_err_and(|error| error.to_string().ends_with("is required"));
            // Its place is taken by the path.
            assert_eq!(is_required && name != "workspace_id", required.contains(name.as_str()), "{name}");
        }
    }
}
