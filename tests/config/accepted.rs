//! What is accepted: defaults, fall-back, units, old names, and the delivered files as they stand.

use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;
use logmill::conf::config::{Cores, Log, LogRotate, Process, Transform};
use logmill::conf::schema::{CLUSTER, COLLECT, Change, ETCD, Key, PROCESS, TASK};
use logmill::conf::{explain, load};
use logmill::flow::cluster::Start;
use logmill::flow::name::Rotate;
use logmill::transform::{Options, UnknownLog, ValueCodec};

use super::{Place, TASK_LINES, accepted, task};

#[test]
fn a_task_with_its_mandatory_keys_is_accepted() {
    let loaded = accepted(TASK_LINES);
    assert_eq!(loaded.warnings, []);
    assert!(loaded.programs.contains_key("game"));
    let process = &loaded.config.process;
    assert_eq!((process.data_dir.as_path(), &process.cores), (Path::new("data"), &Cores::Auto));
    assert_eq!(process.stop_timeout, Duration::from_secs(30));
    let task = &loaded.config.deliver[0];
    assert_eq!((task.name.as_str(), task.cluster.brokers.as_str()), ("game", "localhost:9092"));
    assert_eq!((&task.topics, task.group_id.as_str()), (&vec!["a".to_string()], "g"));
    assert_eq!((task.start, task.transform), (Start::Earliest, Transform::Te));
    assert_eq!((&task.app_ids, &task.dir), (&vec!["24".to_string()], &PathBuf::from("out")));
    assert_eq!(task.options, Options::default());
    assert_eq!((task.file_name.as_str(), task.rotate), ("log.%Y-%m-%d_{seq}", Rotate::Day));
    assert_eq!((task.rotate_size, task.min_free, task.rate_limit), (0, 0, 0));
    assert_eq!((task.readers, task.writers, task.lanes, task.deliver_by.as_ref()), (2, 1, 1, None));
    assert_eq!((task.channel_capacity, task.ring_size, task.failures_max), (1024, 8 << 20, 1_000_000));
    assert_eq!((task.checkpoint_interval, task.poll_timeout), (Duration::from_secs(10), Duration::from_millis(100)));
}

#[test]
fn every_key_is_read() {
    let task = task(&format!(
        r#"{TASK_LINES}
        cluster = "default"
        assignment = "static"
        start = 2020-12-17T13:50:43+08:00
        fetch = "librdkafka"
        sink = "file"
        timezone = "-05:30"
        value_codec = "snappy"
        max_record_bytes = "2MiB"
        max_line_bytes = 524288
        unknown_log_name = "park"
        bad_property = "fail"
        long_string = "truncate"
        add_uuid = true
        time_fallback = "now"
        file_name = "{{app_id}}/{{lane}}.{{seq}}"
        rotate = "none"
        rotate_size = "1GiB"
        min_free = "10GiB"
        lanes = 8
        deliver_by = "role_id"
        readers = 4
        writers = 3
        channel_capacity = 64
        ring_size = "4MiB"
        checkpoint_interval = "500ms"
        poll_timeout = "1s"
        rate_limit = 5000
        failures_max = 9
        "#
    ));
    assert_eq!(task.start, Start::Timestamp(1_608_184_243_000));
    let options = Options {
        timezone_s: -19_800,
        value_codec: ValueCodec::Snappy,
        max_record_bytes: 2 << 20,
        max_line_bytes: 512 << 10,
        unknown_log_name: UnknownLog::Park,
        fail_bad_property: true,
        truncate_long_string: true,
        add_uuid: true,
        time_fallback_now: true,
    };
    assert_eq!(task.options, options);
    assert_eq!((task.file_name.as_str(), task.rotate), ("{app_id}/{lane}.{seq}", Rotate::None));
    assert_eq!((task.rotate_size, task.min_free, task.rate_limit), (1 << 30, 10 << 30, 5000));
    assert_eq!((task.readers, task.writers, task.lanes, task.deliver_by.as_deref()), (4, 3, 8, Some("role_id")));
    assert_eq!((task.channel_capacity, task.ring_size, task.failures_max), (64, 4 << 20, 9));
    assert_eq!((task.checkpoint_interval, task.poll_timeout), (Duration::from_millis(500), Duration::from_secs(1)));
}

