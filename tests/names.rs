//! File names that strangers choose, through the binary on a real broker: what they may contain, how many there may be,
//! what may stand in their way.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::support::{Checker, Order, Part, Record, SOON, Seen, Site, kafka, left_out};

/// A record of partition 0 whose log has this name, as JSON writes it.
fn named(sequence: usize, log_name: &str) -> Record {
    let name = serde_json::to_string(log_name).expect("JSON");
    let payload = format!(
        "{{\"headers\":{{\"app_id\":24,\"log_name\":{name}}},\
         \"logs\":{{\"p\":0,\"s\":{sequence},\"role_id\":7,\"mtime\":1608184243}}}}"
    );
    Record { partition: 0, payload: Some(payload.into_bytes()), timestamp_ms: 1_608_184_243_000 }
}

/// Any log becomes a line.
fn site() -> Site {
    let site = Site::new(kafka().bootstrap());
    let metadata = r##"[{ "log_name": "*", "event_name": "t_any",
        "metadata": { "#account_id": { "field": "role_id" }, "#time": { "field": "mtime" } } }]"##;
    std::fs::write(site.path("settings/mthinkingdata:metadata.24.json"), metadata).expect("settings");
    site
}

fn assert_exact(site: &Site, count: usize) -> Seen {
    let mut checker = Checker::new();
    (0..count).for_each(|s| checker.expect(0, s as u64));
    let seen = Seen::at_rest(&site.out("game"));
    seen.assert_clean();
    checker.check(&seen, Order::PerFile).assert_exact();
    seen
}

/// Everything below a directory, without following links.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(dir).expect("a directory") {
        let path = item.expect("an item").path();
        if path.symlink_metadata().expect("an item").is_dir() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn names_from_strangers_stay_below_the_directory() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("strangers", 1);
    let (long, longer, longest) = ("n".repeat(127), "n".repeat(128), "n".repeat(4096));
    let names = [
        "../../../../tmp/escaped",
        "/etc/escaped",
        "..",
        ".",
        "a/b",
        "nul\0nul",
        "%2e%2e",
        "{seq}",
        "%Y",
        "line\nbreak",
        ".logmill-id",
        "世界",
        "-rf",
        "~",
        "a b\t",
        &long,
        &longer,
        &longest,
        "",
    ];
    kafka().produce(&topic, names.iter().enumerate().map(|(s, name)| named(s, name)));
    let mut site = site();
    site.task("game", &[&topic], "file_name = \"{log_name}/{event_name}.{log_name}_{seq}\"");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    // None at all, and one of 4 KB, are no names of logs.
    let told = site.told("game").run;
    assert_eq!((told.written, told.parked), (names.len() as u64 - 2, 2), "{}", site.log());
    let seen = Seen::at_rest(&site.out("game"));
    seen.assert_clean();
    assert_eq!(seen.lines().count() as u64, told.written);
    let files: BTreeSet<_> = seen.files.keys().collect();
    assert_eq!(files.len() as u64, told.written, "one file for each name");
    for path in below(&site.out("game")) {
        let name = path.strip_prefix(site.out("game")).expect("below").to_str().expect("plain text");
        assert!(name.len() < 440 && name.bytes().all(|b| b.is_ascii_graphic()), "{name}");
    }
}

