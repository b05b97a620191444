//! logmill moves log records both ways between Kafka and files, every line exactly once.

#![deny(unsafe_code)]

pub mod cli;
pub mod conf;
pub mod demo;
pub mod dry_run;
pub mod engine;
pub mod flow;
pub mod ledger;
pub mod reader;
pub mod ring;
pub mod sys;
pub mod transform;
pub mod writer;
