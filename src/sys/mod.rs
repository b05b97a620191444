//! The kernel: threads, signals, files, maps. All `unsafe` of the program lives here, but for three named files.
#![allow(unsafe_code)]

pub mod file;
pub mod mmap;
pub mod signal;
pub mod thread;
