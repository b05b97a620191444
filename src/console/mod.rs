//! The console: what `millctl` does. Commands come in; words, tables and exit codes go out. What works without the
//! running program looks at what is stored and at Kafka; all else is asked at its door.

mod failures;
mod fault;
mod place;
mod show;
mod tap;
mod top;

use std::io::{self, IsTerminal, Write};
use std::path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::millctl::{Command, Failures, Millctl, Reading, Seek, Source, Task, Which};
use crate::cli::pages;
use crate::ctl::client::{self, AskError};
use crate::ctl::protocol::{self, FileRow, Offset, Request, Status, Stopping, Target};
use crate::ctl::table;
use crate::engine;
use crate::inspect;
use crate::sys::process;
use fault::Fault;
use place::Place;

/// How often it is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(20);
/// What a stop may take beyond its own limit.
const STOP_MORE: Duration = Duration::from_secs(5);

/// Does what was typed.
pub fn run(typed: Millctl) -> ExitCode {
    let Millctl { config, env, socket, command } = typed;
    let mut out = io::stdout().lock();
    match command {
        Command::Completions { shell } => code(pages::complete_millctl(shell, &mut out).map_err(Fault::from)),
        Command::CheckLedger { dir } => engine::check_ledger(&dir),
        command => code(Place::find(config, env, socket).and_then(|place| obey(&place, command, &mut out))),
    }
}

fn code(result: Result<(), Fault>) -> ExitCode {
    match result {
        Ok(()) | Err(Fault::NobodyReads) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::from(fault.exit_code())
        }
    }
}

fn obey(place: &Place, command: Command, out: &mut impl Write) -> Result<(), Fault> {
    match command {
        Command::Offsets(reading) => repeat(&reading, out, |out| offsets(place, reading.json, out)),
        Command::Lag(reading) => repeat(&reading, out, |out| integer(out, lag(place))),
        Command::Failures(failures) => failures::run(place, failures, out),
        Command::FailureQueueCount(reading) => failures::run(place, Failures::Count(reading), out),
        Command::ClearFailureQueue => integer(out, failures::clear(place, Which::default())),
        Command::Status(reading) => repeat(&reading, out, |out| {
            let status: Status = ask(place, &Request::Status)?;
            if reading.json { json(out, &status) } else { Ok(write!(out, "{}", show::status(&status, None))?) }
        }),
        Command::Top => top::run(|| ask(place, &Request::Status)),
        Command::Tap(tap) => tap::run(&tap, |request| ask(place, request), out),
        Command::Pause(Task { task, file }) => {
            let file = file.map(path::absolute).transpose()?;
            line(out, ask(place, &Request::Pause { task, file }))
        }
        Command::Resume(Task { task, file }) => {
            let file = file.map(path::absolute).transpose()?;
            line(out, ask(place, &Request::Resume { task, file }))
        }
        Command::Seek(seek) => line(out, ask(place, &seek_request(seek)?)),
        Command::Reload => line(out, ask(place, &Request::Reload)),
        Command::Files(reading) => repeat(&reading, out, |out| {
            let rows = files(place)?;
            if reading.json { json(out, &rows) } else { Ok(write!(out, "{}", table::files(&rows))?) }
        }),
        Command::Stop => stop(place, out),
        // They need no place, and were done before one was looked for.
        Command::Completions { .. } | Command::CheckLedger { .. } => Ok(()),
    }
}

fn seek_request(Seek { task, source, to }: Seek) -> Result<Request, Fault> {
    Ok(match (source, to) {
        (Source::Partition(topic, partition), to) => Request::Seek { task, topic, partition, to },
        (Source::File(file), Target::Offset(at)) => Request::SeekFile { task, file, at: at.unsigned_abs() },
        (Source::File(_), Target::Timestamp(_)) => {
            return Err(Fault::Failed("a file goes on at a byte: write 0".into()));
        }
    })
}

