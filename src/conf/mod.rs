//! Configuration: what was written becomes what is meant, or a list of problems.

pub mod config;
