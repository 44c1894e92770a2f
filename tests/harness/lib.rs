//! The harness of tests and benchmarks: a table with the functions that use it, a client that counts requests and fails
//! on demand, and a check of the whole table.

mod check;
mod forwards;
mod functions;
mod http_client;
mod queue;
mod subscribers;
mod transport;
mod world;

pub use check::{Contents, check};
pub use forwards::{ForwardFault, Forwards, OPERATOR, RECORDER};
pub use http_client::exchange;
pub use queue::{Message, Queue, reported_failures};
pub use subscribers::{PostOutcome, Sockets, SubscriberWorld};
pub use transport::{Fault, Metered, Transport};
pub use world::{RecorderProcess, Reply, World, token_claims};
