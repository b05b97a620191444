//! The other road's station: growing files in, records of a topic out.

pub mod entries;
pub mod etcd;
