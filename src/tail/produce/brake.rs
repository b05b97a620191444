//! Stops a producer from outside its thread.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rdkafka::bindings as rd;

/// Whoever holds it may send; once it is pulled nobody does any more.
#[derive(Default)]
pub struct Brake(Mutex<Sending>);

#[derive(Default)]
enum Sending {
    #[default]
    Nobody,
    By(*mut rd::rd_kafka_t),
    Never,
}

// SAFETY: librdkafka's handles may be used from any thread; this one is used under the lock and left before its end.
unsafe impl Send for Sending {}

impl Brake {
    /// This producer sends from now on; false where none may.
    pub(super) fn take(&self, rk: *mut rd::rd_kafka_t) -> bool {
        let mut sending = self.lock();
        let is_free = !matches!(*sending, Sending::Never);
        if is_free {
            *sending = Sending::By(rk);
        }
        is_free
    }

    /// This producer ends.
    pub(super) fn leave(&self, rk: *mut rd::rd_kafka_t) {
        let mut sending = self.lock();
        if matches!(*sending, Sending::By(held) if held == rk) {
            *sending = Sending::Nobody;
        }
    }

    /// The right to send while it lives; `None` where that is gone.
    pub(super) fn hold(&self) -> Option<MutexGuard<'_, impl Sized>> {
        Some(self.lock()).filter(|sending| !matches!(**sending, Sending::Never))
    }

    pub fn is_pulled(&self) -> bool {
        matches!(*self.lock(), Sending::Never)
    }

    /// Nothing is sent from now on, and what waits in librdkafka is thrown away; what a broker was given already may
    /// still arrive. False where something is being sent at this moment.
    pub fn pull(&self) -> bool {
        let mut sending = match self.0.try_lock() {
            Ok(sending) => sending,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        if let Sending::By(rk) = *sending {
            // SAFETY: a producer leaves before it is destroyed, which takes the lock.
            unsafe { rd::rd_kafka_purge(rk, rd::RD_KAFKA_PURGE_F_QUEUE | rd::RD_KAFKA_PURGE_F_INFLIGHT) };
        }
        *sending = Sending::Never;
        true
    }

    fn lock(&self) -> MutexGuard<'_, Sending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
