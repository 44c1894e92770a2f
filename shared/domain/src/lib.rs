//! What the functions share.
//!
//! The domain (`activity`, `event`, `catalog`, `directory`, `access`) knows neither HTTP nor DynamoDB. Only
//! `store` knows DynamoDB, only `keys` spells a key, and only `problem` knows status codes.

pub mod access;
pub mod activity;
pub mod catalog;
pub mod directory;
pub mod error;
pub mod event;
pub mod feed;
pub mod ids;
pub mod json;
pub mod keys;
pub mod listing;
pub mod live;
mod parallel;
pub mod params;
pub mod problem;
pub mod reader;
pub mod record;
mod schema;
pub mod store;
pub mod time;
pub mod wire;

pub use error::{Error, Result};
