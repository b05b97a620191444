//! Transactions: lines and the places up to which they were read become visible together, or not at all.

use std::ffi::c_void;
use std::time::Duration;

use rdkafka::bindings as rd;

use super::ProduceError;
use super::choose::UNASSIGNED;
use super::conf::{error_text, text};
use super::librdkafka::{Librdkafka, OF_NO_CHUNK};

/// Why a step of a transaction was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// Not yet: the same call goes on with it.
    Again(String),
    /// The transaction must be aborted.
    Abort(String),
    /// This producer is at its end.
    Fatal(String),
}

/// Lines and records that are no lines, all of which become visible together. Where it is not said otherwise there are
/// none.
pub trait Transactions {
    /// Takes the transactional id over: what another instance has open is aborted, and that one is fenced off.
    ///
    /// # Errors
    /// No broker answers within the time, or none may be asked.
    fn init_transactions(&mut self, _: Duration) -> Result<(), Undone> {
        Err(none())
    }

    /// # Errors
    /// One is open, or this producer is at its end.
    fn begin_transaction(&mut self) -> Result<(), Undone> {
        Err(none())
    }

    /// Everything that was sent must have been reported before.
    ///
    /// # Errors
    /// It is not committed, or not known to be.
    fn commit_transaction(&mut self, _: Duration) -> Result<(), Undone> {
        Err(none())
    }

    /// # Errors
    /// It is not aborted yet.
    fn abort_transaction(&mut self, _: Duration) -> Result<(), Undone> {
        Err(none())
    }

    /// Sends a copy of a record that is no line; `None` takes the key's value away.
    ///
    /// # Errors
    /// librdkafka's.
    fn put(&mut self, _topic: usize, _key: &[u8], _value: Option<&[u8]>) -> Result<(), String> {
        Err("there are no transactions".into())
    }

    /// Has a record that is no line failed since the last call?
    fn take_put_failure(&mut self) -> bool {
        false
    }

    /// Another producer has taken the transactional id over.
    fn is_fenced(&self) -> bool {
        false
    }
}

fn none() -> Undone {
    Undone::Fatal("there are no transactions".into())
}

impl Transactions for Librdkafka {
    fn init_transactions(&mut self, most: Duration) -> Result<(), Undone> {
        // It would fence a successor off.
        let right = self.lease.brake.hold().ok_or_else(|| Undone::Fatal(ProduceError::Succeeded.to_string()))?;
        // SAFETY: the handle is ours.
        let result = told(unsafe { rd::rd_kafka_init_transactions(self.rk, millis(most)) });
        drop(right);
        result
    }

    fn begin_transaction(&mut self) -> Result<(), Undone> {
        // SAFETY: the handle is ours.
        told(unsafe { rd::rd_kafka_begin_transaction(self.rk) })
    }

    fn commit_transaction(&mut self, most: Duration) -> Result<(), Undone> {
        // SAFETY: the handle is ours.
        told(unsafe { rd::rd_kafka_commit_transaction(self.rk, millis(most)) })
    }

    fn abort_transaction(&mut self, most: Duration) -> Result<(), Undone> {
        // SAFETY: the handle is ours.
        told(unsafe { rd::rd_kafka_abort_transaction(self.rk, millis(most)) })
    }

    fn put(&mut self, topic: usize, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let _right = self.lease.brake.hold().ok_or_else(|| ProduceError::Succeeded.to_string())?;
        let (bytes, length) = value.map_or((std::ptr::null(), 0), |v| (v.as_ptr(), v.len()));
        let hash = crate::tail::partition::key_hash(key);
        let opaque = (u64::from(hash) << 32 | u64::from(OF_NO_CHUNK)) as *mut c_void;
        // SAFETY: value and key are copied.
        let rc = unsafe {
            rd::rd_kafka_produce(
                self.topics[topic].rkt,
                UNASSIGNED,
                rd::RD_KAFKA_MSG_F_COPY,
                bytes.cast_mut().cast(),
                length,
                key.as_ptr().cast(),
                key.len(),
                opaque,
            )
        };
        if rc == 0 {
            self.held += 1;
            return Ok(());
        }
        // SAFETY: the error of this thread's last call.
        Err(error_text(unsafe { rd::rd_kafka_last_error() }))
    }

    fn take_put_failure(&mut self) -> bool {
        std::mem::take(&mut self.put_failed)
    }

    fn is_fenced(&self) -> bool {
        use rd::rd_kafka_resp_err_t as e;
        // SAFETY: the handle is ours, and no text is asked for.
        let code = unsafe { rd::rd_kafka_fatal_error(self.rk, std::ptr::null_mut(), 0) };
        matches!(
            code,
            e::RD_KAFKA_RESP_ERR__FENCED
                | e::RD_KAFKA_RESP_ERR_PRODUCER_FENCED
                | e::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH
        )
    }
}

fn millis(time: Duration) -> i32 {
    time.as_millis().min(i32::MAX as u128) as i32
}

fn told(error: *mut rd::rd_kafka_error_t) -> Result<(), Undone> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: an error of ours, destroyed once, after the last look at it.
    unsafe {
        let reason = text(rd::rd_kafka_error_string(error));
        let undone = match (rd::rd_kafka_error_is_fatal(error), rd::rd_kafka_error_txn_requires_abort(error)) {
            (0, 0) if rd::rd_kafka_error_is_retriable(error) != 0 => Undone::Again(reason),
            (0, abort) if abort != 0 => Undone::Abort(reason),
            _ => Undone::Fatal(reason),
        };
        rd::rd_kafka_error_destroy(error);
        Err(undone)
    }
}