/// Of the running program; of what is stored where none runs.
fn files(place: &Place) -> Result<Vec<FileRow>, Fault> {
    match client::ask(&place.socket, &Request::Files) {
        Err(AskError::NotRunning { path }) => match place.config()? {
            Some(config) => Ok(inspect::files(&config)?),
            None => Err(AskError::NotRunning { path }.into()),
        },
        told => Ok(told?),
    }
}

fn ask<T: serde::de::DeserializeOwned>(place: &Place, request: &Request) -> Result<T, Fault> {
    Ok(client::ask(&place.socket, request)?)
}

/// Once, or again and again.
fn repeat<W: Write>(
    reading: &Reading,
    out: &mut W,
    mut once: impl FnMut(&mut W) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let Some(seconds) = reading.watch else { return once(out) };
    loop {
        if io::stdout().is_terminal() && !reading.json {
            write!(out, "\x1b[H\x1b[2J")?;
        }
        match once(out) {
            Err(Fault::NobodyReads) => return Err(Fault::NobodyReads),
            Err(fault) => eprintln!("{fault}"),
            Ok(()) => {}
        }
        out.flush()?;
        sleep(Duration::from_secs(seconds));
    }
}

fn line(out: &mut impl Write, answer: Result<String, Fault>) -> Result<(), Fault> {
    Ok(writeln!(out, "{}", answer?)?)
}

fn json(out: &mut impl Write, value: &impl Serialize) -> Result<(), Fault> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}

/// Scripts read a number in any case.
fn integer(out: &mut impl Write, number: Result<i64, Fault>) -> Result<(), Fault> {
    writeln!(out, "{}", *number.as_ref().unwrap_or(&-1))?;
    number.map(drop)
}

/// `None`: the socket alone is known, so the running program has to be asked.
fn inspected(place: &Place) -> Result<Option<inspect::Offsets>, Fault> {
    place.config()?.map(|config| Ok(inspect::offsets(&config)?)).transpose()
}

fn offsets(place: &Place, as_json: bool, out: &mut impl Write) -> Result<(), Fault> {
    #[derive(Serialize)]
    struct Row {
        #[serde(flatten)]
        offset: Offset,
        lag: Option<i64>,
    }
    let asked = || Ok::<_, Fault>(inspect::Offsets { rows: ask(place, &Request::Offsets)?, troubles: Vec::new() });
    let inspect::Offsets { rows, troubles } = inspected(place)?.map_or_else(asked, Ok)?;
    let is_whole = troubles.is_empty() && protocol::lag(&rows).is_some();
    if as_json {
        let with_lag = |offset: Offset| Row { lag: offset.lag(), offset };
        json(out, &rows.into_iter().map(with_lag).collect::<Vec<_>>())?;
    } else {
        write!(out, "{}", table::offsets(&rows))?;
    }
    if is_whole { Ok(()) } else { Err(Fault::gaps(&troubles)) }
}

fn lag(place: &Place) -> Result<i64, Fault> {
    let Some(inspect::Offsets { rows, troubles }) = inspected(place)? else { return ask(place, &Request::Lag) };
    protocol::lag(&rows).filter(|_| troubles.is_empty()).ok_or_else(|| Fault::gaps(&troubles))
}

/// Until the process is gone.
fn stop(place: &Place, out: &mut impl Write) -> Result<(), Fault> {
    let began = Instant::now();
    let Stopping { pid, stop_timeout_s } = ask(place, &Request::Stop)?;
    let patience = Duration::from_secs(stop_timeout_s) + STOP_MORE;
    let bar = show::waiting(format!("process {pid} is stopping"));
    while process::is_running(pid) {
        if began.elapsed() > patience {
            return Err(Fault::Late(format!("process {pid} has not ended within {} s", patience.as_secs())));
        }
        bar.tick();
        sleep(LOOK);
    }
    bar.finish_and_clear();
    Ok(writeln!(out, "stopped after {:.1} s", began.elapsed().as_secs_f64())?)
}
