//! stub
pub mod engine;
pub mod tables;
pub mod template;
