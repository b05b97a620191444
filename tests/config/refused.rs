//! What is refused: every message in full, for it is all that an operator has to mend the file with.

use logmill::conf::{Severity, explain, explain_as, load};

use super::{Place, TASK_LINES, problems_of};

/// [`TASK_LINES`] with one more line.
#[track_caller]
fn refused(line: &str, expected: &[&str]) {
    assert_eq!(problems_of(&format!("{TASK_LINES}{line}\n")), expected, "{line}");
}

#[track_caller]
fn refused_file(text: &str, expected: &[&str]) {
    assert_eq!(problems_of(text), expected, "{text}");
}

#[test]
fn unknown_keys_name_the_nearest_or_their_place() {
    refused("readres = 2", &["logmill.toml:10:1: unknown key readres in [deliver.game]; write readers"]);
    refused("ring-size = \"1MiB\"", &["logmill.toml:10:1: unknown key ring-size in [deliver.game]; write ring_size"]);
    refused("consumernum = 2", &["logmill.toml:10:1: unknown key consumernum in [deliver.game]; write readers"]);
    refused(
        "data_dir = \"x\"",
        &["logmill.toml:10:1: unknown key data_dir in [deliver.game]; data_dir belongs into [process]"],
    );
    refused(
        "[process]\ncolour = 1",
        &["logmill.toml:11:1: unknown key colour in [process]; \
           remove it; the keys of [process] are data_dir, cores, stop_timeout, socket, control_users, \
           metrics_listen, log_file, log_level, log_rotate, log_rotate_size, log_keep, stack_level, report_level, \
           report_to, lag_alert, lag_alert_for, max_batch_time"],
    );
    refused(
        "[deliver.game.24]\ntopics = []",
        &["logmill.toml:10:15: unknown key 24 in [deliver.game]; \
           names hold no dot: write the heading as [deliver.game_24]"],
    );
}

#[test]
fn numbers_out_of_range_and_of_wrong_type() {
    let help = "write a whole number from 1 to 64, for example readers = 2";
    for (written, what) in [
        ("0", "is out of range"),
        ("65", "is out of range"),
        ("-1", "is out of range"),
        ("99999999999999999999", "is out of range"),
        ("2.5", "is a float"),
        ("\"2\"", "is a string"),
        ("[2]", "is an array"),
    ] {
        refused(&format!("readers = {written}"), &[&format!("logmill.toml:10:11: readers = {written} {what}; {help}")]);
    }
    refused(
        "add_uuid = \"yes\"",
        &["logmill.toml:10:12: add_uuid = \"yes\" is a string; write add_uuid = true or false"],
    );
}

#[test]
fn quantities_need_their_unit() {
    let help = "write a duration from 1ms to 10s in quotes, for example poll_timeout = \"100ms\"";
    for (written, what) in [
        ("100", "has no unit"),
        ("\"100\"", "has no unit (ms, s, m, h, d)"),
        ("\"1 minute\"", "has the unit \"minute\", which is none of ms, s, m, h, d"),
        ("\"1h\"", "is out of range"),
        ("\"soon\"", "does not begin with a whole number"),
    ] {
        let expected = format!("logmill.toml:10:16: poll_timeout = {written} {what}; {help}");
        refused(&format!("poll_timeout = {written}"), &[&expected]);
    }
    let help = "write a size from 1MiB to 1GiB that is a power of two in quotes, for example ring_size = \"8MiB\"";
    for (written, what) in [
        ("\"3MiB\"", "is not a power of two"),
        ("\"64MB\"", "has the unit \"MB\", which is none of B, KiB, MiB, GiB, TiB"),
        ("\"2GiB\"", "is out of range"),
        ("-1", "is out of range"),
    ] {
        let expected = format!("logmill.toml:10:13: ring_size = {written} {what}; {help}");
        refused(&format!("ring_size = {written}"), &[&expected]);
    }
}

