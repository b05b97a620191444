//! The door: how an operator's tool and the running program talk. Nothing here waits for the data road, and the road
//! waits for nothing here.
//!
//! Bytes come in at [`server`], [`frame`] finds where a request ends, [`protocol`] has the words of both sides, and
//! whoever opened the door answers. [`client`] is the other side.

pub mod client;
pub mod frame;
pub mod protocol;
pub mod server;
pub mod table;
