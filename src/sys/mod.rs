//! The kernel: threads, processes, signals, files, maps. All `unsafe` of the program lives here, but for four named
//! files.
#![allow(unsafe_code)]

pub mod dirs;
pub mod file;
pub mod follow;
pub mod inotify;
pub mod lookup;
pub mod mmap;
pub mod notify;
pub mod process;
pub mod signal;
pub mod slabs;
pub mod socket;
pub mod terminal;
pub mod thread;
pub mod usage;