#[test]
fn a_line_must_fit_a_quarter_of_the_ring() {
    refused(
        "ring_size = \"2MiB\"",
        &["logmill.toml:10:13: max_line_bytes = 1MiB does not fit ring_size = 2MiB, which takes lines up to 448KiB; \
           write ring_size = \"8MiB\" or max_line_bytes = \"448KiB\""],
    );
    refused(
        "ring_size = \"4MiB\"\nmax_line_bytes = 983041",
        &[
            "logmill.toml:11:18: max_line_bytes = 983041B does not fit ring_size = 4MiB, which takes lines up to 960KiB; \
           write ring_size = \"8MiB\" or max_line_bytes = \"960KiB\"",
        ],
    );
    assert_eq!(problems_of(&format!("{TASK_LINES}ring_size = \"4MiB\"\nmax_line_bytes = 983040\n")), [""; 0]);
}

#[test]
fn the_native_client_has_to_know_the_clusters_properties() {
    let over_tls = "9092\"\nlibrdkafka = { \"security.protocol\" = \"SSL\" }\n";
    refused_file(
        &format!("{}fetch = \"native\"\n", TASK_LINES.replace("9092\"\n", over_tls)),
        &["logmill.toml:11:9: the native client cannot take security.protocol = \"SSL\"; \
           remove it from [cluster.default], or write fetch = \"auto\""],
    );
}

#[test]
fn words_that_are_unknown_or_planned() {
    refused(
        "rotate = \"daily\"",
        &["logmill.toml:10:10: rotate = \"daily\" is not one of the known words; \
           write rotate = \"day\" or \"hour\" or \"none\""],
    );
    refused(
        "sink = \"kafka\"",
        &["logmill.toml:10:8: sink = \"kafka\" is not available in this version; write sink = \"file\""],
    );
    refused(
        "assignment = \"group\"",
        &["logmill.toml:10:14: assignment = \"group\" is not available in this version; \
           write assignment = \"static\""],
    );
    refused(
        "lag_alert = 9",
        &["logmill.toml:10:1: unknown key lag_alert in [deliver.game]; lag_alert belongs into [process]"],
    );
}

#[test]
fn a_collect_task_needs_something_to_follow_and_a_place_for_it() {
    refused(
        "[collect.web]\ntopic = \"w\"\n[collect.app]\npaths = [\"/a[\"]\n[collect.game]\nfrom_etcd = true\n\
         exactly_once = true\nmultiline_start = \"(\"",
        &[
            "logmill.toml:10:10: [collect.web] names nothing to follow; \
             write paths = [\"/var/log/app/*.log\"] and topic = \"app\" below it, or entries, or from_etcd",
            "logmill.toml:13:9: [collect.app] has paths and no topic; write topic = \"web_log\" below it",
            "logmill.toml:13:10: paths: \"/a[\" is no path and no glob; \
             \"a[\" is no glob: unclosed character class; missing ']'",
            "logmill.toml:14:10: [collect.game] and [deliver.game] have one name; give this one another name",
            "logmill.toml:15:13: from_etcd = true, and there is no section [etcd]; \
             write [etcd] with endpoints = [\"127.0.0.1:2379\"] and collect_key = \"/logmill/%s/collect\"",
            "logmill.toml:16:16: [collect.game] has exactly_once = true and no positions_topic; \
             write positions_topic = \"logmill_positions\", a topic with cleanup.policy=compact",
            "logmill.toml:17:19: multiline_start = \"(\" is no regular expression; error: unclosed group",
        ],
    );
}

#[test]
fn a_broken_list_is_a_problem_of_the_configuration_with_its_place() {
    let place = Place::new("");
    let list = place.path("list.json");
    let text = format!("{TASK_LINES}[collect.web]\nentries = {list:?}\n");
    let told = || place.load(&text).err().map(|problems| place.said(&problems)).unwrap_or_default();
    assert!(
        told()[0].starts_with("logmill.toml:11:11: entries = ") && told()[0].contains("cannot be read"),
        "{:?}",
        told()
    );
    std::fs::write(&list, "[\n {\"path\": \"/a\"},\n {\"path\": \"/a[\", \"topic\": \"t\"} ]").expect("a list");
    let problems = told();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("list.json:2:2: an entry without topic"), "{problems:?}");
    assert!(problems[1].starts_with("list.json:3:11: \"/a[\" is no glob"), "{problems:?}");
}

