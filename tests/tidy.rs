//! The house rules that a machine can check, over every file in `src/`: sizes, heads, the direction of imports, words
//! that must not occur, and which file may name which library. Each finding says what to write instead. And no file of
//! tests may lie there unused.

use std::path::{Path, PathBuf};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const LINE_CHARS: usize = 120;

/// The stations by floor, lowest first. A station imports only what stands on lower floors; `main.rs` and `bin/` wire
/// and may name all, `lib.rs` lists them.
const FLOORS: &[&[&str]] = &[
    &["sys", "flow"],
    &["ring", "protocol"],
    &["writer", "transform", "ledger", "fetch"],
    &["reader", "ctl", "tail"],
    &["conf"],
    &["engine"],
    &["watch"],
    &["cli", "daemon", "demo", "dry_run", "inspect", "reach"],
    &["verify", "clerk", "console"],
    &["commands"],
];

/// A word, the paths that may hold it all the same, and what to do instead.
type Rule = (&'static str, &'static [&'static str], &'static str);

const BANNED: &[Rule] = &[
    ("unbounded(", &[], "crossbeam_channel::bounded with a named limit"),
    ("std::thread::spawn", &["src/sys/"], "sys::thread::spawn: named, pinned and joined"),
    ("FIXME", &[], "do it now, or say in a comment what holds and why"),
    ("todo!", &[], "write it, or return an error that says what is missing"),
    ("unimplemented!", &[], "write it, or return an error that says what is missing"),
    ("dbg!", &[], "log::debug!"),
    ("tokio", &[], "a thread and a bounded channel: there is no async runtime here"),
    ("async_std", &[], "a thread and a bounded channel: there is no async runtime here"),
];

/// Where a foreign library may be named: each behind one file or folder.
const LIBRARIES: &[Rule] = &[
    ("rdkafka::consumer", &["src/reader/kafka/", "src/tail/recall.rs"], "the face of reader/kafka"),
    ("rd_kafka_consume", &["src/reader/kafka/"], "the face of reader/kafka"),
    ("rdkafka::producer", &["src/tail/produce", "src/demo"], "the face of tail/produce"),
    ("rd_kafka_produce", &["src/tail/produce"], "the face of tail/produce"),
    ("globset::", &["src/tail/patterns.rs"], "tail::patterns"),
    ("regex::", &["src/tail/lines.rs"], "tail::lines"),
    ("rdkafka::mocking", &["src/demo"], "the cluster that the configuration names"),
    ("lmdb::", &["src/ledger/store.rs"], "ledger::store"),
    ("inotify::", &["src/sys/"], "what sys offers"),
    ("memmap2::", &["src/sys/"], "sys::mmap"),
    ("signal_hook::", &["src/sys/"], "sys::signal"),
    ("core_affinity::", &["src/sys/"], "sys::thread"),
    ("clap::", &["src/cli", "src/main.rs", "src/bin/"], "cli"),
    ("toml::", &["src/conf/"], "conf"),
    ("env_logger::", &["src/watch/log.rs", "src/demo/place.rs", "src/bin/"], "watch::Log"),
    ("httparse::", &["src/watch/http.rs"], "watch::http"),
    ("ureq::", &["src/watch/report.rs", "src/tail/etcd.rs"], "watch::report, or tail::etcd"),
    ("annotate_snippets::", &["src/conf/explain.rs"], "conf::explain"),
];

const UNSAFE: Rule = (
    "unsafe",
    &["src/sys/", "src/reader/kafka/", "src/ring/layout.rs", "src/transform/scanner", "src/tail/produce"],
    "a safe face in sys",
);

#[test]
fn the_sources_are_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut findings = Vec::new();
    for file in sources(&root.join("src")) {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let path = file.strip_prefix(root).expect("below the root").to_str().expect("a plain name");
        findings.extend(judge(path, &text));
    }
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn no_async_runtime_comes_in_with_a_library() {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let lock = std::fs::read_to_string(lock).expect("Cargo.lock");
    let names: Vec<&str> = lock.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
    assert!(names.contains(&"\"rdkafka\""), "Cargo.lock reads differently now: mend this test");
    for runtime in ["\"tokio\"", "\"async-std\"", "\"smol\""] {
        assert!(!names.contains(&runtime), "{runtime} came in: see `cargo tree -i`, turn that feature off");
    }
}

#[test]
fn every_file_of_tests_is_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("a file of the project");
    let (suite, manifest) = (read("tests/suite.rs"), read("Cargo.toml"));
    let run = |name: &str| suite.contains(&format!("\nmod {name};")) || manifest.contains(&format!("name = {name:?}"));
    let names = root.join("tests").read_dir().expect("tests").map(|entry| entry.expect("an entry").path());
    let names = names.filter_map(|path| Some(path.file_name()?.to_str()?.strip_suffix(".rs")?.to_owned()));
    let forgotten: Vec<String> = names.filter(|name| !run(name)).collect();
    assert!(forgotten.is_empty(), "no test of these is run, write `mod` for them in tests/suite.rs: {forgotten:?}");
}

