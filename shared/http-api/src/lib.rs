//! The REST API over HTTP: the parameters of lists, the lists themselves, and errors with their statuses.

pub mod listing;
pub mod params;
pub mod problem;
pub mod wire;
