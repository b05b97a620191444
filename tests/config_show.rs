//! Every key through the binary: set in the file, in an overlay and by a variable, shown with its origin, and refused
//! where it is wrong. The reference page is what the program prints.

use std::path::Path;
use std::process::{Command, Output};

use logmill::conf::schema::{CLUSTER, COLLECT, ETCD, Key, PROCESS, TASK};
use serde_json::{Value, json};

use crate::support::Place;

/// A key, a value that is not its default in the form in which it is shown, a wrong one, and a word of what is said
/// against that.
type Row = (&'static str, &'static str, &'static str, &'static str);

const PROCESS_ROWS: &[Row] = &[
    ("data_dir", r#""d""#, "7", "is an integer"),
    ("cores", "[0, 1]", "[0, 0]", "no list of core numbers"),
    ("stop_timeout", r#""90s""#, r#""999ms""#, "out of range"),
    ("socket", r#""s.sock""#, r#""""#, "is empty"),
    ("control_users", r#"["root", "ops", "1000"]"#, r#"["a:b"]"#, "no name of a user"),
    ("metrics_listen", r#""[::1]:9108""#, r#""9108""#, "no host:port"),
    ("log_file", r#""l""#, "[]", "is an array"),
    ("log_level", r#""debug""#, r#""INFO""#, "known words"),
    ("log_rotate", r#""day""#, r#""daily""#, "known words"),
    ("log_rotate_size", r#""4KiB""#, r#""4095B""#, "out of range"),
    ("log_keep", "1000", "0", "out of range"),
    ("stack_level", r#""warn""#, "true", "is a boolean"),
    ("report_level", r#""off""#, r#""none""#, "known words"),
    ("report_to", r#""http://h/p""#, "[\"a\"]", "is an array"),
    ("lag_alert", "100000", "-1", "out of range"),
    ("lag_alert_for", r#""1d""#, r#""25h""#, "out of range"),
    ("max_batch_time", r#""1500ms""#, r#""1500""#, "no unit"),
];

const CLUSTER_ROWS: &[Row] = &[
    ("brokers", r#""h:1,[::1]:2""#, r#""h:1;i:2""#, "no host:port"),
    ("librdkafka", r#"{ "client.id" = "x" }"#, r#"{ "client.idd" = "x" }"#, "No such configuration property"),
];

const TASK_ROWS: &[Row] = &[
    ("topics", r#"["a", "b"]"#, "[]", "is empty"),
    ("group_id", r#""it's""#, "1", "is an integer"),
    ("cluster", r#""eu""#, r#""e u""#, "no legal name"),
    ("assignment", r#""static""#, r#""group""#, "not available in this version"),
    ("start", r#""2026-01-31T00:00:00Z""#, r#""2026-01-31""#, "nor a time with its zone"),
    ("fetch", r#""native""#, r#""kafka""#, "known words"),
    ("transform", r#""none""#, r#""no""#, "known words"),
    ("app_ids", "[24, 25]", "[\"24\"]", "is a string"),
    ("settings_dir", r#""settings""#, r#""nowhere""#, "is no directory"),
    ("timezone", r#""-05:30""#, r#""UTC""#, "no offset from UTC"),
    ("value_codec", r#""snappy""#, r#""gzip""#, "known words"),
    ("max_record_bytes", r#""64MiB""#, r#""65MiB""#, "out of range"),
    ("max_line_bytes", r#""512KiB""#, r#""0""#, "out of range"),
    ("unknown_log_name", r#""park""#, r#""fail""#, "known words"),
    ("bad_property", r#""fail""#, r#""park""#, "known words"),
    ("long_string", r#""truncate""#, r#""cut""#, "known words"),
    ("add_uuid", "true", "1", "is an integer"),
    ("time_fallback", r#""now""#, r#""clock""#, "known words"),
    ("sink", r#""file""#, r#""kafka""#, "not available in this version"),
    ("dir", r#""o""#, r#""""#, "is empty"),
    ("file_name", r#""{lane}-{seq}""#, r#""x""#, "{seq} is missing"),
    ("rotate", r#""hour""#, r#""week""#, "known words"),
    ("rotate_size", r#""1GiB""#, r#""1023B""#, "out of range"),
    ("min_free", r#""10GiB""#, r#""10GB""#, "has the unit \"GB\""),
    ("lanes", "8", "1025", "out of range"),
    ("deliver_by", r#""role_id""#, "[\"role_id\"]", "is an array"),
    ("readers", "3", "65", "out of range"),
    ("writers", "4", "4.0", "is a float"),
    ("channel_capacity", "64", "0", "out of range"),
    ("ring_size", r#""32MiB""#, r#""24MiB""#, "not a power of two"),
    ("checkpoint_interval", r#""5m""#, r#""99ms""#, "out of range"),
    ("poll_timeout", r#""1ms""#, "1", "has no unit"),
    ("rate_limit", "50000", "1_000_000_001", "out of range"),
    ("failures_max", "9", "0", "out of range"),
];

const COLLECT_ROWS: &[Row] = &[
    ("paths", r#"["/a/*.log", "/b/**/c"]"#, r#"["a"]"#, "does not begin with /"),
    ("entries", r#""list.json""#, r#""nowhere.json""#, "cannot be read"),
    ("from_etcd", "true", "1", "is an integer"),
    ("topic", r#""web""#, r#""a b""#, "no legal topic name"),
    ("key", r#""front""#, r#""""#, "is empty"),
    ("cluster", r#""eu""#, r#""e u""#, "no legal name"),
    ("roots", r#"["/srv"]"#, r#""/srv""#, "is a string"),
    ("start_from", r#""beginning""#, r#""earliest""#, "known words"),
    ("partitioner", r#""key""#, r#""keys""#, "known words"),
    ("produce", r#""librdkafka""#, r#""native""#, "known words"),
    ("compression", r#""zstd""#, r#""lzma""#, "known words"),
    ("exactly_once", "true", "\"yes\"", "is a string"),
    ("positions_topic", r#""places""#, r#""..""#, "no legal topic name"),
    ("max_line_bytes", r#""64KiB""#, r#""1B""#, "out of range"),
    ("multiline_start", r#""^[0-9]""#, r#""(""#, "no regular expression"),
    ("close_delay", r#""10s""#, r#""2d""#, "out of range"),
];

const ETCD_ROWS: &[Row] = &[
    ("endpoints", r#"["h:2379", "https://i:1"]"#, r#"["h"]"#, "no host:port"),
    ("collect_key", r#""/logmill/%s""#, r#""""#, "is empty"),
    ("user", r#""mill""#, "[]", "is an array"),
    ("password", r#""(hidden)""#, "7", "is an integer"),
    ("tls_ca", r#""cert.pem""#, r#""logmill.toml""#, "no PEM file"),
    ("tls_cert", r#""cert.pem""#, "7", "is an integer"),
    ("tls_key", r#""key.pem""#, "7", "is an integer"),
];

const SECTIONS: [(&str, &[Key], &[Row]); 5] = [
    ("process", PROCESS, PROCESS_ROWS),
    ("cluster.eu", CLUSTER, CLUSTER_ROWS),
    ("deliver.game", TASK, TASK_ROWS),
    ("collect.web", COLLECT, COLLECT_ROWS),
    ("etcd", ETCD, ETCD_ROWS),
];

/// What the rows of a task cannot do without.
const BARE: &str = r#"
[cluster.default]
brokers = "h:1"
[deliver.game]
topics = ["t"]
group_id = "g"
app_ids = [24]
settings_dir = "settings"
dir = "out"
"#;

/// A place with all that a row names.
fn place(config: &str) -> Place {
    let place = Place::new(config);
    place.write("settings/mthinkingdata:metadata.25.json", "[]");
    place.write("list.json", "[]");
    place.write("cert.pem", "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n");
    place.write("key.pem", "-----BEGIN PRIVATE KEY-----\nMAAA\n-----END PRIVATE KEY-----\n");
    place
}

impl Place {
    fn run(&self, arguments: &[&str], variables: &[(String, String)]) -> Output {
        let mut command = self.command(arguments);
        command.args(["--config", "logmill.toml"]).envs(variables.iter().cloned()).output().expect("logmill runs")
    }

    /// What `config show` prints; panics where it refuses.
    fn shown(&self, arguments: &[&str], variables: &[(String, String)]) -> String {
        let output = self.run(&[&["config", "show"], arguments].concat(), variables);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn json(&self, arguments: &[&str], variables: &[(String, String)]) -> Value {
        serde_json::from_str(&self.shown(&[&["--json"], arguments].concat(), variables)).expect("JSON")
    }
}

/// All rows as a file.
fn all_rows(value: fn(&Row) -> &'static str) -> String {
    SECTIONS.iter().fold(String::new(), |text, (heading, _, rows)| {
        rows.iter().fold(format!("{text}[{heading}]\n"), |text, row| format!("{text}{} = {}\n", row.0, value(row)))
    })
}

/// `key = value  # …origin`, in the section with this heading.
#[track_caller]
fn assert_shown(shown: &str, heading: &str, key: &str, value: &str, origin: &str) {
    let section = shown.split("\n[").find(|s| s.trim_start_matches('[').starts_with(&format!("{heading}]")));
    let section = section.unwrap_or_else(|| panic!("no [{heading}] in\n{shown}"));
    let line = section.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap_or_else(|| panic!("{key}"));
    let (written, remark) = line.split_once("  # ").expect("a remark");
    assert_eq!(written.trim_end(), format!("{key} = {value}"));
    let at = remark.rsplit(", ").next().expect("an origin");
    assert_eq!(at, origin, "{line}");
}

#[test]
fn the_rows_name_every_key() {
    for (heading, keys, rows) in SECTIONS {
        let known: Vec<&str> = keys.iter().filter(|key| key.is_available()).map(|key| key.name).collect();
        let tried: Vec<&str> = rows.iter().map(|row| row.0).collect();
        assert_eq!(tried, known, "{heading}");
    }
}

#[test]
fn every_key_of_the_file_is_shown_with_its_line() {
    let text = all_rows(|row| row.1);
    let shown = place(&text).shown(&[], &[]);
    for (heading, _, rows) in SECTIONS {
        let first = text.lines().position(|line| line == format!("[{heading}]")).expect("the heading") + 2;
        for (line, (key, value, ..)) in (first..).zip(rows) {
            assert_shown(&shown, heading, key, value, &format!("logmill.toml:{line}"));
        }
    }
}

#[test]
fn every_key_is_set_by_a_variable() {
    let web = "[collect.web]\npaths = [\"/a\"]\ntopic = \"t\"\n";
    let text = format!("{BARE}[cluster.eu]\nbrokers = \"h:1\"\n{web}");
    let variable = |heading: &str, key: &str| format!("LOGMILL_{}__{key}", heading.replace('.', "__")).to_uppercase();
    let bare = |value: &str| match value.strip_prefix('"') {
        Some(text) => text.trim_end_matches('"').to_string(),
        None => value.to_string(),
    };
    let rows = || SECTIONS.iter().flat_map(|(heading, _, rows)| rows.iter().map(move |row| (*heading, row)));
    let variables: Vec<_> = rows().map(|(heading, (key, value, ..))| (variable(heading, key), bare(value))).collect();
    let shown = place(&text).shown(&[], &variables);
    for (heading, (key, value, ..)) in rows() {
        assert_shown(&shown, heading, key, value, &variable(heading, key));
    }
}

#[test]
fn every_key_is_refused_where_it_is_wrong() {
    let text = all_rows(|row| row.2);
    let output = place(&text).run(&["check"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let problems: Vec<&str> = said.split("\n\n").collect();
    for (heading, _, rows) in SECTIONS {
        let first = text.lines().position(|line| line == format!("[{heading}]")).expect("the heading") + 2;
        for (line, (key, _, wrong, word)) in (first..).zip(rows) {
            let place = format!("--> logmill.toml:{line}:");
            let found: Vec<_> = problems.iter().filter(|problem| problem.contains(&place)).collect();
            let [problem] = found[..] else { panic!("{key} = {wrong}: {found:?}\n{said}") };
            assert!(problem.contains(word) && problem.contains("= help: "), "{key} = {wrong}:\n{problem}");
        }
    }
}

#[test]
fn layers_are_laid_over_one_another_key_by_key() {
    let place = place(&format!("{BARE}readers = 3\nlanes = 2\n[system]\nwriters = 2\nlanes = 4\nreaders = 5\n"));
    place.write(
        "logmill.local.toml",
        "[deliver.game]\nconsumerNum = 4\n[system]\nring_size = \"16MiB\"\n[process]\ncores = [0]\n",
    );
    let variables = [("logmill_Deliver__Game__Lanes".to_string(), "6".to_string())];
    let alone = place.shown(&[], &[]);
    assert_shown(&alone, "deliver.game", "readers", "3", "logmill.toml:10");
    assert_shown(&alone, "deliver.game", "lanes", "2", "logmill.toml:11");
    assert_shown(&alone, "deliver.game", "writers", "2", "logmill.toml:13 [system]");
    assert_shown(&alone, "deliver.game", "ring_size", "\"8MiB\"", "default");

    let over = place.shown(&["--env", "local"], &variables);
    assert_shown(&over, "deliver.game", "readers", "4", "logmill.local.toml:2");
    assert_shown(&over, "deliver.game", "lanes", "6", "logmill_Deliver__Game__Lanes");
    assert_shown(&over, "deliver.game", "ring_size", "\"16MiB\"", "logmill.local.toml:4 [system]");
    assert_shown(&over, "process", "cores", "[0]", "logmill.local.toml:6");
    // It depends on lanes.
    assert_shown(&over, "deliver.game", "file_name", "\"{lane}_log.%Y-%m-%d_{seq}\"", "default");
}

#[test]
fn an_overlay_adds_sections() {
    let place = place(BARE);
    let task = BARE.split_once("[deliver.game]").expect("a task").1;
    let task = task.replace("\"t\"", "\"u\"").replace("\"out\"", "\"out2\"");
    place.write(
        "logmill.local.toml",
        &format!("[cluster.eu]\nbrokers = \"i:1\"\n[deliver.two]\ncluster = \"eu\"\n{task}"),
    );
    let names =
        |shown: &Value, group: &str| shown[group].as_object().expect("a group").keys().cloned().collect::<Vec<_>>();
    let shown = place.json(&["--env", "local"], &[]);
    assert_eq!(
        (names(&shown, "cluster"), names(&shown, "deliver")),
        (vec!["default".into(), "eu".into()], vec!["game".into(), "two".into()])
    );
    let two = place.json(&["--env", "local", "--task", "two"], &[]);
    assert_eq!((names(&two, "cluster"), names(&two, "deliver")), (vec!["eu".into()], vec!["two".into()]));
    assert!(two.get("process").is_none());
}

/// What is shown is a configuration again, and means the same.
#[test]
fn what_is_shown_can_be_read_again() {
    for text in [all_rows(|row| row.1), BARE.to_string()] {
        let first = place(&text).shown(&[], &[]);
        let again = place(&first).shown(&[], &[]);
        let values = |shown: &str| -> Vec<String> {
            let lines = shown.lines().map(|line| line.split("  # ").next().unwrap_or_default().trim_end().to_string());
            lines.collect()
        };
        assert_eq!(values(&again), values(&first));
    }
}

#[test]
fn json_has_numbers_in_their_units() {
    let place = place(&format!("{BARE}poll_timeout = \"1s\"\nmin_free = \"1GiB\"\n[system]\nrate_limit = 7\n"));
    let shown = place.json(&[], &[("LOGMILL_PROCESS__LAG_ALERT".into(), "9".into())]);
    let game = &shown["deliver"]["game"];
    let origin = |line: u64, column: u64, section: Option<&str>| {
        let place = ("logmill.toml", line, column);
        json!({ "kind": "file", "file": place.0, "line": place.1, "column": place.2, "section": section })
    };
    assert_eq!(
        game["poll_timeout"],
        json!({ "value": 1000, "unit": "ms", "change": "live", "origin": origin(10, 16, None) })
    );
    assert_eq!(
        game["min_free"],
        json!({ "value": 1 << 30, "unit": "bytes", "change": "live", "origin": origin(11, 12, None) })
    );
    assert_eq!(
        game["rate_limit"],
        json!({ "value": 7, "unit": "records/s", "change": "live", "origin": origin(13, 14, Some("system")) })
    );
    assert_eq!(game["app_ids"]["value"], json!([24]));
    assert_eq!(
        game["deliver_by"],
        json!({ "value": null, "unit": null, "change": "task", "origin": { "kind": "default" } })
    );
    assert_eq!(
        shown["process"]["lag_alert"],
        json!({ "value": 9, "unit": "records", "change": "process",
                "origin": { "kind": "variable", "variable": "LOGMILL_PROCESS__LAG_ALERT" } })
    );
}

#[test]
fn secrets_are_not_shown() {
    let text = BARE.replace(
        "\"h:1\"",
        "\"${TEST_HOST}:1\"\nlibrdkafka = { \"sasl.password\" = \"hunter2\", \"client.id\" = \"${TEST_ID}\", \
         \"client.rack\" = \"open\" }",
    );
    let place = place(&format!("{text}[process]\nreport_to = \"http://h/${{TEST_KEY}}\"\n"));
    let variables = [("TEST_HOST", "hidden1"), ("TEST_ID", "hidden2"), ("TEST_KEY", "hidden3")];
    let variables = variables.map(|(name, value)| (name.to_string(), value.to_string()));
    let shown = place.shown(&[], &variables);
    assert_shown(&shown, "cluster.default", "brokers", "\"${TEST_HOST}:1\"", "logmill.toml:3");
    assert_shown(&shown, "process", "report_to", "\"http://h/${TEST_KEY}\"", "logmill.toml:12");
    let properties = r#"{ "client.id" = "${TEST_ID}", "client.rack" = "open", "sasl.password" = "(hidden)" }"#;
    assert_shown(&shown, "cluster.default", "librdkafka", properties, "logmill.toml:4");
    let json = place.json(&[], &variables);
    let wanted = json!({ "client.id": "(hidden)", "client.rack": "open", "sasl.password": "(hidden)" });
    assert_eq!(json["cluster"]["default"]["librdkafka"]["value"], wanted);
    for shown in [shown, json.to_string()] {
        assert!(!shown.contains("hunter2") && !shown.contains("hidden1") && !shown.contains("hidden3"), "{shown}");
    }
}

#[test]
fn a_task_that_is_not_there_and_a_file_that_is_wrong() {
    let place = place(BARE);
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let output = place.run(&["config", "show", "--task", "gmae"], &[]);
    assert_eq!(
        (output.status.code(), said(&output)),
        (Some(1), "error: there is no task gmae; did you mean game?\n".into())
    );
    place.write("logmill.toml", &BARE.replace("group_id", "grup_id"));
    let output = place.run(&["config", "show"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty() && said(&output).contains("write group_id"), "{}", said(&output));
}

#[test]
fn a_dry_run_takes_the_overlay() {
    let place = place(BARE);
    place.write("logmill.raw.toml", "[deliver.game]\ntransform = \"none\"\n");
    place.write("records", "as it is\n");
    let out = |arguments: &[&str]| {
        let mut command = place.command(&["transform", "--config", "logmill.toml", "--task", "game"]);
        let records = std::fs::File::open(place.path("records")).expect("the records");
        let output = command.args(arguments).stdin(records).output().expect("logmill runs");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!((out(&[]), out(&["--env", "raw"])), (String::new(), "as it is\n".into()));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let script = "\"$0\" config reference | true; exit ${PIPESTATUS[0]}";
    let bash = |run: &mut Command| run.output().expect("bash runs");
    let output = bash(Command::new("bash").args(["-c", script, env!("CARGO_BIN_EXE_logmill")]));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_reference_page_is_what_the_program_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_logmill")).args(["config", "reference"]).output().expect("it runs");
    let printed = String::from_utf8(output.stdout).expect("text");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let kept = std::fs::read_to_string(page).expect("docs/configuration.md");
    assert!(kept == printed, "run: cargo run -- config reference > docs/configuration.md");
}
