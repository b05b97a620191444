//! A value left for a thread to take when it comes by, the newest only.

use std::sync::{Mutex, PoisonError};

/// Not a message: a thread that waits for its disk, for room or for a broker does not come to its messages, and however
/// often something is left, there is nothing to overflow.
#[derive(Debug, Default)]
pub struct Left<T>(Mutex<T>);

impl<T: Default> Left<T> {
    pub fn put(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    pub fn take(&self) -> T {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
