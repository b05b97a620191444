//! A station's right to work. A thread that hangs cannot be killed: its lease is taken away instead, and from then on
//! nothing it does sends a line or moves a place. In: the thread's beat. Out: whether it may go on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::Duration;

use super::produce::Brake;
use crate::flow::clock;

/// What a station holds while it is the one.
#[derive(Default)]
pub struct Lease {
    /// When the thread last went round, as [`clock::running_ms`]; 0 before its first round.
    beat_ms: AtomicU64,
    pub brake: Brake,
    /// True once places are no longer its own to move.
    is_void: Mutex<bool>,
}

impl Lease {
    pub fn new() -> Lease {
        let lease = Lease::default();
        lease.beat();
        lease
    }

    /// The thread is alive.
    pub fn beat(&self) {
        self.beat_ms.store(clock::running_ms(), Ordering::Relaxed);
    }

    /// Since the last beat.
    pub fn age(&self) -> Duration {
        Duration::from_millis(clock::running_ms().saturating_sub(self.beat_ms.load(Ordering::Relaxed)))
    }

    /// Does what moves places, unless the lease is gone. It cannot go meanwhile.
    pub fn keep<T>(&self, deed: impl FnOnce() -> T) -> Option<T> {
        let is_void = self.is_void.lock().unwrap_or_else(PoisonError::into_inner);
        (!*is_void).then(deed)
    }

    pub fn is_revoked(&self) -> bool {
        self.brake.is_pulled()
    }

    /// Takes the lease away for good. Lines that wait in librdkafka are thrown away with it: a successor sends them.
    ///
    /// # Errors
    /// What the station is in the middle of: try again later.
    pub fn revoke(&self) -> Result<(), &'static str> {
        let mut is_void = match self.is_void.try_lock() {
            Ok(is_void) => is_void,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err("its places are being written"),
        };
        if !self.brake.pull() {
            return Err("its lines are being sent");
        }
        *is_void = true;
        Ok(())
    }
}
