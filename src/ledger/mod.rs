//! Checkpoints: one consistent state of all sources and files of a task, kept so that a power loss finds it whole.
//!
//! A cut comes in; its files are synced, the cut is committed to LMDB, and what it proves comes out.

pub mod cut;
pub mod failures;
pub mod keeper;
pub mod queue;
pub mod snapshot;
pub mod store;
pub mod witness;
