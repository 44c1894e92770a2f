//! What tests and benchmarks share: a table of their own, the handlers around it, a client that counts and
//! that fails on demand, and a checker of the whole table.

mod check;
mod http;
mod live;
mod queue;
mod transport;
mod world;

pub use check::{Contents, check};
pub use http::exchange;
pub use live::{Live, Post, Sockets};
pub use queue::{Message, Queue, reported};
pub use transport::{Fault, Metered, Transport};
pub use world::{Process, Reply, World, token_claims};