#[test]
fn one_task_takes_the_list_of_etcd() {
    refused(
        "[collect.a]\nfrom_etcd = true\n[collect.b]\nfrom_etcd = true\n[etcd]\ncollect_key = \"/k\"\nendpoints = [\"h\"]\ntls_cert = \"x.pem\"",
        &[
            "logmill.toml:13:13: from_etcd = true in two tasks: every line would be sent twice; leave it in one of them",
            "logmill.toml:16:14: endpoints: \"h\" is no host:port; write a list of 1 to 16 host:port or URLs, \
             for example endpoints = [\"127.0.0.1:2379\"]",
            "logmill.toml:17:12: [etcd] has tls_cert and no tls_key; write tls_key = \"conf/etcd.pem\"",
        ],
    );
}

#[test]
fn file_names_need_their_number_and_lane() {
    refused(
        "file_name = \"log.%Y\"",
        &["logmill.toml:10:13: file_name = \"log.%Y\": {seq} is missing; \
           every file needs its number, for example log.%Y-%m-%d_{seq}"],
    );
    refused(
        "lanes = 4\nfile_name = \"log_{seq}\"",
        &["logmill.toml:11:13: file_name = \"log_{seq}\": {lane} is missing, and lanes = 4; \
           write file_name = \"{lane}_log_{seq}\", or lanes = 1"],
    );
    refused(
        "transform = \"none\"\nfile_name = \"{log_name}_{seq}\"",
        &["logmill.toml:11:13: file_name = \"{log_name}_{seq}\": {app_id}, {log_name} and {event_name} are not known \
           with transform = \"none\"; use {topic}, {partition} or {lane}"],
    );
}

#[test]
fn one_key_under_two_names() {
    refused(
        "consumerNum = 2\nreaders = 3",
        &["logmill.toml:11:1: readers and consumerNum are the same key; keep readers and remove consumerNum"],
    );
    refused("queue = [\"b\"]", &["logmill.toml:10:1: queue and topics are the same key; keep topics and remove queue"]);
    refused("group_id = \"h\"", &["logmill.toml:10:1: group_id is written twice; keep one and remove the other"]);
}

#[test]
fn clusters_that_are_not_there() {
    refused(
        "cluster = \"defualt\"",
        &["logmill.toml:10:11: cluster = \"defualt\": there is no section [cluster.defualt]; \
           write cluster = \"default\", or add that section"],
    );
    refused(
        "exchange = \"eu\"",
        &["logmill.toml:10:12: cluster = \"eu\": there is no section [cluster.eu]; \
           write it: [cluster.eu], and below it brokers = \"localhost:9092\""],
    );
}

#[test]
fn brokers_and_properties() {
    let task_lines = TASK_LINES.lines().skip(3).fold(String::new(), |text, line| text + line + "\n");
    let expected = [
        "logmill.toml:2:11: brokers = \"localhost:99999\" holds a port that is not between 1 and 65535; \
         write host:port, several with commas between, in one pair of quotes, \
         for example brokers = \"localhost:9092\"",
        "logmill.toml:3:16: security of librdkafka is a table; \
         write the whole name in quotes: \"security.protocol\" = …",
        "logmill.toml:3:43: \"group.id\" may not be set here; remove it and write group_id in the task",
        "logmill.toml:5:11: brokers = [\"a:1\"] is an array; \
         write host:port, several with commas between, in one pair of quotes, \
         for example brokers = \"localhost:9092\"",
    ];
    let clusters = "[cluster.default]\nbrokers = \"localhost:99999\"\n\
                    librdkafka = { security.protocol = \"SSL\", \"group.id\" = \"g\" }\n\
                    [cluster.eu]\nbrokers = [\"a:1\"]\n";
    refused_file(&format!("{clusters}{task_lines}"), &expected);
}

#[test]
fn starts_and_zones() {
    let zone = "write a fixed offset from UTC from -23:59 to +23:59 in quotes, for example timezone = \"+08:00\"";
    refused(
        "timezone = \"Asia/Shanghai\"",
        &[&format!("logmill.toml:10:12: timezone = \"Asia/Shanghai\" is no offset from UTC; {zone}")],
    );
    let start = "write \"earliest\", \"latest\", a time such as \"2026-01-31T00:00:00+08:00\" or milliseconds, \
                 for example start = \"earliest\"";
    let no_zone = "is neither earliest, latest nor a time with its zone";
    refused("start = \"2025-01-01\"", &[&format!("logmill.toml:10:9: start = \"2025-01-01\" {no_zone}; {start}")]);
    refused("start = 2025-01-01", &[&format!("logmill.toml:10:9: start = 2025-01-01 {no_zone}; {start}")]);
    let seconds = "is before 1973 in milliseconds (are these seconds?)";
    refused("start = 1608184243", &[&format!("logmill.toml:10:9: start = 1608184243 {seconds}; {start}")]);
}

