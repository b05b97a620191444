//! Steps 1 to 3: is there a value, is it small enough, does its own codec decode it, and which records stand in it.

use super::{Options, Parked};

/// Decodes values; keeps its buffer from value to value.
pub struct Unpacker {}

/// The pieces of one value, each a record of its own.
pub struct Unpacked<'a> {
    pub pieces: Vec<&'a [u8]>,
}

impl Unpacker {
    pub fn new(_options: &Options) -> Unpacker {
        Unpacker {}
    }

    /// # Errors
    /// E01_EMPTY, E02_TOO_LARGE_IN, E03_CODEC.
    pub fn unpack<'a>(&'a mut self, value: Option<&'a [u8]>) -> Result<Unpacked<'a>, Parked> {
        Ok(Unpacked { pieces: vec![value.unwrap_or_default()] })
    }
}