#[test]
fn every_key_of_the_process_is_read() {
    let lines = r#"[process]
        data_dir = "d"
        cores = [1, 0]
        stop_timeout = "1s"
        socket = "s"
        control_users = ["ops", 1000]
        metrics_listen = "[::1]:9108"
        log_file = "l"
        log_level = "debug"
        log_rotate_size = "1MiB"
        log_keep = 3
        stack_level = "error"
        report_level = "off"
        report_to = "mail root"
        lag_alert = 5
        lag_alert_for = "2s"
        max_batch_time = "3s"
        "#;
    let process = |more: &str| accepted(&format!("{TASK_LINES}{lines}{more}\n")).config.process;
    let log = |rotate| Log { file: Some("l".into()), level: LevelFilter::Debug, rotate, keep: 3 };
    let expected = Process {
        data_dir: "d".into(),
        cores: Cores::These(vec![1, 0]),
        stop_timeout: Duration::from_secs(1),
        socket: "s".into(),
        control_users: vec!["ops".into(), "1000".into()],
        metrics_listen: Some("[::1]:9108".into()),
        log: log(LogRotate::AtSize(1 << 20)),
        stack_level: LevelFilter::Error,
        report_level: LevelFilter::Off,
        report_to: Some("mail root".into()),
        lag_alert: 5,
        lag_alert_for: Duration::from_secs(2),
        max_batch_time: Duration::from_secs(3),
        effective: process("").effective,
    };
    assert_eq!(process(""), expected);
    assert_eq!(process("log_rotate = \"day\"").log, log(LogRotate::Daily));
    assert_eq!(process("log_rotate = \"none\"").log, log(LogRotate::Never));
    let unset = accepted(TASK_LINES).config.process;
    assert_eq!((unset.log.file, unset.metrics_listen, unset.report_to), (None, None, None));
    assert_eq!((unset.socket.as_path(), unset.control_users), (Path::new("run/logmill.sock"), Vec::<String>::new()));
}

#[test]
fn what_was_read_is_told() {
    let place = Place::new("");
    place.load(TASK_LINES).unwrap_or_else(|problems| panic!("{}", explain(&problems)));
    let overlay = place.path("logmill.local.toml");
    std::fs::write(&overlay, "[deliver.game]\nreaders = 3\n").expect("the overlay");
    let loaded = load(&place.file(), Some("local")).unwrap_or_else(|problems| panic!("{}", explain(&problems)));
    assert_eq!(loaded.sources, [overlay, place.file(), place.path("settings")]);
    assert_eq!(loaded.config.deliver[0].readers, 3);
}

#[test]
fn limits_belong_to_the_range() {
    let task = task(&format!("{TASK_LINES}readers = 64\nlanes = 1024\npoll_timeout = \"10s\"\nring_size = \"1GiB\"\n"));
    assert_eq!((task.readers, task.lanes, task.ring_size), (64, 1024, 1 << 30));
    assert_eq!(task.poll_timeout, Duration::from_secs(10));
}

#[test]
fn a_task_falls_back_to_system_and_then_to_the_default() {
    let text = format!(
        "{TASK_LINES}readers = 3\n[system]\nreaders = 4\nwriters = 5\nlanes = 8\ngroup_id = \"s\"\n\
         [deliver.other]\ntopics = [\"b\"]\ntransform = \"none\"\ndir = \"out2\"\n"
    );
    let config = accepted(&text).config;
    let [game, other] = config.deliver.as_slice() else { panic!("two tasks") };
    assert_eq!((game.readers, game.writers, game.channel_capacity), (3, 5, 1024));
    assert_eq!((other.readers, other.writers, other.channel_capacity), (4, 5, 1024));
    assert_eq!((game.group_id.as_str(), other.group_id.as_str()), ("g", "s"));
}

#[test]
fn tasks_stand_in_the_order_of_the_file() {
    let task = |name: &str| format!("[deliver.{name}]\ntopics = [\"{name}\"]\ndir = \"{name}\"\n");
    let system = "[cluster.default]\nbrokers = \"h:1\"\n[system]\ngroup_id = \"g\"\ntransform = \"none\"\n";
    let text = ["zoo", "ape", "mew"].iter().fold(system.to_string(), |text, name| text + &task(name));
    let names: Vec<String> = accepted(&text).config.deliver.into_iter().map(|task| task.name).collect();
    assert_eq!(names, ["zoo", "ape", "mew"]);
}