#[test]
fn lists_point_at_the_element() {
    let topics = "write a list of 1 to 64 topic names of at most 249 letters, digits, '.', '_' and '-'";
    let text = TASK_LINES.replace("[\"a\"]", "[\"a/b\", \"x\",\n \"x\", 3]").replace("[24]", "[\"24\"]");
    refused_file(
        &text,
        &[
            &format!(
                "logmill.toml:5:11: topics: \"a/b\" is no legal topic name; \
                 {topics}, for example topics = [\"mulog_clean_24\"]"
            ),
            "logmill.toml:6:2: topics: \"x\" stands twice in the list; remove one of the two",
            &format!("logmill.toml:6:7: topics: 3 is an integer; {topics}, for example topics = [\"mulog_clean_24\"]"),
            "logmill.toml:8:12: app_ids: \"24\" is a string; \
             write a list of 1 to 1024 whole numbers without quotes, for example app_ids = [24]",
        ],
    );
    refused_file(
        &TASK_LINES.replace("[\"a\"]", "\"a\""),
        &[&format!("logmill.toml:5:10: topics = \"a\" is a string; {topics}, for example topics = [\"a\"]")],
    );
    let many: Vec<String> = (0..65).map(|n| format!("\"t{n}\"")).collect();
    let refused = problems_of(&TASK_LINES.replace("\"a\"", &many.join(",")));
    assert!(refused.len() == 1 && refused[0].contains("has more than 64 elements"), "{refused:?}");
}

/// The task above once more under another name, with `changes`.
fn second_task(changes: [(&str, &str); 2]) -> String {
    let second = TASK_LINES.lines().skip(3).fold(String::new(), |text, line| text + line + "\n");
    changes.iter().fold(second.replace("deliver.game", "deliver.two"), |text, (from, to)| text.replace(from, to))
}

#[test]
fn a_topic_is_read_once_by_a_group() {
    let two = second_task([("\"a\"", "\"b\", \"a\""), ("\"out\"", "\"out2\"")]);
    refused(
        &two,
        &["logmill.toml:11:16: topics: \"a\" is read by game already in the group \"g\", here by two; \
           remove it from one of the two tasks, or give this one a group_id of its own"],
    );
    let other_group = two.replace("\"g\"", "\"h\"");
    assert_eq!(problems_of(&format!("{TASK_LINES}{other_group}")), [""; 0]);
}

#[test]
fn a_directory_belongs_to_one_task() {
    let two = second_task([("\"a\"", "\"b\""), ("\"out\"", "\"./x/../out/\"")]);
    refused(
        &two,
        &["logmill.toml:15:7: dir = \"./x/../out/\" of two is used by [deliver.game] already; \
           write a directory of its own, for example dir = \"data/out/two\""],
    );
    refused_file(
        &TASK_LINES.replace("\"out\"", "\"data\""),
        &["logmill.toml:9:7: dir = \"data\" of game is used by [process] data_dir already; \
           write a directory of its own, for example dir = \"data/out/game\""],
    );
}

#[test]
fn a_directory_is_no_file() {
    refused(
        "[process]\ndata_dir = \"Cargo.toml\"",
        &[
            "logmill.toml:11:12: data_dir = \"Cargo.toml\" is a file; write a directory, or one that is still to be made",
        ],
    );
    refused_file(
        &TASK_LINES.replace("\"out\"", "\"Cargo.lock\""),
        &["logmill.toml:9:7: dir = \"Cargo.lock\" is a file; write a directory, or one that is still to be made"],
    );
}

#[test]
fn a_link_to_a_directory_is_that_directory() {
    let place = Place::new("");
    let root = place.path("");
    std::fs::create_dir(root.join("out")).expect("a directory");
    std::os::unix::fs::symlink(root.join("out"), root.join("link")).expect("a link");
    let dir = |name: &str| format!("{:?}", root.join(name).join("deep"));
    let two = second_task([("\"a\"", "\"b\""), ("\"out\"", &dir("link"))]);
    let refused = place.load(&format!("{}{two}", TASK_LINES.replace("\"out\"", &dir("out"))));
    assert!(refused.is_err_and(|p| p.len() == 1 && p[0].message.contains("used by [deliver.game] already")));
}

