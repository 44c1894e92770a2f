//! Delivers activities to the subscribers of a workspace or an organization, over WebSocket connections.
//!
//! `subscriptions` replays to one subscriber the updates that it missed. `broadcast` delivers new updates to all
//! subscribers. Both call [`Dispatcher::deliver`], so that one place decides access, from the directory as it is at that
//! moment.

mod delivery;
mod disconnect;
mod dispatcher;
mod fair;
pub mod message;
mod sender;
mod visibility;

pub use delivery::TopicDelivery;
pub use dispatcher::{DeliveryOutcome, Dispatcher, Update};
pub use sender::{DeliveryError, Sender, config};
