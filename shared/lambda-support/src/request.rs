//! The request that an event of API Gateway stands for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Error, Result};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::http::Uri;
use lambda_http::request::RequestContext;
use lambda_http::{Body, Context, Request, RequestExt as _};

/// The request of an event. The crate lambda_http has such a conversion too, which panics on events that API Gateway does
/// not send and people make by hand: a path that is no URI, or a body that is no base64.
///
/// # Errors
/// [`Error::BadInput`] of a body that is not base64 and is said to be, or of a query string that is too long for a URI.
pub(crate) fn of_event(event: ApiGatewayV2httpRequest, context: Context) -> Result<Request> {
    let body = match event.body {
        Some(text) if event.is_base64_encoded => {
            let bytes = STANDARD.decode(text);
            let wrong = |_| Error::bad_input("body", "must be base64, as the event's isBase64Encoded says");
            Body::Binary(bytes.map_err(wrong)?)
        }
        Some(text) => Body::Text(text),
        None => Body::Empty,
    };
    let query = encoded(&event.raw_query_string.unwrap_or_default());
    let uri = Uri::builder().path_and_query(format!("/?{query}")).build();
    let mut request = Request::new(body);
    *request.uri_mut() = uri.map_err(|_| Error::bad_input("query", "is too long"))?;
    *request.method_mut() = event.request_context.http.method.clone();
    *request.headers_mut() = event.headers;
    Ok(request
        .with_raw_http_path(event.raw_path.unwrap_or_default())
        .with_path_parameters(event.path_parameters)
        .with_request_context(RequestContext::ApiGatewayV2(event.request_context))
        .with_lambda_context(context))
}

/// Escapes everything in a query string that a URI must not hold.
fn encoded(query: &str) -> String {
    let mut encoded = String::with_capacity(query.len());
    for byte in query.bytes() {
        match byte {
            b'!' | b'$'..=b';' | b'=' | b'?'..=b'Z' | b'_' | b'a'..=b'z' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The part of the path that stands before the route's: the name of a stage that is not the default one, or the path
/// under which a custom domain has the API. Both are part of what the client calls, so that links need them.
pub fn path_prefix(request: &Request) -> &str {
    let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() else { return "" };
    let route = context.route_key.as_deref().and_then(|key| key.split_once(' ')).map_or("", |(_, path)| path);
    let path = request.raw_http_path();
    // The value of a parameter may hold anything, so that only the route's beginning is looked for.
    let beginning = route.split('{').next().unwrap_or_default();
    let prefix = path.find(beginning).map_or("", |at| &path[..at]);
    // It becomes part of a header.
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"');
    if prefix.bytes().all(is_plain) { prefix } else { "" }
}

#[cfg(test)]
mod tests {
    use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;

    use super::*;

    #[test]
    fn whatever_a_query_holds_it_becomes_part_of_a_uri() {
        assert_eq!(
            encoded("limit=2&since=2025-01-01T00:00:00%2B01:00"),
            "limit=2&since=2025-01-01T00:00:00%2B01:00"
        );
        assert_eq!(encoded("tag=<a b>\"#^`{|}\\é"), "tag=%3Ca%20b%3E%22%23%5E%60%7B%7C%7D%5C%C3%A9");
        for byte in 0..=127u8 {
            let uri = format!("https://localhost/?{}", encoded(&char::from(byte).to_string()));
            assert!(uri.parse::<lambda_http::http::Uri>().is_ok(), "{uri}");
        }
    }

    #[test]
    fn prefix_is_what_stands_before_the_route() {
        let route = "GET /api/v1/workspaces/{ws_id}/activity";
        for (route, path, expected) in [
            (route, "/api/v1/workspaces/w/activity", ""),
            (route, "/prod/api/v1/workspaces/w/activity", "/prod"),
            (route, "/api/api/v1/workspaces/w/activity", "/api"),
            (route, "/audit/log/api/v1/workspaces/w/activity", "/audit/log"),
            // API Gateway decodes paths.
            (route, "/prod/api/v1/workspaces/a/api/v1/workspaces/b/activity", "/prod"),
            (route, "/a b/api/v1/workspaces/w/activity", ""),
            (route, "/a\r\n/api/v1/workspaces/w/activity", ""),
            (route, "", ""),
            ("$default", "/prod/x", ""),
            ("", "/prod/x", ""),
        ] {
            let mut context = ApiGatewayV2httpRequestContext::default();
            context.route_key = Some(route.to_owned());
            let request = Request::default()
                .with_raw_http_path(path)
                .with_request_context(RequestContext::ApiGatewayV2(context));
            assert_eq!(path_prefix(&request), expected, "{route} {path:?}");
        }
    }
}