#[test]
fn ten_thousand_names_do_not_make_it_crawl() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    const NAMES: usize = 10_000;
    let topic = kafka().create_topic("many", 1);
    let name = |s: usize| format!("log_{}", s * 7919 % NAMES);
    kafka().produce(&topic, (0..4 * NAMES).map(|s| named(s, &name(s))));
    let mut site = site();
    site.process("stop_timeout = \"3m\"");
    site.task("game", &[&topic], "file_name = \"{log_name}_{seq}\"\nwriters = 2\ncheckpoint_interval = \"500ms\"");
    let began = Instant::now();
    // Few files may be open at the same time: some of them are Kafka's.
    let limit = ["prlimit", "--nofile=128:128", "--"];
    assert!(site.start_under(&limit, &["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    println!("{} lines into {NAMES} files in {:?}", 4 * NAMES, began.elapsed());
    let seen = assert_exact(&site, 4 * NAMES);
    assert_eq!(seen.files.len(), NAMES, "each file was gone on with");
}

/// More files in one checkpoint's time than the table has rows to give: checkpoints come when they are needed.
#[test]
#[ignore = "removing its sixty thousand files takes a minute: run it by name"]
fn more_files_than_the_table_holds_are_only_a_matter_of_checkpoints() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    const LINES: usize = 60_000;
    let topic = kafka().create_topic("crowd", 1);
    kafka().produce(&topic, (0..LINES).map(|s| named(s, &format!("log_{s}"))));
    let mut site = site();
    site.task("game", &[&topic], "file_name = \"{log_name}_{seq}\"\ncheckpoint_interval = \"5m\"\nwriters = 1");
    let began = Instant::now();
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    println!("{LINES} files in {:?}", began.elapsed());
    let mut found: Vec<usize> = below(&site.out("game")).iter().filter_map(|path| number(path)).collect();
    found.sort();
    assert!(found.into_iter().eq(0..LINES), "{}", site.log());
}

/// The sequence of the one line in `log_N_SEQ`, which has to be N.
fn number(path: &Path) -> Option<usize> {
    let number = path.file_name()?.to_str()?.strip_prefix("log_")?.split('_').next()?.parse().ok()?;
    let text = std::fs::read_to_string(path).expect("a file");
    assert!(text.lines().count() == 1 && text.contains(&format!("\"s\":{number},")), "{path:?}: {text}");
    Some(number)
}

#[test]
fn planted_links_are_not_followed() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("links", 1);
    let mut site = site();
    site.task("game", &[&topic], "file_name = \"{log_name}/log_{seq}\"\ncheckpoint_interval = \"100ms\"\nwriters = 1");
    let victim = site.path("victim");
    std::fs::create_dir_all(&victim).expect("a directory");
    std::fs::write(victim.join("file"), "not ours\n").expect("a file");
    std::fs::set_permissions(victim.join("file"), PermissionsExt::from_mode(0o666)).expect("a mode");
    std::fs::create_dir_all(site.out("game").join("a")).expect("a directory");
    // Where the first files would be.
    for seq in 1..4 {
        symlink(victim.join("file"), site.out("game").join(format!("a/log_{seq}"))).expect("a link");
    }
    symlink(&victim, site.out("game").join("b")).expect("a link");
    kafka().produce(&topic, [named(0, "a"), named(1, "a")]);
    let mut run = site.start(&[]);
    let has_lines = |path: &Path, lines: usize| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        (text.lines().count() == lines).then_some(())
    };
    let first = site.out("game").join("a/log_4");
    site.awaited("lines beside the links", SOON, || has_lines(&first, 2));
    // A directory that is none: it waits, and says for what.
    kafka().produce(&topic, [named(2, "b")]);
    site.await_log("b in ", SOON);
    assert!(site.log().contains("is no directory of ours"), "{}", site.log());
    std::fs::remove_file(site.out("game").join("b")).expect("the link");
    site.awaited("it goes on", SOON, || (site.lines("game") >= 3 + 3).then_some(()));
    // A finished file that becomes a link before a checkpoint is not what is made read-only.
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    let items: Vec<_> = below(&victim).into_iter().map(|p| p.file_name().expect("a name").to_owned()).collect();
    assert_eq!(items, ["file"]);
    assert_eq!(std::fs::read_to_string(victim.join("file")).expect("text"), "not ours\n");
    assert_eq!(std::fs::metadata(victim.join("file")).expect("meta").mode() & 0o777, 0o666);
}

#[test]
fn modes_are_the_same_whatever_the_umask() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("modes", 1);
    kafka().produce(&topic, [named(0, "a"), Record { partition: 0, payload: None, timestamp_ms: 1 }]);
    for umask in ["000", "077"] {
        let mut site = site();
        site.task("game", &[&topic], "file_name = \"{log_name}/log_{seq}\"");
        let under = ["sh", "-c", &format!("umask {umask}; exec \"$0\" \"$@\"")];
        assert!(site.start_under(&under, &["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
        let mode = |path: &Path| path.symlink_metadata().expect("meta").mode() & 0o7777;
        let plain = |path: &PathBuf| !path.symlink_metadata().expect("meta").is_symlink();
        assert_eq!((mode(&site.path("out")), mode(&site.out("game"))), (0o750, 0o750));
        for path in below(&site.out("game")).iter().filter(|p| plain(p)) {
            let private = path.file_name().is_some_and(|n| n == ".logmill-id");
            let wanted = if path.is_dir() {
                0o750
            } else if private {
                0o600
            } else {
                0o640
            };
            assert_eq!(mode(path), wanted, "umask {umask}: {path:?}");
        }
        assert_eq!(mode(&site.path("data")), 0o700);
        let kept = below(&site.path("data"));
        assert!(kept.iter().any(|p| p.ends_with("data.mdb")) && kept.iter().any(|p| p.ends_with("failures")));
        for path in kept.iter().filter(|p| plain(p)) {
            assert_eq!(mode(path), if path.is_dir() { 0o700 } else { 0o600 }, "umask {umask}: {path:?}");
        }
    }
}
