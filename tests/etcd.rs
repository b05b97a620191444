//! The list of entries under a key of a real etcd: read, watched, through compaction, passwords and a server that dies.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use crate::support::{Part, SOON, eventually, left_out};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::{Receiver, Sender, bounded};
use logmill::tail::etcd::{Etcd, Found, Settings};
use serde_json::{Value, json};

const KEY: &str = "/logmill/10.0.0.1/collect";

#[test]
fn each_change_of_the_list_is_told() {
    if left_out(&[Part::Etcd]) {
        return;
    }
    let server = Server::start();
    let watched = server.watch("", "");
    assert_eq!(watched.next(), Found::List(None));
    for list in ["[1]", "[2]", "[]", ""] {
        server.put(list);
        assert_eq!(watched.next(), Found::List(Some(list.into())));
    }
    server.post("/v3/kv/deleterange", &json!({ "key": STANDARD.encode(KEY) }));
    assert_eq!(watched.next(), Found::List(None));
    server.put("[3]");
    assert_eq!(watched.next(), Found::List(Some("[3]".into())));
}

/// Whatever is compacted away between a read and its watch: the newest list arrives.
#[test]
fn compaction_during_the_watch_loses_no_change() {
    if left_out(&[Part::Etcd]) {
        return;
    }
    let server = Server::start();
    let mut etcd = Etcd::new(server.settings("", "")).expect("settings");
    let (_, revision) = etcd.read().expect("an answer");
    let compact = |revision: i64| server.post("/v3/kv/compaction", &json!({ "revision": revision.to_string() }));
    (0..5).for_each(|n| server.put(&n.to_string()));
    compact(revision + 5);
    let (_stay, stop) = bounded(0);
    etcd.watch(revision + 1, &stop).expect("it is to be read again");
    let watched = server.watch("", "");
    for n in 5..100 {
        server.put(&n.to_string());
        compact(revision + n + 1);
    }
    eventually("the newest list", SOON, || (watched.next() == Found::List(Some("99".into()))).then_some(()));
}

#[test]
fn a_server_that_dies_and_comes_back_is_named_once_and_then_read_again() {
    if left_out(&[Part::Etcd]) {
        return;
    }
    let mut server = Server::start();
    server.put("[1]");
    let watched = server.watch("", "");
    assert_eq!(watched.next(), Found::List(Some("[1]".into())));
    server.kill();
    let Found::Away(why) = watched.next() else { panic!("a list from a dead server") };
    assert!(why.contains(&server.endpoint), "{why}");
    server.run();
    assert_eq!(watched.next(), Found::List(Some("[1]".into())));
    server.put("[2]");
    assert_eq!(watched.next(), Found::List(Some("[2]".into())));
}

#[test]
fn a_dead_endpoint_is_left_for_the_next_one() {
    if left_out(&[Part::Etcd]) {
        return;
    }
    let server = Server::start();
    server.put("[1]");
    let mut settings = server.settings("", "");
    settings.endpoints.insert(0, format!("127.0.0.1:{}", free_port()));
    let watched = Watched::start(settings);
    assert!(matches!(watched.next(), Found::Away(_)));
    assert_eq!(watched.next(), Found::List(Some("[1]".into())));
}

#[test]
fn passwords_are_asked_for_and_a_wrong_one_is_named() {
    if left_out(&[Part::Etcd]) {
        return;
    }
    let mut server = Server::start();
    server.put("[1]");
    for name in ["root", "mill"] {
        server.post("/v3/auth/user/add", &json!({ "name": name, "password": "secret" }));
    }
    server.post("/v3/auth/user/grant", &json!({ "user": "root", "role": "root" }));
    server.post("/v3/auth/role/add", &json!({ "name": "reader" }));
    let right = json!({ "permType": "READ", "key": STANDARD.encode("/"), "range_end": STANDARD.encode("0") });
    server.post("/v3/auth/role/grant", &json!({ "name": "reader", "perm": right }));
    server.post("/v3/auth/user/grant", &json!({ "user": "mill", "role": "reader" }));
    server.post("/v3/auth/enable", &json!({}));

    let away = |watched: Watched| match watched.next() {
        Found::Away(why) => why,
        other => panic!("{other:?} without the password"),
    };
    assert!(away(server.watch("mill", "guess")).contains("check user and password below [etcd]"));
    let nobody = away(server.watch("", ""));
    assert!(nobody.contains("user"), "{nobody}");

    // A server that was restarted knows no token of before.
    let watched = server.watch("mill", "secret");
    assert_eq!(watched.next(), Found::List(Some("[1]".into())));
    server.kill();
    assert!(matches!(watched.next(), Found::Away(_)));
    server.run();
    assert_eq!(watched.next(), Found::List(Some("[1]".into())));
}

#[test]
fn a_file_that_is_no_certificate_is_named() {
    let settings = Settings { tls_ca: Some("/dev/null".into()), ..Settings::default() };
    let told = Etcd::new(settings).err().expect("no certificate").to_string();
    assert!(told.contains("/dev/null") && told.contains("PEM"), "{told}");
}

/// A watch in a thread of its own.
struct Watched {
    found: Receiver<Found>,
    _stop: Sender<()>,
}

impl Watched {
    fn start(settings: Settings) -> Watched {
        let etcd = Etcd::new(settings).expect("settings");
        let ((tell, found), (stop, stopped)) = (bounded(1000), bounded(0));
        std::thread::spawn(move || etcd.run(&stopped, |f| drop(tell.send(f))));
        Watched { found, _stop: stop }
    }

    fn next(&self) -> Found {
        self.found.recv_timeout(SOON).expect("news from etcd")
    }
}

/// A real etcd with a directory and ports of its own.
struct Server {
    dir: tempfile::TempDir,
    endpoint: String,
    peer: String,
    process: Option<Child>,
}

impl Server {
    fn start() -> Server {
        let at = || format!("127.0.0.1:{}", free_port());
        let dir = tempfile::tempdir().expect("a directory");
        let mut server = Server { dir, endpoint: at(), peer: format!("http://{}", at()), process: None };
        server.run();
        server
    }

    fn run(&mut self) {
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

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("kill etcd");
            process.wait().expect("the end of etcd");
        }
    }

    fn settings(&self, user: &str, password: &str) -> Settings {
        let endpoints = vec![self.endpoint.clone()];
        let (user, password) = (user.into(), password.into());
        Settings { endpoints, user, password, key: KEY.into(), ..Settings::default() }
    }

    fn watch(&self, user: &str, password: &str) -> Watched {
        Watched::start(self.settings(user, password))
    }

    fn put(&self, list: &str) {
        self.post("/v3/kv/put", &json!({ "key": STANDARD.encode(KEY), "value": STANDARD.encode(list) }));
    }

    fn post(&self, path: &str, asked: &Value) {
        let answer = ureq::post(&format!("http://{}{path}", self.endpoint)).send(asked.to_string());
        assert_eq!(answer.expect("an answer").status(), 200, "{path}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}
