//! logmill moves log records from Kafka into files that others tail while they grow, every line exactly once.
//!
//! # The story of a record
//!
//! [`conf`] reads what the operator wrote and says what is meant. [`engine`] restores what the last process left, wires
//! the threads of every task and leads them from checkpoint to checkpoint: the only owner of the program's state.
//!
//! A [`reader`] thread owns some of a task's partitions. It takes a batch from Kafka, through librdkafka or through
//! [`fetch`], which speaks Kafka's [`protocol`] itself, and [`transform`] turns each value into a line, straight in
//! the reader's redo [`ring`]. With one store the ring's entry is *published*: its lines will be in the files exactly
//! once, whatever happens to the process. A [`writer`] thread hears of the entry, notes in its slot what it is about
//! to append, appends it, and marks it applied; then the reader frees the room.
//!
//! Every few seconds the readers rest for some milliseconds, the rings run empty, and the engine takes a *cut*: every
//! source's mark and every file's length at one moment. The [`ledger`] syncs the files and commits the cut to LMDB.
//! After a kill the maps tell what is owed; after a power loss, where maps are void, the last cut does.
//!
//! The other road begins in files: a [`tail`] thread follows those that a task names through rotation, deletion and
//! restarts, and sends every line to Kafka, in the same two ways; a file's place moves over confirmed lines alone, and
//! the ledger keeps it.
//!
//! [`flow`] has the nouns that travel, [`sys`] the kernel. [`demo`] and [`dry_run`] are the same road with other ends;
//! [`verify`] holds the files against the topic, [`reach`] asks the brokers before all that.
//!
//! [`daemon`] keeps the program running behind a terminal's back, [`watch`] says how it is: log, alerts, numbers.
//! [`ctl`] is its door: the [`clerk`] answers there, the [`console`] asks; [`inspect`] tells offsets and lag, with or
//! without the running program.
//!
//! Imports run the way the data runs: `engine` -> `conf` -> (`reader`, `tail`) -> (`writer`, `transform`, `ledger`,
//! `fetch`) -> (`ring`, `protocol`) -> (`flow`, `sys`). `conf` stands above the stations, for what it means is said in
//! their words. The ring and the protocol stand a floor above `flow` and `sys`, for they are made of both.

#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

pub mod clerk;
pub mod cli;
pub mod commands;
pub mod conf;
pub mod console;
pub mod ctl;
pub mod daemon;
pub mod demo;
pub mod dry_run;
pub mod engine;
pub mod fetch;
pub mod flow;
pub mod inspect;
pub mod ledger;
pub mod protocol;
pub mod reach;
pub mod reader;
pub mod ring;
pub mod sys;
pub mod tail;
pub mod transform;
pub mod verify;
pub mod watch;
pub mod writer;
