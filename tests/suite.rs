//! The tests through the binary and through the library, as one program: linked once, with one broker for all that can
//! share one. `cargo test --test suite retry::` runs those of one file.

mod alerts;
mod broker;
mod check;
mod collect;
mod collect_task;
mod config;
mod config_show;
mod control;
mod daemon;
mod deliver;
mod demo;
mod disk;
mod dry_run;
mod etcd;
mod failures;
mod fetch;
mod ground;
mod kafka_tool;
mod kill;
mod log_file;
mod memory;
mod metrics;
mod millctl;
mod names;
mod offsets;
mod operations;
mod orders;
mod partitions;
mod recovery;
mod reload;
mod retry;
mod service;
mod transform_differential;
mod transform_golden;
mod transform_rows;
mod verify;
mod witnesses;

mod reference;
mod support;
