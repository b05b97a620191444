//! Kafka's own protocol, as far as both clients that speak it share it: connections to brokers, what all of them are
//! asked, who leads what, and record batches. Bytes come in, values go out, and the other way round.
//!
//! [`crate::fetch`] reads with it, and a collect task's native producer writes.

pub mod batch;
pub mod codec;
pub mod guide;
pub mod link;
pub mod message;
pub mod settings;
pub mod wire;

pub use settings::{Settings, Unknown};
