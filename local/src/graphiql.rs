//! A page to try GraphQL on, with all that it needs built in. Its script asks for tokens, which pages of other origins
//! cannot read.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response};
use axum::routing::get;

use crate::response;
use crate::token::TokenIssuer;

/// The path of the page, which sends its queries there and opens its WebSockets there.
pub(crate) const PATH: &str = "/graphql";

const PAGE: &[u8] = include_bytes!("../pages/graphiql.html");
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page may load what this gateway serves, and the fonts and pictures that are written into the style sheets.
/// GraphiQL sets styles of elements. Some browsers do not count WebSockets to 'self'.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src data:; \
                      img-src 'self' data:; connect-src 'self' ws://localhost:* ws://127.0.0.1:*; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The files that the page loads: name, type and content. The folder of the third parties' files says where they are from.
static FILES: &[(&str, &str, &[u8])] = &[
    ("page.js", SCRIPT, include_bytes!("../pages/graphiql.js")),
    ("page.css", CSS, include_bytes!("../pages/graphiql.css")),
    ("graphiql.min.js", SCRIPT, include_bytes!("../third-party/graphiql/graphiql.min.js")),
    ("graphiql.min.css", CSS, include_bytes!("../third-party/graphiql/graphiql.min.css")),
    ("react.production.min.js", SCRIPT, include_bytes!("../third-party/graphiql/react.production.min.js")),
    (
        "react-dom.production.min.js",
        SCRIPT,
        include_bytes!("../third-party/graphiql/react-dom.production.min.js"),
    ),
];

/// Whether a query string has no part of a GraphQL request, which would be for the API.
pub(crate) fn is_for_page(query: Option<&str>) -> bool {
    const REQUEST: &[&str] = &["query", "variables", "operationName", "extensions"];
    let query = query.unwrap_or_default().as_bytes();
    !form_urlencoded::parse(query).any(|(name, _)| REQUEST.contains(&name.as_ref()))
}

/// The page, for tokens that `/dev/token` issues with the same query string.
pub(crate) fn page(tokens: &TokenIssuer, query: Option<&str>, headers: &HeaderMap) -> Response<Body> {
    match tokens.issue(query, headers, &response::new_request_id()) {
        Ok(_) => {
            let mut response = file(HTML, PAGE);
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            response
        }
        Err(problem) => response::of_problem(problem),
    }
}

/// The routes of the files that the page loads.
pub(crate) fn routes() -> Router {
    let serve = async |Path(name): Path<String>| match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => file(kind, content),
        None => response::not_found(&response::new_request_id()),
    };
    Router::new().route("/dev/graphiql/{name}", get(serve))
}

/// A file, which another build of this program may have otherwise.
fn file(kind: &'static str, content: &'static [u8]) -> Response<Body> {
    let mut response = Response::new(Body::from(content));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn third_party_files_are_those_that_were_reviewed() {
        let readme = include_str!("../third-party/graphiql/README.md");
        let third_party: Vec<_> = FILES.iter().filter(|(name, ..)| !name.starts_with("page.")).collect();
        assert_eq!(third_party.len(), 4);
        for (name, _, content) in third_party {
            let digest = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let row = readme.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            assert!(row.is_some_and(|row| row.contains(&digest)), "{name}: {digest}");
        }
    }

    #[test]
    fn page_loads_only_what_is_built_in() {
        let page = std::str::from_utf8(PAGE).unwrap();
        let links = page.split(['"']).filter(|text| text.contains("://") || text.starts_with('/'));
        let names: Vec<&str> = links.map(|link| link.strip_prefix("/dev/graphiql/").unwrap()).collect();
        assert_eq!(names.len(), FILES.len());
        for name in names {
            assert!(FILES.iter().any(|(known, ..)| *known == name), "{name}");
        }
    }
}
