//! The REST API over HTTP: the parameters of lists, the lists themselves, and errors with their statuses.
//!
//! The GraphQL API shares the limits of a list, the codes of errors and the size of a response.

pub mod entry;
pub mod listing;
pub mod params;
pub mod problem;
pub mod response_size;