/// Every rule finds what it is there for: path, text, and a word of the finding; none where the text is in order.
#[test]
fn each_rule_bites() {
    let long_function = format!("//! A.\nimpl A {{\n    pub fn f() {{\n{}    }}\n}}\n", "        };\n".repeat(70));
    let cases: [(&str, &str, Option<&str>); 22] = [
        ("src/flow/a.rs", "//! A.\n\nfn f() {}\n", None),
        ("src/flow/a.rs", "fn f() {}\n", Some("opens with")),
        ("src/flow/a.rs", &format!("//! A.\n{}", "\n".repeat(500)), Some("501 lines")),
        ("src/flow/a.rs", &format!("//! A.\n// {}\n", "é".repeat(118)), Some("121 characters")),
        ("src/flow/a.rs", &long_function, Some("72 lines")),
        ("src/flow/a.rs", &long_function.replacen("        };\n", "", 2), None),
        ("src/reader/a.rs", "//! A.\nuse crate::writer::inbox;\nuse crate::flow::span;\n", None),
        ("src/flow/a.rs", "//! A.\nuse crate::writer::inbox;\n", Some("flow imports writer")),
        ("src/reader/a.rs", "//! A.\nuse crate::conf::Config;\n", Some("reader imports conf")),
        ("src/reader/mod.rs", "//! A.\nuse super::engine::Phase;\n", Some("reader imports engine")),
        (
            "src/ring/a.rs",
            "//! A.\nuse crate::{\n    flow::{span, Span},\n    ledger,\n};\n",
            Some("ring imports ledger"),
        ),
        ("src/ring/a.rs", "//! A. See [`crate::engine`].\n// crate::engine\n", None),
        ("src/ring/a.rs", "//! A.\nfn f() -> crate::novel::N {}\n", Some("no floor")),
        ("src/novel/a.rs", "//! A.\n", Some("no floor")),
        ("src/main.rs", "//! A.\nuse logmill::engine;\n", None),
        ("src/lib.rs", "//! A.\n#![deny(unsafe_code)]\npub mod engine;\n", None),
        ("src/ring/a.rs", "//! A.\n// FIXME later\n", Some("do it now")),
        ("src/ring/a.rs", "//! A.\nstd::thread::spawn(f);\n", Some("sys::thread::spawn")),
        ("src/sys/a.rs", "//! A.\nstd::thread::spawn(f);\nunsafe { f() };\n", None),
        ("src/writer/a.rs", "//! A.\nfn f() {\n    unsafe { f() };\n}\n", Some("a safe face")),
        ("src/tail/a.rs", "//! A.\nuse rdkafka::consumer::BaseConsumer;\n", Some("reader/kafka")),
        ("src/reader/kafka/a.rs", "//! A.\nuse rdkafka::consumer::BaseConsumer;\n", None),
    ];
    for (path, text, wanted) in cases {
        let found = judge(path, text);
        match wanted {
            None => assert_eq!(found, [""; 0], "{path}: {text}"),
            Some(word) => assert!(found.len() == 1 && found[0].contains(word), "{path}: {text}\ngives {found:?}"),
        }
    }
}

