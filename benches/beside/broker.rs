//! The broker, through `tools/kafka`, and what is asked of it.

use std::path::PathBuf;
use std::process::Command;

use crate::Fault;
use crate::measure::Place;

pub struct Broker {
    pub address: String,
    dir: PathBuf,
}

impl Broker {
    pub fn start(place: &Place) -> Result<Broker, Fault> {
        let dir = place.path("kafka");
        let pid = std::process::id().to_string();
        let said = tool().arg("start").arg("--dir").arg(&dir).args(["--owner-pid", &pid]).output()?;
        let words = String::from_utf8_lossy(&said.stdout);
        let Some(address) = words.trim().strip_prefix("bootstrap=") else {
            return Err(String::from_utf8_lossy(&said.stderr).into());
        };
        Ok(Broker { address: address.to_string(), dir })
    }

    pub fn create(&self, topic: &str, partitions: i32) -> Result<(), Fault> {
        let partitions = partitions.to_string();
        self.topics(&["--create", "--topic", topic, "--partitions", &partitions, "--config", "retention.ms=-1"])
    }

    pub fn delete(&self, topic: &str) -> Result<(), Fault> {
        self.topics(&["--delete", "--topic", topic])
    }

    fn topics(&self, words: &[&str]) -> Result<(), Fault> {
        let said = tool().args(["tool", "--dir"]).arg(&self.dir).arg("kafka-topics").args(words).output()?;
        if said.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said.stderr).into()) }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // What is left of it ends with this process.
        let _ = tool().arg("stop").arg("--dir").arg(&self.dir).output();
    }
}

fn tool() -> Command {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/kafka"))
}