#[test]
fn old_names_are_accepted() {
    let text = TASK_LINES.replace("topics", "queue").replace("group_id", "key").replace("default", "main");
    let task = task(&format!(
        "{text}exchange = \"main\"\nconsumerNum = 3\nchannelLength = 7\ndeliverBy = \"uid\"\nlanes = 2\nblock = \"2s\"\n"
    ));
    assert_eq!((&task.topics, task.group_id.as_str()), (&vec!["a".to_string()], "g"));
    assert_eq!((task.cluster.name.as_str(), task.readers, task.channel_capacity), ("main", 3, 7));
    assert_eq!((task.deliver_by.as_deref(), task.poll_timeout), (Some("uid"), Duration::from_secs(2)));
}

#[test]
fn the_default_file_name_follows_rotation_and_lanes() {
    let name = |lines: &str| task(&format!("{TASK_LINES}{lines}\n")).file_name;
    assert_eq!(name("rotate = \"hour\""), "log.%Y-%m-%d-%H_{seq}");
    assert_eq!(name("rotate = \"none\""), "log.%Y-%m-%d_{seq}");
    assert_eq!(name("lanes = 4"), "{lane}_log.%Y-%m-%d_{seq}");
    assert_eq!(name("lanes = 4\nrotate = \"hour\""), "{lane}_log.%Y-%m-%d-%H_{seq}");
}

#[test]
fn warnings_about_settings_are_passed_on() {
    let loaded = accepted(&TASK_LINES.replace("[24]", "[24, 25]"));
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert!(warning.file.ends_with("settings/mthinkingdata:metadata.25.json"), "{warning}");
}

#[test]
fn properties_go_to_the_client_library_as_text() {
    let text = TASK_LINES.replace(
        "9092\"\n",
        "9092\"\nlibrdkafka = { \"security.protocol\" = \"SSL\", \
         \"fetch.max.bytes\" = 1000, \"check.crcs\" = true }\n",
    );
    let mut pairs = task(&text).cluster.librdkafka;
    pairs.sort();
    let expected = [("check.crcs", "true"), ("fetch.max.bytes", "1000"), ("security.protocol", "SSL")];
    assert_eq!(pairs, expected.map(|(name, value)| (name.to_string(), value.to_string())));
}

#[test]
fn a_task_without_transform_needs_no_settings() {
    let text = TASK_LINES.replace("app_ids = [24]\nsettings_dir = \"SETTINGS\"\n", "transform = \"none\"\n");
    let loaded = accepted(&text);
    assert_eq!(loaded.config.deliver[0].transform, Transform::None);
    assert!(loaded.programs.is_empty());
}

#[test]
fn what_is_legal_and_idle_is_a_warning() {
    let place = Place::new("");
    let text = format!("{TASK_LINES}writers = 2\ndeliver_by = \"uid\"\n");
    let loaded = place.load(&text).unwrap_or_else(|p| panic!("{p:?}"));
    assert_eq!(
        place.said(&loaded.warnings),
        [
            "logmill.toml:10:11: writers = 2 of game: only 1 will work, each writer takes whole lanes; \
             write lanes = 2 or more",
            "logmill.toml:11:14: deliver_by of game has no effect: it chooses among lanes, and lanes = 1; \
             write lanes = 2 or more, or remove it",
        ]
    );
}