/// All that is wrong with one file; `path` is relative to the repository.
fn judge(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if !text.starts_with("//!") {
        findings.push(format!("{path}: opens with `//!`: what it is, what comes in, what goes out"));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES {
        findings.push(format!("{path}: {lines} lines, at most {FILE_LINES}: give a part of it a file of its own"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let chars = line.chars().count();
        if chars > LINE_CHARS {
            findings.push(format!("{path}:{number}: {chars} characters, at most {LINE_CHARS}: break the line"));
        }
        let code = code_of(line);
        let found = |rule: &&Rule| names(rule, path, line, code);
        let rules = BANNED.iter().chain(LIBRARIES).chain([&UNSAFE]).filter(found);
        findings.extend(rules.map(|(word, _, instead)| format!("{path}:{number}: `{word}` here; instead: {instead}")));
    }
    findings.extend(long_functions(path, text));
    findings.extend(wrong_imports(path, text));
    findings
}

/// Does the line break the rule? FIXME counts in comments too, all else in code only.
fn names((word, allowed, _): &Rule, path: &str, line: &str, code: &str) -> bool {
    let place = if *word == "FIXME" { line } else { code };
    !allowed.iter().any(|prefix| path.starts_with(prefix)) && holds_word(place, word)
}

/// `word` stands in `text` and is not the end or beginning of a longer name.
fn holds_word(text: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let after = &text[at + word.len()..];
        !text[..at].ends_with(is_name)
            && (!word.ends_with(is_name) || word.starts_with("rd_kafka") || !after.starts_with(is_name))
    })
}

/// The line without its comment. (`//` inside a string is taken for one: nothing is overlooked but the string's rest.)
fn code_of(line: &str) -> &str {
    line.find("//").map_or(line, |at| &line[..at])
}

/// Functions that are too long. In formatted code the body ends at the first `}` that stands as far left as the `fn`.
fn long_functions(path: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut findings = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| opens_function(line)) {
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends = |line: &&str| line.strip_prefix(indent) == Some("}");
        let declared = lines[at..].iter().position(|line| line.ends_with(['{', ';', '}'])).unwrap_or(0);
        if !lines[at + declared].ends_with('{') {
            continue;
        }
        let length = lines[at..].iter().position(ends).map_or(0, |end| end + 1);
        if length > FUNCTION_LINES {
            let number = at + 1;
            findings.push(format!("{path}:{number}: a function of {length} lines, at most {FUNCTION_LINES}: split it"));
        }
    }
    findings
}

fn opens_function(line: &str) -> bool {
    let before = line.trim_start().split("fn ").next().unwrap_or("");
    let words = ["pub", "pub(crate)", "pub(super)", "const", "unsafe", "extern", "\"C\"", "\"C-unwind\"", "default"];
    line.contains("fn ") && before.split_whitespace().all(|word| words.contains(&word))
}

/// Imports that do not run downwards.
fn wrong_imports(path: &str, text: &str) -> Vec<String> {
    let station = station_of(path);
    if ["lib", "main", "bin"].contains(&station) {
        return Vec::new();
    }
    let Some(own) = floor(station) else {
        return vec![format!("{path}: {station} has no floor: give it one in FLOORS of tests/tidy.rs")];
    };
    let code: String = text.lines().map(|line| format!("{}\n", code_of(line))).collect();
    let mut used = used_stations(&code, "crate::");
    if path == format!("src/{station}/mod.rs") || path == format!("src/{station}.rs") {
        used.extend(used_stations(&code, "super::").into_iter().filter(|name| floor(name).is_some()));
    }
    used.sort_unstable();
    used.dedup();
    let mut findings = Vec::new();
    for name in used.into_iter().filter(|name| *name != station) {
        match floor(name) {
            None => findings.push(format!("{path}: {name} has no floor: give it one in FLOORS of tests/tidy.rs")),
            Some(other) if other >= own => findings.push(format!(
                "{path}: {station} imports {name}, which does not stand below it: take it as a setting or a message, \
                 or move what both need down to flow"
            )),
            Some(_) => {}
        }
    }
    findings
}

/// What stands directly behind `prefix`: `crate::a::b` and `crate::{a::b, c}` name a, and a and c.
fn used_stations<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            used.push(name_at(rest));
            continue;
        };
        let mut depth = 0;
        let mut expects_name = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => expects_name = true,
                c if expects_name && depth == 0 && !c.is_whitespace() => {
                    used.push(name_at(&group[at..]));
                    expects_name = false;
                }
                _ => {}
            }
        }
    }
    used
}

fn name_at(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())]
}

fn station_of(path: &str) -> &str {
    let below = path.strip_prefix("src/").unwrap_or(path);
    below.split('/').next().unwrap_or(below).trim_end_matches(".rs")
}

fn floor(station: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&station))
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a source directory") {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
