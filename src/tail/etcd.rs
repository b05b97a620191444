//! Entries that stand under a key of etcd v3, read and watched through its HTTP/JSON gateway. The only file that speaks
//! to etcd.
//!
//! The watch only tells that the key has changed; what it holds now is read afresh, so a burst of changes costs one
//! list. A watch is a stream of at most `WATCH`, taken up again behind the last revision: nothing is missed, and a
//! connection that died without a word is noticed in that time.
//! <https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/>

use std::io::ErrorKind::{BrokenPipe, ConnectionReset, InvalidData};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde::Deserialize;
use serde_json::json;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, http};

/// Longest wait for a connection or for an answer that is not a watch.
const ANSWER: Duration = Duration::from_secs(5);
/// How long one watch stream lasts.
const WATCH: Duration = Duration::from_secs(10);
/// Pauses between attempts while no server answers: doubled from the first to the second.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// Bytes of a list, and of one line of a watch.
const LIST_MAX: u64 = 16 << 20;
/// What the server says of a token that has expired or that a restarted server does not know.
const NO_TOKEN: u16 = 401;

/// Where the list stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// `host:port` or a URL; asked in turn.
    pub endpoints: Vec<String>,
    /// "" = no authentication.
    pub user: String,
    pub password: String,
    /// PEM files. With one of them, endpoints without a scheme are asked through TLS.
    pub tls_ca: Option<PathBuf>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub key: String,
}

/// What came from etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The value under the key; `None`: there is no such key.
    List(Option<Vec<u8>>),
    /// No endpoint answers as it should, and why; the last list stays. Told once until [`Found::List`].
    Away(String),
}

/// Why etcd did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    #[error("{}: {what}", path.display())]
    File { path: PathBuf, what: String },
    #[error("etcd {endpoint}: {what}")]
    Answer { endpoint: String, what: String },
}

impl EtcdError {
    /// It is about this file.
    pub fn is_of(&self, file: &Path) -> bool {
        matches!(self, EtcdError::File { path, .. } if path == file)
    }
}

/// One key that is watched.
pub struct Etcd {
    settings: Settings,
    agent: Agent,
    /// Of `settings.endpoints`: the one that answered last.
    endpoint: usize,
    token: Option<String>,
}

impl Etcd {
    /// # Errors
    /// A PEM file that cannot be used.
    pub fn new(settings: Settings) -> Result<Etcd, EtcdError> {
        Ok(Etcd { agent: client(&settings)?, settings, endpoint: 0, token: None })
    }

    /// Reports the list and each change of it, until `stop` is closed.
    pub fn run(mut self, stop: &Receiver<()>, report: impl Fn(Found)) {
        let (mut last, mut pause, mut away) = (None, Duration::ZERO, false);
        while stop.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            let result = self.read().and_then(|(list, revision)| {
                if away || last.as_ref() != Some(&list) {
                    report(Found::List(list.clone()));
                    last = Some(list);
                }
                (pause, away) = (Duration::ZERO, false);
                self.watch(revision + 1, stop)
            });
            if let Err(error) = result {
                self.endpoint += 1;
                pause = (pause * 2).clamp(PAUSES[0], PAUSES[1]);
                if !std::mem::replace(&mut away, true) {
                    report(Found::Away(error.to_string()));
                }
            }
        }
    }

    /// The value under the key, and the revision of this answer.
    ///
    /// # Errors
    /// No connection, a refusal, or no answer of etcd's form.
    pub fn read(&mut self) -> Result<(Option<Vec<u8>>, i64), EtcdError> {
        let asked = json!({ "key": STANDARD.encode(&self.settings.key) });
        let mut answer = self.ask("/v3/kv/range", &asked)?;
        let text = answer.with_config().limit(LIST_MAX).read_to_string().map_err(|e| self.wrong(e))?;
        let range: Range = serde_json::from_str(&text).map_err(|e| self.wrong(e))?;
        let value = range.kvs.first().map(|kv| STANDARD.decode(&kv.value)).transpose().map_err(|e| self.wrong(e))?;
        Ok((value, range.header.revision.parse().map_err(|e| self.wrong(e))?))
    }

    /// Returns once the key has changed at `revision` or later, that revision is compacted away, the stream has lasted
    /// its time, or `stop` is closed.
    pub fn watch(&mut self, revision: i64, stop: &Receiver<()>) -> Result<(), EtcdError> {
        let key = STANDARD.encode(&self.settings.key);
        let asked = json!({ "create_request": { "key": key, "start_revision": revision.to_string() } });
        let mut answer = self.ask("/v3/watch", &asked)?;
        let mut lines = BufReader::new(answer.as_reader());
        while stop.try_recv() == Err(crossbeam_channel::TryRecvError::Empty) {
            let mut line = Vec::new();
            match lines.by_ref().take(LIST_MAX).read_until(b'\n', &mut line) {
                Err(e) if is_timeout(&e) => return Ok(()),
                Err(e) => return Err(self.wrong(e)),
                Ok(0) => return Err(self.wrong("the watch has ended")),
                Ok(_) => {}
            }
            let told: Told = serde_json::from_slice(&line).map_err(|e| self.wrong(e))?;
            match told.result {
                Some(result) if result.canceled && result.compact_revision.is_none() => {
                    return Err(self.wrong("the watch was refused"));
                }
                Some(result) if result.canceled || !result.events.is_empty() => return Ok(()),
                Some(_) => {}
                None => return Err(self.wrong(String::from_utf8_lossy(&line).trim_end())),
            }
        }
        Ok(())
    }

    /// An answer of status 200, with a fresh token where the old one is not taken any more.
    fn ask(&mut self, path: &str, asked: &serde_json::Value) -> Result<Body, EtcdError> {
        if !self.settings.user.is_empty() && self.token.is_none() {
            let who = json!({ "name": self.settings.user, "password": self.settings.password });
            let mut answer = self.post("/v3/auth/authenticate", &who)?;
            let text = answer.body_mut().read_to_string().map_err(|e| self.wrong(e))?;
            let given: Given = serde_json::from_str(&text).map_err(|e| self.wrong(e))?;
            self.token = Some(given.token);
        }
        let answer = self.post(path, asked);
        if answer.is_err() {
            // Whatever it was: the next attempt begins with a new one.
            self.token = None;
        }
        answer.map(http::Response::into_body)
    }

    fn post(&self, path: &str, asked: &serde_json::Value) -> Result<http::Response<Body>, EtcdError> {
        let url = self.url(path);
        let mut request = self.agent.post(&url).content_type("application/json");
        if let Some(token) = &self.token {
            request = request.header("Authorization", token);
        }
        let mut answer = request.send(asked.to_string()).map_err(|e| self.wrong(self.no_answer(&e)))?;
        if answer.status() == 200 {
            return Ok(answer);
        }
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let refused: Refused = serde_json::from_str(&text).unwrap_or_default();
        let hint = match answer.status().as_u16() {
            NO_TOKEN if self.settings.user.is_empty() => "; write user and password below [etcd]",
            _ if refused.error.contains("invalid user ID or password") => "; check user and password below [etcd]",
            _ => "",
        };
        let what = if refused.error.is_empty() { answer.status().to_string() } else { refused.error };
        Err(self.wrong(format!("{what}{hint}")))
    }

    /// A server that asks for a certificate and is shown none hangs up, with or without a word of TLS.
    fn no_answer(&self, error: &ureq::Error) -> String {
        let has_hung_up =
            matches!(error, ureq::Error::Io(e) if matches!(e.kind(), BrokenPipe | ConnectionReset | InvalidData));
        match &self.settings.tls_cert {
            None if has_hung_up => {
                format!("{error}; if it asks for a certificate, write tls_cert and tls_key below [etcd]")
            }
            _ => error.to_string(),
        }
    }

    fn here(&self) -> &str {
        let endpoints = &self.settings.endpoints;
        endpoints.get(self.endpoint % endpoints.len().max(1)).map_or("", String::as_str)
    }

    fn url(&self, path: &str) -> String {
        let here = self.here().trim_end_matches('/');
        let tls = [&self.settings.tls_ca, &self.settings.tls_cert].into_iter().any(Option::is_some);
        match (here.contains("://"), tls) {
            (true, _) => format!("{here}{path}"),
            (false, true) => format!("https://{here}{path}"),
            (false, false) => format!("http://{here}{path}"),
        }
    }

    fn wrong(&self, what: impl ToString) -> EtcdError {
        EtcdError::Answer { endpoint: self.here().into(), what: what.to_string() }
    }
}

