//! A client for the program's numbers: one request, one answer, nothing kept.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::{SOON, Site};

/// Where a running program serves its numbers.
pub struct Web {
    pub address: String,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Site {
    /// Of the newest start, whose configuration has `metrics_listen = "127.0.0.1:0"`.
    pub fn web(&self) -> Web {
        let address = self.awaited("the numbers are served", SOON, || {
            let log = self.log();
            let (_, rest) = log.rsplit_once("numbers: http://")?;
            Some(rest.split_once("/metrics")?.0.to_string())
        });
        Web { address }
    }

    /// Alerts in the log so far.
    pub fn alerts(&self) -> Vec<Value> {
        self.log()
            .lines()
            .filter(|line| line.starts_with("{\"uri\""))
            .map(|l| serde_json::from_str(l).expect(l))
            .collect()
    }

    /// Waits for an alert of this code, task and level.
    pub fn await_alert(&self, code: &str, task: &str, level: &str) -> Value {
        let is_it = |a: &Value| a["code"] == code && a["task"] == task && a["level"] == level;
        self.awaited(&format!("{level} {code} of {task:?}"), SOON, || self.alerts().into_iter().find(is_it))
    }
}

impl Web {
    pub fn get(&self, path: &str) -> Answer {
        self.say(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    /// Sends these bytes and reads to the end.
    pub fn say(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
        Answer { status, head: head.into(), body: body.into() }
    }

    /// One number of /metrics by its name with labels, as it stands there.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get("/metrics").body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }
}
