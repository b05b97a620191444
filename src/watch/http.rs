//! A small HTTP server for numbers: a few connections at a time, each with one request and a deadline. Whoever is slow
//! is cut off.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::metrics::Sight;
use crate::sys::thread;

/// Connections that are served at the same time; more are refused at once.
const CONNECTIONS_MAX: usize = 16;
/// Bytes of a request's head.
const REQUEST_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 64;
/// From the connection to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(5);
const HANG_UP: Duration = Duration::from_secs(1);
/// Wait after a connection that the kernel could not give, as where all files are in use.
const REFUSED: Duration = Duration::from_millis(100);

const PAGE: &str = include_str!("page.html");
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// A bound address.
pub struct Server {
    listener: TcpListener,
}

struct Answer {
    status: &'static str,
    kind: &'static str,
    body: String,
}

impl Server {
    /// # Errors
    /// The address is in use, or is none of this machine.
    pub fn bind(address: &str) -> Result<Server, String> {
        let listener =
            TcpListener::bind(address).map_err(|e| format!("cannot listen on {address} (metrics_listen): {e}"))?;
        Ok(Server { listener })
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// The kernel has no room for a thread.
    pub fn serve(self, sight: Sight) -> io::Result<()> {
        let address = self.listener.local_addr()?;
        log::info!("numbers: http://{address}/metrics, /health, and / with charts");
        let sight = Arc::new(sight);
        let busy = Arc::new(AtomicUsize::new(0));
        thread::spawn("http", None, move || {
            for stream in self.listener.incoming() {
                match stream {
                    Ok(stream) => accept(stream, &sight, &busy),
                    Err(_) => std::thread::sleep(REFUSED),
                }
            }
        })
        .map(drop)
    }
}

/// One thread for each connection, as long as there are few.
fn accept(stream: TcpStream, sight: &Arc<Sight>, busy: &Arc<AtomicUsize>) {
    let now = busy.fetch_add(1, Ordering::Relaxed);
    let leave = busy.clone();
    if now >= CONNECTIONS_MAX {
        leave.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let sight = sight.clone();
    let served = thread::spawn("http-one", None, move || {
        // A client that goes away, or is too slow, gets nothing; nobody else minds.
        let _ = talk(&stream, &sight);
        leave.fetch_sub(1, Ordering::Relaxed);
    });
    if served.is_err() {
        busy.fetch_sub(1, Ordering::Relaxed);
    }
}

fn talk(stream: &TcpStream, sight: &Sight) -> io::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    let mut head = Vec::new();
    let (answer, with_body) = loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&head) {
            Ok(httparse::Status::Complete(_)) => {
                let (method, path) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
                break (answer(method, path, sight), method != "HEAD");
            }
            Ok(httparse::Status::Partial) if head.len() < REQUEST_MAX => {}
            Ok(httparse::Status::Partial) => break (refuse("431 Request Header Fields Too Large"), true),
            Err(_) => break (refuse("400 Bad Request"), true),
        }
        let mut more = [0; 1024];
        stream.set_read_timeout(Some(left(deadline)?))?;
        match (&*stream).read(&mut more)? {
            0 => return Ok(()),
            n => head.extend_from_slice(&more[..n]),
        }
    };
    let Answer { status, kind, body } = answer;
    let length = body.len();
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    .into_bytes();
    if with_body {
        bytes.extend_from_slice(body.as_bytes());
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        match (&*stream).write(rest)? {
            0 => return Ok(()),
            n => rest = &rest[n..],
        }
    }
    hang_up(stream)
}

/// What the client still sends is read a little while: the kernel would take the answer back otherwise.
fn hang_up(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + HANG_UP;
    loop {
        stream.set_read_timeout(Some(left(deadline)?))?;
        if stream.read(&mut [0; 1024])? == 0 {
            return Ok(());
        }
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    deadline.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()).ok_or(io::ErrorKind::TimedOut.into())
}

fn answer(method: &str, target: &str, sight: &Sight) -> Answer {
    if method != "GET" && method != "HEAD" {
        return refuse("405 Method Not Allowed");
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let fine = |kind, body| Answer { status: "200 OK", kind, body };
    match path {
        "/" => fine(HTML, PAGE.into()),
        "/metrics" => fine(METRICS, sight.metrics()),
        "/samples" => {
            let after = query.strip_prefix("after=").and_then(|n| n.parse().ok()).unwrap_or(0);
            fine(JSON, sight.samples(after))
        }
        "/health" => {
            let (well, body) = sight.health();
            Answer { status: if well { "200 OK" } else { "503 Service Unavailable" }, kind: JSON, body }
        }
        _ => refuse("404 Not Found"),
    }
}

fn refuse(status: &'static str) -> Answer {
    let body = format!("{status}. There are /, /metrics and /health.\n");
    Answer { status, kind: TEXT, body }
}