#[test]
fn mandatory_keys_are_asked_for() {
    refused_file(
        "[cluster.default]\n\n[deliver.game]\n",
        &[
            "logmill.toml:1:10: [cluster.default] has no brokers; \
             write brokers = \"localhost:9092\" below it. Where to ask for the cluster's brokers.",
            "logmill.toml:3:10: [deliver.game] has no topics; \
             write topics = [\"mulog_clean_24\"] below it. Topics to read, all their partitions.",
            "logmill.toml:3:10: [deliver.game] has no group_id; \
             write group_id = \"logmill_24\" below it. The consumer group. The position is kept under group and topic, \
             not under the task's name: a new group begins anew, and no topic may stand in two tasks of one group.",
            "logmill.toml:3:10: [deliver.game] has no app_ids; \
             write app_ids = [24] below it. Project numbers. Records with another headers.app_id are parked.",
            "logmill.toml:3:10: [deliver.game] has no settings_dir; \
             write settings_dir = \"conf/settings\" below it. Directory of mthinkingdata:metadata.N.json and \
             mthinkingdata:filter.N.json, N being each project number.",
            "logmill.toml:3:10: [deliver.game] has no dir; \
             write dir = \"data/out/24\" below it. Directory of the output files, of this task alone. \
             It is made if it is missing.",
        ],
    );
    refused_file(
        "",
        &["logmill.toml: there is no task in this file; \
           write a section [deliver.NAME] or [collect.NAME]; the delivered conf/logmill.toml shows one"],
    );
}

#[test]
fn headings_that_are_wrong() {
    refused_file(
        "readers = 2\n[delivery.game]\n[cluster]\nbrokers = \"a:1\"\n",
        &[
            "logmill.toml:1:1: readers stands before every heading; write readers below the heading [system]",
            "logmill.toml:2:2: unknown section [delivery]; write [deliver.NAME]",
            "logmill.toml:4:1: brokers stands directly in [cluster], which needs a name; \
             write the heading as [cluster.NAME], for example [cluster.default]",
        ],
    );
    refused_file(
        "process = 1\n[[deliver.c]]\n",
        &[
            "logmill.toml:1:1: process is a heading, not a key; write [process]",
            "logmill.toml:2:11: deliver.c is a list; write [deliver.c] with single brackets, each name once",
        ],
    );
    let illegal = TASK_LINES.replace("deliver.game", "deliver.\"a b\"");
    refused_file(
        &illegal,
        &["logmill.toml:4:10: \"a b\" is no legal name of a section; write 1 to 64 letters, digits, _ and -"],
    );
}

#[test]
fn a_text_that_is_no_toml_is_the_only_problem() {
    let toml = "write key = value, text as \"text\", lists as [1, 2], headings as [deliver.name]";
    refused(
        "checkpoint_interval = 10s\nreadres = 2",
        &["logmill.toml:10:23: this is no TOML: string values must be quoted, expected literal string; \
           write \"10s\" with quotes"],
    );
    refused("topics: [1]", &[&format!("logmill.toml:10:9: this is no TOML: key with no value, expected `=`; {toml}")]);
    refused("[process", &[&format!("logmill.toml:10:9: this is no TOML: unclosed table, expected `]`; {toml}")]);
    refused(
        "add_uuid = True",
        &["logmill.toml:10:12: this is no TOML: invalid boolean, expected `true`; \
           write true or false in small letters"],
    );
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    refused(
        "readres = 2\nwriters = 0\ncluster = \"eu\"\nfile_name = \"x\"\nwriters = 1\n[process]\ncores = [0, 0]",
        &[
            "logmill.toml:10:1: unknown key readres in [deliver.game]; write readers",
            "logmill.toml:11:11: writers = 0 is out of range; \
             write a whole number from 1 to 64, for example writers = 1",
            "logmill.toml:12:11: cluster = \"eu\": there is no section [cluster.eu]; \
             write it: [cluster.eu], and below it brokers = \"localhost:9092\"",
            "logmill.toml:13:13: file_name = \"x\": {seq} is missing; \
             every file needs its number, for example log.%Y-%m-%d_{seq}",
            "logmill.toml:14:1: writers is written twice; keep one and remove the other",
            "logmill.toml:16:9: cores = [0, 0] is no list of core numbers; \
             write \"auto\" or a list of different core numbers below 1024, for example cores = [0, 1]",
        ],
    );
}

