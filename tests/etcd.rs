//! The list of entries under a key of a real etcd: read, watched, through compaction, passwords and a server that dies.

use crate::support::{EtcdServer, Part, SOON, eventually, free_port, left_out};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::{Receiver, Sender, bounded};
use logmill::tail::etcd::{self, Etcd, Found, Settings};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use std::fs;
use std::path::Path;

const KEY: &str = "/logmill/10.0.0.1/collect";

#[test]
fn each_change_of_the_list_is_told() {
    if left_out(&[Part::Etcd]) {
        return;
    }
    let server = EtcdServer::start();
    let watched = watch(&server, "", "");
    assert_eq!(watched.next(), Found::List(None));
    for list in ["[1]", "[2]", "[]", ""] {
        server.put(KEY, list);
        assert_eq!(watched.next(), Found::List(Some(list.into())));
    }
    server.delete(KEY);
    assert_eq!(watched.next(), Found::List(None));
    server.put(KEY, "[3]");
    assert_eq!(watched.next(), Found::List(Some("[3]".into())));
}

/// Whatever is compacted away between a read and its watch: the newest list arrives.
#[test]
fn compaction_during_the_watch_loses_no_change() {
    if left_out(&[Part::Etcd]) {
        return;
    }
    let server = EtcdServer::start();
    let mut etcd = Etcd::new(settings(&server, "", "")).expect("settings");
    let (_, revision) = etcd.read().expect("an answer");
    let compact = |revision: i64| server.post("/v3/kv/compaction", &json!({ "revision": revision.to_string() }));
    (0..5).for_each(|n| server.put(KEY, &n.to_string()));
    compact(revision + 5);
    let (_stay, stop) = bounded(0);
    etcd.watch(revision + 1, &stop).expect("it is to be read again");
    let watched = watch(&server, "", "");
    for n in 5..100 {
        server.put(KEY, &n.to_string());
        compact(revision + n + 1);
    }
    eventually("the newest list", SOON, || (watched.next() == Found::List(Some("99".into()))).then_some(()));
}

#[test]
fn a_server_that_dies_and_comes_back_is_named_once_and_then_read_again() {
    if left_out(&[Part::Etcd]) {
        return;
    }
    let mut server = EtcdServer::start();
    server.put(KEY, "[1]");
    let watched = watch(&server, "", "");
    assert_eq!(watched.next(), Found::List(Some("[1]".into())));
    server.kill();
    let Found::Away(why) = watched.next() else { panic!("a list from a dead server") };
    assert!(why.contains(&server.endpoint), "{why}");
    server.run();
    assert_eq!(watched.next(), Found::List(Some("[1]".into())));
    server.put(KEY, "[2]");
    assert_eq!(watched.next(), Found::List(Some("[2]".into())));
}

#[test]
fn a_dead_endpoint_is_left_for_the_next_one() {
    if left_out(&[Part::Etcd]) {
        return;
    }
    let server = EtcdServer::start();
    server.put(KEY, "[1]");
    let mut settings = settings(&server, "", "");
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
    let mut server = EtcdServer::start();
    server.put(KEY, "[1]");
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
    assert!(away(watch(&server, "mill", "guess")).contains("check user and password below [etcd]"));
    let nobody = away(watch(&server, "", ""));
    assert!(nobody.contains("user"), "{nobody}");

    // A server that was restarted knows no token of before.
    let watched = watch(&server, "mill", "secret");
    assert_eq!(watched.next(), Found::List(Some("[1]".into())));
    server.kill();
    assert!(matches!(watched.next(), Found::Away(_)));
    server.run();
    assert_eq!(watched.next(), Found::List(Some("[1]".into())));
}

/// An authority signs another, which signs server and client: whole chains must be shown, and one of several authorities
/// is the right one.
#[test]
fn certificates_are_shown_and_asked_for() {
    if left_out(&[Part::Etcd]) {
        return;
    }
    let mut server = EtcdServer::start();
    server.put(KEY, "[1]");
    let file = |name: &str| server.dir.path().join(name);
    let (root, stranger) = (Authority::new("root", None), Authority::new("stranger", None));
    let middle = Authority::new("middle", Some(&root));
    fs::write(file("ca.pem"), stranger.pem.clone() + &root.pem).expect("the authorities");
    fs::write(file("stranger.pem"), &stranger.pem).expect("an authority");
    for name in ["server", "client"] {
        middle.sign(&file(&format!("{name}.pem")), &file(&format!("{name}-key.pem")));
    }
    let right = Settings {
        tls_ca: Some(file("ca.pem")),
        tls_cert: Some(file("client.pem")),
        tls_key: Some(file("client-key.pem")),
        ..settings(&server, "", "")
    };
    let not_us = Settings { tls_cert: None, tls_key: None, ..right.clone() };
    let not_them = Settings { tls_ca: Some(file("stranger.pem")), ..right.clone() };
    server.restart_with_tls(etcd::client(&right).expect("a client"));

    let watched = Watched::start(right);
    assert_eq!(watched.next(), Found::List(Some("[1]".into())));
    server.put(KEY, "[2]");
    assert_eq!(watched.next(), Found::List(Some("[2]".into())));
    for settings in [not_us, not_them] {
        let Found::Away(why) = Watched::start(settings).next() else { panic!("a list in spite of certificates") };
        assert!(why.contains("certificate"), "{why}");
    }
}

#[test]
fn a_file_that_is_no_certificate_is_named() {
    let settings = Settings { tls_ca: Some("/dev/null".into()), ..Settings::default() };
    let told = Etcd::new(settings).err().expect("no certificate").to_string();
    assert!(told.contains("/dev/null") && told.contains("PEM"), "{told}");
}

fn settings(server: &EtcdServer, user: &str, password: &str) -> Settings {
    let endpoints = vec![server.endpoint.clone()];
    let (user, password) = (user.into(), password.into());
    Settings { endpoints, user, password, key: KEY.into(), ..Settings::default() }
}

fn watch(server: &EtcdServer, user: &str, password: &str) -> Watched {
    Watched::start(settings(server, user, password))
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

/// Signs certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str, above: Option<&Authority>) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut what = CertificateParams::new([]).expect("names");
        what.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        what.distinguished_name.push(DnType::CommonName, name);
        let pem = match above {
            None => what.self_signed(&key).expect("a certificate").pem(),
            Some(above) => what.signed_by(&key, &above.issuer).expect("a certificate").pem(),
        };
        Authority { pem, issuer: Issuer::new(what, key) }
    }

    /// A certificate for this machine, and its key.
    fn sign(&self, certificate: &Path, private: &Path) {
        let key = KeyPair::generate().expect("a key");
        let what = CertificateParams::new(["127.0.0.1".to_string()]).expect("names");
        let signed = what.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(certificate, signed.pem() + &self.pem).expect("a certificate");
        fs::write(private, key.serialize_pem()).expect("a key");
    }
}
