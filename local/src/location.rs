//! The names of the tables, and the URL of their DynamoDB.

/// The name of the table of activities, at any endpoint.
pub(crate) const LOG_TABLE: &str = "activity-log";
/// The name of the table of connections without its end, which is the port, because each gateway has its own connections.
pub(crate) const CONNECTIONS_TABLE: &str = "activity-log-connections";

/// Parses the URL of a DynamoDB.
///
/// # Errors
/// The form that the URL must have.
pub(crate) fn endpoint(text: &str) -> Result<String, &'static str> {
    let url: axum::http::Uri = text.parse().map_err(|_| "not a URL")?;
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(_)) => Ok(text.to_owned()),
        _ => Err("must begin with http:// or https://"),
    }
}
