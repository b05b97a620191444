//! Why a command failed, in words and as an exit code.

use std::io;

use crate::ctl::client::AskError;
use crate::inspect::InspectError;

#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("error: {0}")]
    Ask(#[from] AskError),
    #[error("error: {0}")]
    Inspect(#[from] InspectError),
    #[error("error: {0}")]
    Failed(String),
    #[error("error: {0}")]
    Late(String),
    /// Whoever read our output has gone: there is nothing left to do.
    #[error("nobody reads")]
    NobodyReads,
    #[error("error: cannot write: {0}")]
    Io(io::Error),
}

impl Fault {
    /// Rows with gaps, and why.
    pub fn gaps(troubles: &[String]) -> Fault {
        let why =
            if troubles.is_empty() { "Kafka does not tell all offsets".into() } else { troubles.join("\nerror: ") };
        Fault::Failed(why)
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Fault::Ask(AskError::NotRunning { .. }) => 3,
            Fault::Ask(AskError::Timeout { .. }) | Fault::Late(_) => 4,
            Fault::NobodyReads => 0,
            Fault::Ask(_) | Fault::Inspect(_) | Fault::Failed(_) | Fault::Io(_) => 1,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        if error.kind() == io::ErrorKind::BrokenPipe { Fault::NobodyReads } else { Fault::Io(error) }
    }
}
