//! `millctl` of a site, and its socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::Site;

/// What a command of `millctl` came to.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Said {
    /// The one line of stdout, of a command that was done.
    pub fn line(&self) -> &str {
        assert_eq!(self.code, 0, "{self:?}");
        self.out.trim_end_matches('\n')
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(self.line()).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Site {
    /// Where its program listens.
    pub fn socket(&self) -> PathBuf {
        self.path("run/logmill.sock")
    }

    /// `millctl` with the site's configuration and these words.
    pub fn millctl(&self, words: &[&str]) -> Said {
        Said::from(self.millctl_command(words).arg("--config").arg(self.config()).output().expect("millctl"))
    }

    /// The same with the socket alone.
    pub fn millctl_at_socket(&self, words: &[&str]) -> Said {
        Said::from(self.millctl_command(words).arg("--socket").arg(self.socket()).output().expect("millctl"))
    }

    /// It stands in the site's directory, where relative paths begin.
    pub fn millctl_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millctl"));
        command.args(words).current_dir(self.path("")).stdin(Stdio::null());
        command
    }

    /// Until the program listens.
    pub fn await_socket(&self, deadline: Duration) {
        self.awaited("the socket", deadline, || UnixStream::connect(self.socket()).ok().map(drop));
    }

    /// Sends these bytes to the socket and returns all that comes until it is closed.
    pub fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = UnixStream::connect(self.socket()).expect("the socket");
        // It may be closed before all of it is sent.
        let _ = stream.write_all(bytes);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        reply
    }
}