/// A key that is shown in a comment, `#key = value`, is set to what is shown; prose has a blank behind its #.
fn with_every_key_set(text: &str) -> String {
    let set = |line: &str| match line.strip_prefix('#') {
        Some(key) if !key.is_empty() && !key.starts_with([' ', '-']) => format!("{key}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(set).collect()
}

#[test]
fn the_delivered_file_runs_and_shows_every_key_with_its_default() {
    let loaded = load(Path::new("conf/logmill.toml"), None).unwrap_or_else(|problems| panic!("{}", explain(&problems)));
    assert_eq!(loaded.warnings, []);
    let task = &loaded.config.deliver[0];
    assert_eq!((task.name.as_str(), &task.app_ids), ("game_24", &vec!["24".to_string()]));
    assert_eq!((task.cluster.brokers.as_str(), task.dir.as_path()), ("localhost:9092", Path::new("data/out/24")));

    let text = std::fs::read_to_string("conf/logmill.toml").expect("the delivered file");
    let place = Place::new("");
    let list = place.path("collect.json");
    std::fs::write(&list, "[]").expect("a list");
    let all_set = with_every_key_set(&text).replace("conf/collect.json", list.to_str().expect("a plain name"));
    let mut set = place.load(&all_set).unwrap_or_else(|problems| panic!("{}", explain(&problems))).config;
    // The one key that has an example instead of a default.
    assert_eq!(set.deliver[0].deliver_by.take().as_deref(), Some("role_id"));
    assert_eq!(set.deliver[0].effective.changed(&task.effective), [("deliver_by", Change::Task)]);
    set.deliver[0].effective = task.effective.clone();
    // The sections that stand there as an example.
    let web = set.collect.remove(0);
    let bare =
        accepted("[cluster.default]\nbrokers = \"localhost:9092\"\n[collect.web]\npaths = [\"/a\"]\ntopic = \"t\"");
    let examples = ["entries", "key", "multiline_start", "paths", "positions_topic", "roots", "topic"];
    let changed = web.effective.changed(&bare.config.collect[0].effective);
    assert_eq!(changed.iter().map(|(name, _)| *name).collect::<Vec<_>>(), examples);
    assert_eq!(set.etcd.take().map(|etcd| (etcd.user, etcd.password, etcd.tls_ca)), Some(Default::default()));
    assert_eq!(set, loaded.config);

    let shown: Vec<&str> = all_set.lines().filter_map(|line| line.split_once(" = ").map(|(key, _)| key)).collect();
    let known = [PROCESS, CLUSTER, TASK, COLLECT, ETCD].into_iter().flatten().filter(|key| key.is_available());
    let missing: Vec<&str> = known.map(|key| key.name).filter(|name| !shown.contains(name)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn examples_in_messages_are_accepted() {
    let place = Place::new("");
    let section = |heading: &str, keys: &[Key]| {
        let known = keys.iter().filter(|key| !key.example.is_empty());
        known.fold(format!("[{heading}]\n"), |text, key| format!("{text}{} = {}\n", key.name, key.example))
    };
    let text = section("process", PROCESS) + &section("cluster.default", CLUSTER) + &section("deliver.game", TASK);
    place.load(&text).unwrap_or_else(|problems| panic!("{}", explain(&problems)));
}

proptest::proptest! {
    /// Whatever is damaged in a file, it is read or refused, and every problem lies in the file.
    #[test]
    fn a_damaged_file_is_read_or_refused(
        at in proptest::prelude::any::<proptest::sample::Index>(),
        cut in 0..12usize,
        put in "[a-z0-9=\"\\[\\]{}.#, \n-]{0,6}",
    ) {
        let text = std::fs::read_to_string("conf/logmill.toml").expect("the delivered file");
        let mut letters: Vec<char> = with_every_key_set(&text).chars().collect();
        let start = at.index(letters.len());
        let end = (start + cut).min(letters.len());
        letters.splice(start..end, put.chars());
        let damaged: String = letters.into_iter().collect();
        let place = Place::new("");
        let problems = place.load(&damaged).err().unwrap_or_default();
        proptest::prop_assert!(explain(&problems).matches("= help: ").count() >= problems.len());
        for problem in problems {
            let line = damaged.split('\n').nth(problem.line.saturating_sub(1)).expect("the line is there");
            proptest::prop_assert!(problem.column <= line.chars().count() + 1, "{}", problem);
            proptest::prop_assert!(!problem.message.is_empty() && !problem.help.is_empty(), "{}", problem);
        }
    }
}

#[test]
fn keys_of_later_versions_are_named_and_start_all_the_same() {
    let place = Place::new("");
    let lines = format!("{TASK_LINES}sink_topic = \"x\"\n[process]\ncores = \"auto\"\n");
    let loaded = place.load(&lines).unwrap_or_else(|problems| panic!("{}", explain(&problems)));
    assert_eq!(place.said(&loaded.warnings), ["logmill.toml:10:1: sink_topic has no effect in this version",]);
}

/// In `[system]` one line stands for both roads.
#[test]
fn keys_that_both_roads_know_are_written_alike() {
    let shared = TASK.iter().filter_map(|key| Some((key, COLLECT.iter().find(|other| other.name == key.name)?)));
    let shared: Vec<&str> = shared
        .map(|(key, other)| {
            assert_eq!(format!("{:?} {:?}", key.kind, key.unset), format!("{:?} {:?}", other.kind, other.unset));
            key.name
        })
        .collect();
    assert_eq!(shared, ["cluster", "max_line_bytes"]);
    let text = "[cluster.eu]\nbrokers = \"h\"\n[system]\ncluster = \"eu\"\nmax_line_bytes = \"2KiB\"\nkey = \"g\"\n\
                start_from = \"beginning\"\n[collect.web]\npaths = [\"/a\"]\ntopic = \"t\"";
    let web = accepted(text).config.collect.remove(0);
    assert_eq!((web.cluster.name.as_str(), web.max_line_bytes, web.key), ("eu", 2048, None));
    assert_eq!(web.start_from, logmill::tail::StartFrom::Beginning);
}
