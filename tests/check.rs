//! `logmill check` and the start of `run` through the binary: exit codes, places and cures.

mod support;

use std::process::{Command, Output};

const GOOD: &str = r#"[cluster.default]
brokers = "127.0.0.1:1"

[deliver.game]
topics = ["a"]
group_id = "g"
app_ids = [24]
settings_dir = "settings"
dir = "out"
"#;

fn place(config: &str) -> tempfile::TempDir {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    support::write_settings(&dir.path().join("settings"));
    std::fs::write(dir.path().join("logmill.toml"), config).expect("a file");
    dir
}

fn logmill(dir: &tempfile::TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logmill"));
    command.args(arguments).current_dir(dir.path()).output().expect("logmill runs")
}

fn check(dir: &tempfile::TempDir) -> Output {
    logmill(dir, &["check", "--config", "logmill.toml"])
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Both commands refuse with exit code 1, and say the same: the place, what is wrong, what to write instead.
fn refused(dir: &tempfile::TempDir, words: &[&str]) {
    for arguments in [["check", "--config", "logmill.toml"], ["run", "--config", "logmill.toml"]] {
        let output = logmill(dir, &arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
        words.iter().for_each(|word| assert!(said.contains(word), "{arguments:?}: no {word:?} in\n{said}"));
    }
    assert!(!dir.path().join("data").exists() && !dir.path().join("out").exists(), "nothing was begun");
}

#[test]
fn a_good_file_is_said_to_be_good() {
    let dir = place(GOOD);
    let output = check(&dir);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(said(&output), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "logmill.toml is good: 1 task\n");
    assert!(!dir.path().join("data").exists() && !dir.path().join("out").exists(), "a check changes nothing");
}

#[test]
fn broken_configurations_are_refused_with_place_and_cure() {
    for (from, to, words) in [
        ("group_id", "grup_id", &["logmill.toml:6:1", "grup_id", "group_id"][..]),
        ("[24]", "[24", &["logmill.toml:"]),
        ("dir = \"out\"", "dir = \"out\"\nreaders = \"two\"", &["logmill.toml:10:11", "readers"]),
        ("dir = \"out\"", "dir = \"out\"\nring_size = \"3MiB\"", &["logmill.toml:10:13", "ring_size"]),
        ("dir = \"out\"", "dir = \"out\"\ncheckpoint_interval = 10", &["logmill.toml:10:23", "\"10s\""]),
        ("dir = \"out\"", "dir = \"out\"\ncluster = \"defualt\"", &["logmill.toml:10:11", "default"]),
        ("topics = [\"a\"]\n", "", &["logmill.toml:4", "topics"]),
        ("dir = \"out\"", "dir = \"out\"\nfile_name = \"log\"", &["logmill.toml:10:13", "{seq}"]),
        ("\"settings\"", "\"setings\"", &["logmill.toml:8:16", "setings"]),
        ("[deliver.game]", "[delivery.game]", &["logmill.toml:4:", "deliver"]),
    ] {
        assert!(GOOD.contains(from));
        refused(&place(&GOOD.replace(from, to)), words);
    }
}

#[test]
fn broken_settings_are_refused_with_place_and_cure() {
    for (file, text, words) in [
        ("metadata", "[\n  { \"log_name\": \"a\" \"event_type\": \"track\" }\n]", &["metadata.24.json:2:21"][..]),
        ("metadata", "[ { \"log_name\": 'a' } ]", &["metadata.24.json:1:17"]),
        ("metadata", "[ { \"log_name\": \"a\" }, { \"log_name\": \"a\" } ]", &["metadata.24.json:1:", "\"a\""]),
        ("metadata", "[ { \"log_name\": \"a\", \"event_type\": \"trakc\" } ]", &["metadata.24.json:1:", "track"]),
        ("metadata", "[ { \"log_name\": \"a\", \"cast\": { \"x\": \"int\" } } ]", &["metadata.24.json:1:", "number"]),
        ("metadata", "[] /* never closed", &["metadata.24.json:1:4"]),
        ("filter", "{ \"mode\": \"dorp\", \"names\": [] }", &["filter.24.json:1:", "drop"]),
        ("filter", "[ \"a\" ] x", &["filter.24.json:1:9"]),
        ("filter", "{ \"rules\": [ { \"when\": [ { \"field\": \"a\", \"op\": \"is\", \"value\": 1 } ] } ] }", &["eq"]),
        ("filter", "{ \"mode\": \"drop\", \"mode\": \"keep\" }", &["filter.24.json:1:19"]),
    ] {
        let dir = place(GOOD);
        std::fs::write(dir.path().join(format!("settings/mthinkingdata:{file}.24.json")), text).expect("a file");
        refused(&dir, words);
    }
}

#[test]
fn all_problems_of_all_files_come_at_once() {
    let dir = place(&GOOD.replace("group_id", "grup_id").replace("\"out\"", "7"));
    std::fs::write(dir.path().join("settings/mthinkingdata:filter.24.json"), "{ \"mode\": 1 }").expect("a file");
    refused(&dir, &["grup_id", "logmill.toml:9:7", "filter.24.json:1:11"]);
}

#[test]
fn what_is_odd_is_a_warning_and_no_refusal() {
    let dir = place(&format!("{GOOD}writers = 4\n"));
    let metadata = dir.path().join("settings/mthinkingdata:metadata.24.json");
    std::fs::remove_file(&metadata).expect("a file");
    let output = check(&dir);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let said = said(&output);
    assert!(said.contains("warning") && said.contains("logmill.toml:10:11"), "{said}");
    assert!(said.contains("mthinkingdata:metadata.24.json"), "a missing metadata file is told: {said}");
}

#[test]
fn files_that_are_not_there_and_words_that_are_none() {
    let dir = place(GOOD);
    let missing = logmill(&dir, &["check", "--config", "none.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(said(&missing).contains("none.toml"));
    for words in [&["chekc"][..], &["check", "--confg", "x"], &["check", "--config"], &[]] {
        let output = logmill(&dir, words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(said(&output).contains("--help"), "{words:?}: {}", said(&output));
    }
}
