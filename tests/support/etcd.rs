//! A real etcd.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{SOON, eventually};

/// A real etcd with a directory and ports of its own.
pub struct EtcdServer {
    dir: tempfile::TempDir,
    /// `host:port`
    pub endpoint: String,
    peer: String,
    process: Option<Child>,
}

impl EtcdServer {
    pub fn start() -> EtcdServer {
        let at = || format!("127.0.0.1:{}", free_port());
        let dir = tempfile::tempdir().expect("a directory");
        let mut server = EtcdServer { dir, endpoint: at(), peer: format!("http://{}", at()), process: None };
        server.run();
        server
    }

    /// Again, after a kill.
    pub fn run(&mut self) {
        let client = format!("http://{}", self.endpoint);
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(self.dir.path().join("data")).stderr(Stdio::null()).stdout(Stdio::null());
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &self.peer, "--initial-advertise-peer-urls", &self.peer]);
        command.args(["--initial-cluster", &format!("default={}", self.peer)]);
        self.process = Some(command.spawn().expect("etcd: tools/setup test installs it"));
        let health = format!("{client}/health");
        eventually("etcd is up", SOON, || ureq::get(&health).call().ok().filter(|a| a.status() == 200).map(drop));
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("kill etcd");
            process.wait().expect("the end of etcd");
        }
    }

    /// A value under a key.
    pub fn put(&self, key: &str, value: &str) {
        self.post("/v3/kv/put", &json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) }));
    }

    pub fn delete(&self, key: &str) {
        self.post("/v3/kv/deleterange", &json!({ "key": STANDARD.encode(key) }));
    }

    /// Asks its gateway.
    pub fn post(&self, path: &str, asked: &Value) {
        let answer = ureq::post(&format!("http://{}{path}", self.endpoint)).send(asked.to_string());
        assert_eq!(answer.expect("an answer").status(), 200, "{path}");
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// That nobody listens on at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}
