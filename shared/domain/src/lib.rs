//! The domain: activities, the events that become activities, the catalog of actions, the directory of workspaces and
//! members, and the rules of access. It knows neither AWS nor HTTP.

pub mod access;
pub mod activity;
pub mod catalog;
pub mod cursor;
pub mod directory;
pub mod error;
pub mod event;
pub mod filter;
pub mod fingerprint;
pub mod grants;
pub mod ids;
pub mod json;
pub mod position;
pub mod provenance;
pub mod salt;
mod schema;
pub mod subscription;
pub mod time;

pub use error::{Error, Result};
