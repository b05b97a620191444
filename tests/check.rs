//! `logmill check` and the start of `run` through the binary: exit codes, places and cures.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{self, Place};

const GOOD: &str = r#"[cluster.default]
brokers = "127.0.0.1:1"

[deliver.game]
topics = ["a"]
group_id = "g"
app_ids = [24]
settings_dir = "settings"
dir = "out"
"#;

fn logmill(place: &Place, arguments: &[&str]) -> Output {
    place.command(arguments).output().expect("logmill runs")
}

fn check(place: &Place) -> Output {
    logmill(place, &["check", "--config", "logmill.toml"])
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Both commands refuse with exit code 1, and say the same: the place, what is wrong, what to write instead.
fn refused(place: &Place, words: &[&str]) {
    for arguments in [["check", "--config", "logmill.toml"], ["run", "--config", "logmill.toml"]] {
        let output = logmill(place, &arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
        words.iter().for_each(|word| assert!(said.contains(word), "{arguments:?}: no {word:?} in\n{said}"));
    }
    assert!(!place.path("data").exists() && !place.path("out").exists(), "nothing was begun");
}

#[test]
fn a_good_file_is_said_to_be_good() {
    let place = Place::new(GOOD);
    let output = check(&place);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(said(&output), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "logmill.toml is good: 1 task\n");
    assert!(!place.path("data").exists() && !place.path("out").exists(), "a check changes nothing");
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
        refused(&Place::new(&GOOD.replace(from, to)), words);
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
        let place = Place::new(GOOD);
        place.write(&format!("settings/mthinkingdata:{file}.24.json"), text);
        refused(&place, words);
    }
}

#[test]
fn all_problems_of_all_files_come_at_once() {
    let place = Place::new(&GOOD.replace("group_id", "grup_id").replace("\"out\"", "7"));
    place.write("settings/mthinkingdata:filter.24.json", "{ \"mode\": 1 }");
    refused(&place, &["grup_id", "logmill.toml:9:7", "filter.24.json:1:11"]);
}

#[test]
fn what_is_odd_is_a_warning_and_no_refusal() {
    let place = Place::new(&format!("{GOOD}writers = 4\n"));
    let metadata = place.path("settings/mthinkingdata:metadata.24.json");
    std::fs::remove_file(&metadata).expect("a file");
    let output = check(&place);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let said = said(&output);
    assert!(said.contains("warning") && said.contains("logmill.toml:10:11"), "{said}");
    assert!(said.contains("mthinkingdata:metadata.24.json"), "a missing metadata file is told: {said}");
}

#[test]
fn files_that_are_not_there_and_words_that_are_none() {
    let place = Place::new(GOOD);
    let missing = logmill(&place, &["check", "--config", "none.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(said(&missing).contains("none.toml"));
    for words in [&["chekc"][..], &["check", "--confg", "x"], &["check", "--config"], &[]] {
        let output = logmill(&place, words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(said(&output).contains("--help"), "{words:?}: {}", said(&output));
    }
}

/// `check` with these variables set.
fn check_under(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = place.command(&["check", "--config", "logmill.toml"]);
    command.args(arguments).envs(variables.iter().copied()).output().expect("logmill runs")
}

#[test]
fn an_overlay_has_its_own_places() {
    let place = Place::new(GOOD);
    place.write("logmill.local.toml", "[deliver.game]\n\nreaders = 0\n");
    assert_eq!(check(&place).status.code(), Some(0), "without --env it is not looked at");
    let output = check_under(&place, &["--env", "local"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("--> logmill.local.toml:3:11"), "{}", said(&output));

    for (env, words) in [("prod", "--> logmill.prod.toml"), ("../x", "no legal name of an environment")] {
        let output = check_under(&place, &["--env", env], &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
}

#[test]
fn variables_are_checked_like_the_file() {
    let place = Place::new(GOOD);
    for (name, value, message) in [
        ("LOGMILL_DELIVER__GAME__READERS", "two", "readers = two is a string"),
        ("LOGMILL_PROCESS__CORES", "[1, 1]", "cores = [1, 1] is no list of core numbers"),
        ("LOGMILL_DELIVER__GAME__TOPICS", "[\"a\"", "this is no TOML"),
        ("LOGMILL_SYSTEM__CLUSTER", "eu", "there is no section [cluster.eu]"),
        ("logmill_process__data_dir", "", "data_dir = \"\" is empty"),
    ] {
        let output = check_under(&place, &[], &[(name, value)]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(&format!("--> environment variable {name}\n")) && said.contains(message), "{said}");
    }
}

#[test]
fn a_variable_that_names_no_key_is_a_warning() {
    let place = Place::new(GOOD);
    for (name, near) in [
        ("LOGMILL_DELIVER__GMAE__READERS", "set LOGMILL_DELIVER__GAME__READERS"),
        ("LOGMILL_PROCESS_DATA_DIR", "set LOGMILL_PROCESS__DATA_DIR"),
        ("LOGMILL_DATA_DIR", "set LOGMILL_PROCESS__DATA_DIR"),
        ("LOGMILL_PROCESS__NOTHING_LIKE_THIS_AT_ALL", "unset it"),
    ] {
        let output = check_under(&place, &[], &[(name, "x")]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(0), "{name}: {said}");
        assert!(said.starts_with(&format!("warning: {name} ")) && said.contains(near), "{name}: {said}");
    }
    assert_eq!(said(&check_under(&place, &[], &[("LOGMILL_OPTIONS", "x")])), "", "it may be somebody else's");
    let two = GOOD.replace("deliver.game", "deliver.a-b") + &GOOD[GOOD.find("[deliver").expect("a task")..];
    let two = two.replace("deliver.game", "deliver.a_b").replacen("\"a\"", "\"b\"", 1).replacen("\"out\"", "\"x\"", 1);
    let output = check_under(&Place::new(&two), &[], &[("LOGMILL_DELIVER__A_B__READERS", "3")]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("may mean [deliver.a-b] or [deliver.a_b]"), "{}", said(&output));
}

#[test]
fn variables_in_texts() {
    let place = Place::new(&GOOD.replace("127.0.0.1:1", "${TEST_HOST}:1").replace("\"a\"", "\"a${TEST_TOPIC}\""));
    let output = check_under(&place, &[], &[("TEST_HOST", "h"), ("TEST_TOPIC", "-b")]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));

    let output = check_under(&place, &[], &[("TEST_HOST", "h"), ("TEST_TOPIC", "/")]);
    assert!(said(&output).contains("is no legal topic name"), "what is put in is checked: {}", said(&output));

    let missing = said(&check_under(&place, &[], &[("TEST_TOPIC", "")]));
    assert!(missing.contains("TEST_HOST is not set\n --> logmill.toml:2:11"), "{missing}");
    assert!(missing.ends_with("refused: 1 problem\n"), "nothing else is said of that value: {missing}");

    for wrong in ["${}", "${A", "${A B}"] {
        let output = check(&Place::new(&GOOD.replace("\"g\"", &format!("\"{wrong}\""))));
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("logmill.toml:6:12") && said(&output).contains("write ${NAME}"), "{wrong}");
    }
    assert_eq!(check(&Place::new(&GOOD.replace("\"g\"", "\"$${A} $5\""))).status.code(), Some(0), "an escape");
}

#[test]
fn a_line_with_a_password_is_not_repeated() {
    let text =
        GOOD.replace("[deliver", "librdkafka = { \"sasl.password\" = \"hunter2\", \"group.id\" = \"g\" }\n[deliver");
    let said = said(&check(&Place::new(&text)));
    assert!(said.contains("--> logmill.toml:4:") && !said.contains("hunter2"), "{said}");
    let unquoted = text.replace("\"hunter2\"", "hunter2");
    let said = self::said(&check(&Place::new(&unquoted)));
    assert!(said.contains("--> logmill.toml:4:") && !said.contains("hunter2"), "{said}");
}

/// Configurations of `tests/golden/broken`, each with all that is said of it: mended from that alone.
#[test]
fn broken_configurations_read_as_they_should() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/broken");
    let mut tried = 0;
    for entry in std::fs::read_dir(golden).expect("the directory") {
        let dir = entry.expect("an entry").path();
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
        let mut command = Command::new(env!("CARGO_BIN_EXE_logmill"));
        command.args(["check", "--config", "logmill.toml"]).current_dir(&dir);
        if read("logmill.local.toml").is_some() {
            command.args(["--env", "local"]);
        }
        command.envs(read("variables").iter().flat_map(|text| text.lines()).filter_map(|line| line.split_once('=')));
        let output = command.output().expect("logmill runs");
        assert_eq!(output.status.code(), Some(1), "{}", dir.display());
        let said = said(&output).replace(&dir.display().to_string(), "<here>");
        let expected = read("expected").unwrap_or_default();
        assert!(said == expected, "{} expects\n{expected}\nand hears\n{said}", dir.display());
        tried += 1;
    }
    assert!(tried >= 10, "{tried} configurations");
}

#[test]
fn the_brokers_are_asked() {
    if support::left_out(&[support::Part::Kafka]) {
        return;
    }
    let topic = support::kafka().create_topic("asked", 3);
    let brokers = support::kafka().bootstrap();
    let good = GOOD.replace("127.0.0.1:1", brokers).replace("\"a\"", &format!("{topic:?}"));
    let online = |config: &str| {
        let output = check_under(&Place::new(config), &["--online"], &[]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), said(&output))
    };
    let head = format!("logmill.toml is good: 1 task\ncluster default ({brokers}): answers\n");
    let there = format!("{head}game: topic {topic}: 3 partitions\n");
    assert_eq!(online(&good), (Some(0), there.clone(), String::new()));

    let more = good.replace(&format!("{topic:?}"), &format!("{topic:?}, \"absent\""));
    let (code, told, said) = online(&more);
    assert_eq!(code, Some(1));
    assert_eq!(
        told,
        format!("{there}game: topic absent: there is no such topic; make it, or write another name in topics\n")
    );
    assert_eq!(said, "error: not everything that the configuration names is there\n");

    let (code, told, _) = online(GOOD);
    assert_eq!(code, Some(1));
    assert!(told.contains("cluster default (127.0.0.1:1): no broker answers; "), "{told}");
}