/// Who asks: with our certificate where there is one.
///
/// # Errors
/// A PEM file that cannot be used.
pub fn client(settings: &Settings) -> Result<Agent, EtcdError> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(ANSWER))
        .timeout_send_request(Some(ANSWER))
        .timeout_recv_response(Some(ANSWER))
        .timeout_recv_body(Some(WATCH))
        .tls_config(tls(settings)?)
        .proxy(None);
    Ok(config.build().into())
}

fn tls(settings: &Settings) -> Result<TlsConfig, EtcdError> {
    let mut config = TlsConfig::builder();
    if let Some(path) = &settings.tls_ca {
        config = config.root_certs(RootCerts::new_with_certs(&certificates(path)?));
    }
    if let (Some(cert), Some(key)) = (&settings.tls_cert, &settings.tls_key) {
        let private = PrivateKey::from_pem(&read(key)?).map_err(|e| no_pem(key, e))?;
        config = config.client_cert(Some(ClientCert::new_with_certs(&certificates(cert)?, private)));
    }
    Ok(config.build())
}

/// All of a file: authorities may be several, and our own certificate may bring those between it and the authority.
fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, EtcdError> {
    let text = read(path)?;
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(e) => Some(Err(no_pem(path, e))),
    };
    let found: Vec<_> = parse_pem(&text).filter_map(certificate).collect::<Result<_, _>>()?;
    if found.is_empty() { Err(no_pem(path, "no certificate in it")) } else { Ok(found) }
}

fn read(path: &Path) -> Result<Vec<u8>, EtcdError> {
    std::fs::read(path).map_err(|e| EtcdError::File { path: path.into(), what: e.to_string() })
}

fn no_pem(path: &Path, why: impl std::fmt::Display) -> EtcdError {
    EtcdError::File { path: path.into(), what: format!("is no PEM file: {why}") }
}

fn is_timeout(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<ureq::Error>());
    error.kind() == std::io::ErrorKind::TimedOut || matches!(inner, Some(ureq::Error::Timeout(_)))
}

#[derive(Deserialize)]
struct Range {
    header: Header,
    #[serde(default)]
    kvs: Vec<Pair>,
}

/// etcd's gateway writes 64-bit numbers as text.
#[derive(Deserialize)]
struct Header {
    revision: String,
}

#[derive(Deserialize)]
struct Pair {
    #[serde(default)]
    value: String,
}

/// A line of a watch.
#[derive(Deserialize)]
struct Told {
    result: Option<Watched>,
}

#[derive(Deserialize)]
struct Watched {
    #[serde(default)]
    canceled: bool,
    compact_revision: Option<String>,
    #[serde(default)]
    events: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Given {
    token: String,
}

#[derive(Deserialize, Default)]
struct Refused {
    #[serde(default)]
    error: String,
}
