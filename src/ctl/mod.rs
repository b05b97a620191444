//! The door: how an operator's tool and the running program talk. Nothing here waits for the data road, and the road
//! waits for nothing here.

pub mod protocol;
