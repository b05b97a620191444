//! A real etcd.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{SOON, eventually};

/// A real etcd with a directory and ports of its own.
pub struct EtcdServer {
    pub dir: tempfile::TempDir,
    /// `host:port`
    pub endpoint: String,
    peer: String,
    process: Option<Child>,
    /// Who asks it.
    client: ureq::Agent,
    scheme: &'static str,
}

impl EtcdServer {
    pub fn start() -> EtcdServer {
        let at = || format!("127.0.0.1:{}", free_port());
        let dir = tempfile::tempdir().expect("a directory");
        let (endpoint, peer, client) = (at(), format!("http://{}", at()), ureq::agent());
        let mut server = EtcdServer { dir, endpoint, peer, process: None, client, scheme: "http" };
        server.run();
        server
    }

    /// From now on it is asked through TLS: with `server.pem` and `server-key.pem` of its directory, by those alone whose
    /// certificate `ca.pem` has signed.
    pub fn restart_with_tls(&mut self, client: ureq::Agent) {
        self.kill();
        (self.client, self.scheme) = (client, "https");
        self.run();
    }

    /// Again, after a kill.
    pub fn run(&mut self) {
        let client = format!("{}://{}", self.scheme, self.endpoint);
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(self.dir.path().join("data")).stderr(Stdio::null()).stdout(Stdio::null());
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &self.peer, "--initial-advertise-peer-urls", &self.peer]);
        command.args(["--initial-cluster", &format!("default={}", self.peer)]);
        if self.scheme == "https" {
            let file = |name: &str| self.dir.path().join(name);
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(file("ca.pem"));
            command.arg("--cert-file").arg(file("server.pem")).arg("--key-file").arg(file("server-key.pem"));
        }
        self.process = Some(command.spawn().expect("etcd: tools/setup test installs it"));
        let health = format!("{client}/health");
        eventually("etcd is up", SOON, || self.client.get(&health).call().ok().filter(|a| a.status() == 200).map(drop));
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
        let answer = self.client.post(&format!("{}://{}{path}", self.scheme, self.endpoint)).send(asked.to_string());
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