#[test]
fn a_fault_that_tasks_share_is_told_once() {
    let two = second_task([("\"a\"", "\"b\""), ("\"out\"", "\"out2\"")]);
    refused(
        &format!("{two}[system]\nring_size = \"2MiB\""),
        &["logmill.toml:17:13: max_line_bytes = 1MiB does not fit ring_size = 2MiB, which takes lines up to 448KiB; \
           write ring_size = \"8MiB\" or max_line_bytes = \"448KiB\""],
    );
}

#[test]
fn columns_count_characters_behind_a_byte_order_mark() {
    refused_file(
        "\u{feff}[system]\r\n[cluster.default]\r\nbrokers = \"ü\" # ü\r\n\
         librdkafka = { \"client.id\" = \"ü\", \"group.id\" = \"\" }\r\n",
        &["logmill.toml:4:35: \"group.id\" may not be set here; remove it and write group_id in the task"],
    );
}

#[test]
fn files_that_cannot_be_read() {
    let place = Place::new("");
    let missing = load(&place.path("missing.toml"), None).err().expect("there is no file");
    assert!(missing.len() == 1 && missing[0].message.contains("No such file"), "{missing:?}");
    std::fs::write(place.file(), b"[process]\ndata_dir = \"\xff\"\n").expect("the file");
    let not_text = load(&place.file(), None).err().expect("it is no UTF-8");
    assert_eq!(place.said(&not_text), ["logmill.toml:2:13: is no UTF-8 text from here on; save the file as UTF-8"]);
    let large = format!("{TASK_LINES}#{}", "x".repeat(1 << 20));
    assert_eq!(problems_of(&large), ["logmill.toml: is larger than 1 MiB; is this the configuration file?"]);
}

#[test]
fn a_missing_settings_directory_is_named() {
    let place = Place::new("");
    let missing = TASK_LINES.replace("SETTINGS", "no/such/place");
    let problems = place.load(&missing).err().expect("there is no such directory");
    let here = std::env::current_dir().expect("the working directory");
    let expected = format!(
        "logmill.toml:8:16: settings_dir = \"no/such/place\" is no directory; \
         make it, or write a directory that is there; a relative path begins at {}",
        here.display()
    );
    assert_eq!(place.said(&problems), [expected]);
}

#[test]
fn settings_files_are_checked_along() {
    let place = Place::new("");
    let filter = place.path("settings/mthinkingdata:filter.24.json");
    std::fs::write(filter, "// names\n{ \"mode\": \"dorp\" }\n").expect("the filter");
    let two = second_task([("\"a\"", "\"b\""), ("\"out\"", "\"out2\"")]);
    let problems = place.load(&format!("{TASK_LINES}readers = 0\n{two}")).err().expect("both files are wrong");
    let shown = place.said(&problems);
    // The filter is read for two tasks and told once.
    let starts = ["logmill.toml:10:11: readers = 0", "settings/mthinkingdata:filter.24.json:2:11: "];
    assert_eq!(shown.len(), starts.len(), "{shown:?}");
    shown.iter().zip(starts).for_each(|(line, start)| assert!(line.starts_with(start), "{line}"));
}

#[test]
fn problems_are_shown_with_their_line() {
    let place = Place::new("");
    let problems = place.load(&format!("{TASK_LINES}\treaders = 0 # two\n")).err().expect("0 readers");
    let shown = explain(&problems).replace(&place.path("").display().to_string(), "");
    let expected = "error: readers = 0 is out of range\n  --> logmill.toml:10:12\n   |\n10 |     readers = 0 # two\n   \
                    |               ^\n   |\n   = help: write a whole number from 1 to 64, for example readers = 2\n\n";
    assert_eq!(shown, expected);
    let coloured = explain_as(Severity::Warning, &problems, true);
    assert!(coloured.starts_with("\u{1b}[") && coloured.contains("warning"), "{coloured:?}");
}
