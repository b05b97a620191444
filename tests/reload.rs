//! Reloads of a running program, on a real broker: what changes takes effect, what does not change is not touched, and
//! no line is lost or doubled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{
    self, Made, Mix, Order, Part, Record, Running, SOON, Seen, Site, Tailer, expecting, kafka, left_out, times, written,
};
use serde_json::Value;

const LONG: Duration = Duration::from_secs(300);
/// Reloads at full load; `LOGMILL_RELOADS` asks for more.
const RELOADS: u64 = 60;

/// Writes the configuration, sends SIGHUP and waits for its generation.
fn reload(site: &Site, run: &Running, generation: u64) -> String {
    replace(&site.config(), &site.config_text());
    run.signal(libc::SIGHUP);
    let begin = format!("generation {generation}:");
    let line = || site.log().lines().find(|line| line.contains(&begin)).map(str::to_owned);
    site.awaited(&begin, SOON, line)
}

/// As an editor does: beside it, then over it.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("beside");
    std::fs::write(&beside, text).expect("written");
    std::fs::rename(&beside, path).expect("renamed");
}

/// Threads of a task: number and name.
fn threads(run: &Running, task: &str) -> BTreeSet<(String, String)> {
    let all = std::fs::read_dir(format!("/proc/{}/task", run.pid())).expect("threads");
    let thread = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), name.trim().to_owned()))
    };
    all.filter_map(thread).filter(|(_, name)| name.ends_with(&format!("-{task}"))).collect()
}

/// Files, sockets and the like that the program has open.
fn open_files(run: &Running) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", run.pid())).expect("descriptors").count()
}

/// A task's newest checkpoint, as its directory has seen it.
fn checkpoint(site: &Site, task: &str) -> Vec<u8> {
    std::fs::read(site.out(task).join(".logmill-seen")).unwrap_or_default()
}

/// Settings of project 24 by which a line of log_item shows whence it came: a directory gives the event's name, an edit
/// what is left out. What is written and what is not stays the same.
fn write_settings(dir: &Path, place: u64, edit: u64) {
    std::fs::create_dir_all(dir).expect("settings");
    let of_mix = tempfile::tempdir().expect("a directory");
    support::write_settings(of_mix.path());
    for kind in ["metadata", "filter"] {
        let name = format!("mthinkingdata:{kind}.24.json");
        let text = std::fs::read_to_string(of_mix.path().join(&name)).expect("settings");
        let text = text.replace(
            "\"t_log_item\", \"event_type\": \"track\",",
            &format!(
                "\"item_{place}_{edit}\", \"event_type\": \"track\", \"exclude\": [\"{}\"],",
                ["mac", "imei"][edit as usize]
            ),
        );
        replace(&dir.join(name), &text);
    }
}

/// Every line of log_item was made wholly by one set; returns how many sets there were.
fn sets_of(seen: &Seen) -> BTreeMap<String, usize> {
    let mut sets = BTreeMap::new();
    for (_, line) in seen.lines() {
        let line: Value = serde_json::from_slice(line).expect("JSON");
        let Some(set) = line["#event_name"].as_str().and_then(|name| name.strip_prefix("item_")) else { continue };
        let (place, edit) = set.split_once('_').expect("a place and an edit");
        let has = |name: &str| line["properties"].get(name).is_some();
        assert_eq!((has("mac"), has("imei")), (edit == "1", edit == "0"), "{line}");
        // The configuration changes the directory and this option at once.
        assert_eq!(line.get("#uuid").is_some(), place == "1", "{line}");
        *sets.entry(set.to_owned()).or_default() += 1;
    }
    sets
}

/// Produces `rate` records a second until told to end; gives all of them, without their payloads.
fn feed(topic: &str, (seed, partitions, rate): (u64, i32, u64), done: &AtomicBool) -> Vec<Made> {
    let (mut mix, mut made, began) = (Mix::new(seed, partitions), Vec::new(), Instant::now());
    let next = || {
        let ahead = (made.len() as u64 * 1000 / rate).saturating_sub(began.elapsed().as_millis() as u64);
        std::thread::sleep(Duration::from_millis(ahead));
        let next = mix.next().filter(|_| !done.load(Ordering::Relaxed))?;
        made.push(Made { payload: Vec::new(), ..next });
        Some(Record::from(&next))
    };
    kafka().produce(topic, std::iter::from_fn(next));
    made
}

/// The times between two growths of what a tailer has read, in microseconds.
fn note_gaps(tailer: &Tailer, gaps_us: &Mutex<Vec<u64>>, done: &AtomicBool) {
    let (mut bytes, mut since) = (tailer.bytes(), Instant::now());
    while !done.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(1));
        let now = tailer.bytes();
        if now > bytes {
            gaps_us.lock().expect("gaps").push(since.elapsed().as_micros() as u64);
            (bytes, since) = (now, Instant::now());
        }
    }
}

/// Half, 99 of 100, and all of the gaps are not longer than this, in milliseconds.
fn take_gaps(gaps_us: &Mutex<Vec<u64>>) -> [u64; 3] {
    let mut gaps = std::mem::take(&mut *gaps_us.lock().expect("gaps"));
    gaps.sort_unstable();
    [50, 99, 100].map(|part| gaps.get((gaps.len() * part / 100).saturating_sub(1)).map_or(0, |us| us / 1000))
}

/// One site with a task that is changed, one that comes and goes, and one that nobody touches.
struct Load {
    site: Site,
    topics: [String; 3],
    round: u64,
}

impl Load {
    fn new() -> Load {
        let topics = [("changing", 3), ("guest", 1), ("still", 2)].map(|(name, n)| kafka().create_topic(name, n));
        let site = Site::new(kafka().bootstrap());
        [0, 1].iter().for_each(|place| write_settings(&site.path(&format!("settings.{place}")), *place, 0));
        let mut load = Load { site, topics, round: 0 };
        load.write();
        load
    }

    /// The configuration of this round: which of the keys stand how.
    fn write(&mut self) {
        let (round, place) = (self.round, self.round / 2 % 2);
        let live = format!(
            "settings_dir = {:?}\nadd_uuid = {}\nrotate_size = \"{}MiB\"\nmin_free = \"{}KiB\"\npoll_timeout = \"{}ms\"\n\
             checkpoint_interval = \"{}ms\"\n",
            self.site.path(&format!("settings.{place}")),
            place == 1,
            1 + round % 5,
            1 + round % 3,
            20 + round % 50,
            200 + round % 7 * 100
        );
        let task = format!("readers = {}\nwriters = {}\nlanes = 2\n", 1 + round / 5 % 2, 1 + round / 10 % 2);
        self.site.clear_tasks().task("game", &[&self.topics[0]], &(live + &task));
        self.site.task("still", &[&self.topics[2]], "checkpoint_interval = \"1h\"\nreaders = 1");
        if round % 7 < 4 {
            self.site.task("guest", &[&self.topics[1]], "readers = 1\nchannel_capacity = 64");
        }
        self.site.clear_process().process(&format!("stop_timeout = \"{}s\"", 60 + round / 20 % 2));
    }

    /// Changes something by one of the ways there are, and waits until it is accepted.
    fn step(&mut self, run: &Running, lines: &Tailer) {
        self.round += 1;
        self.write();
        let before = lines.bytes();
        let line = reload(&self.site, run, 1 + self.round);
        assert_eq!(line.contains(", 1 key needs a restart"), self.round / 20 % 2 == 1, "{line}");
        // Every second one overtakes the one before, whatever that has come to.
        if !self.round.is_multiple_of(2) {
            self.site.awaited("lines by what is new", SOON, || (lines.bytes() > before + 100_000).then_some(()));
        }
        // A settings file alone, now and then: whoever watches sees it.
        if self.round.is_multiple_of(8) {
            let edit = self.round / 8 % 2;
            [0, 1].iter().for_each(|p| write_settings(&self.site.path(&format!("settings.{p}")), *p, edit));
        }
    }
}

#[test]
fn reloads_under_full_load_lose_double_and_mix_nothing() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let reloads = times("LOGMILL_RELOADS", RELOADS);
    let mut load = Load::new();
    let mut run = load.site.start(&[]);
    let names = ["game", "guest", "still"];
    let tailers = names.map(|name| Tailer::follow(&load.site.out(name)));
    let feeds = [(1, 3, 3_000), (2, 1, 500), (3, 2, 1_000)];
    let (done, quiet, gaps_us) = (AtomicBool::new(false), AtomicBool::new(false), Mutex::default());
    let made = std::thread::scope(|scope| {
        let feeds = load.topics.clone().into_iter().zip(feeds).map(|(topic, what)| {
            let done = &done;
            scope.spawn(move || feed(&topic, what, done))
        });
        let feeds: Vec<_> = feeds.collect();
        scope.spawn(|| note_gaps(&tailers[2], &gaps_us, &quiet));
        load.site.await_lines("still", 2_000, SOON);
        take_gaps(&gaps_us);
        std::thread::sleep(Duration::from_secs(5));
        let before = take_gaps(&gaps_us);
        let (tids, number) = (threads(&run, "still"), checkpoint(&load.site, "still"));
        assert!(tids.len() >= 4 && !number.is_empty(), "{tids:?} {number:?}");
        let opened = open_files(&run);
        for _ in 0..reloads {
            load.step(&run, &tailers[0]);
        }
        let during = take_gaps(&gaps_us);
        println!(
            "ms between two appends of the untouched task (half, 99 %, all below): {before:?}, {during:?} in reloads"
        );
        quiet.store(true, Ordering::Relaxed);
        // Neither its threads nor the pause of a checkpoint: its own is an hour away.
        assert_eq!((threads(&run, "still"), checkpoint(&load.site, "still")), (tids, number));
        // A task that comes or goes leaves nothing open behind it: a leak would be one a reload at least.
        load.site.awaited("few open files", SOON, || (open_files(&run) < opened + 50).then_some(()));
        run.term();
        assert!(run.wait(SOON).success(), "{}", load.site.log());
        done.store(true, Ordering::Relaxed);
        feeds.into_iter().map(|feed| feed.join().expect("a producer")).collect::<Vec<_>>()
    });
    let stopped = load.site.log().len();
    load.round = 0;
    load.write();
    assert!(load.site.start(&["--exit-at-end"]).wait(LONG).success(), "{}", load.site.log());
    assert!(!load.site.log()[stopped..].contains("recovered in"), "a stop in the middle leaves nothing to do");
    for (tailer, (made, name)) in tailers.into_iter().zip(made.iter().zip(names)) {
        let seen = tailer.finish();
        seen.assert_clean();
        println!("{name}: {} records", made.len());
        let order = if name == "game" { Order::PerFile } else { Order::PerPartition };
        expecting(made).check(&seen, order).assert_exact();
        if name == "game" {
            let sets = sets_of(&seen);
            assert!(sets.len() == 4, "all of them were used: {sets:?}");
        }
    }
}

#[test]
fn a_task_that_waits_for_a_key_goes_on_when_it_changes() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("waits", 2);
    let made: Vec<_> = Mix::new(11, 2).take(4_000).collect();
    kafka().produce(&topic, made.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    let waits = [("space", "min_free = \"1024TiB\""), ("queue", "failures_max = 1"), ("slow", "rate_limit = 1")];
    waits.iter().for_each(|(name, key)| _ = site.task(name, &[&topic], key));
    let run = site.start(&[]);
    site.await_log("space: writer 0 waits for the disk", SOON);
    site.await_log("queue: the failure queue holds 1 records, failures_max", SOON);
    let tids: Vec<_> = waits.iter().map(|(name, _)| threads(&run, name)).collect();
    site.clear_tasks();
    ["space", "queue", "slow"]
        .iter()
        .for_each(|name| _ = site.task(name, &[&topic], "checkpoint_interval = \"100ms\""));
    let line = reload(&site, &run, 2);
    assert!(line.ends_with("generation 2: +0 tasks, ~3 changed, -0"), "{line}");
    site.await_log("queue changes as it runs: checkpoint_interval, failures_max", SOON);
    let written = made.iter().filter(|m| m.fate == support::Fate::Written).count();
    for ((name, _), tids) in waits.iter().zip(tids) {
        site.await_lines(name, written, SOON);
        assert_eq!(threads(&run, name), tids, "{name}");
        // By the new interval.
        let number = checkpoint(&site, name);
        site.awaited("a checkpoint", SOON, || (checkpoint(&site, name) != number).then_some(()));
        expecting(&made).check(&Seen::at_rest(&site.out(name)), Order::PerPartition).assert_exact();
    }
}

#[test]
fn tasks_are_added_renamed_changed_and_removed() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("comes", 2);
    let made = written(12, 2, 3_000);
    kafka().produce(&topic, made[..1_000].iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    let place = format!("group_id = {:?}\ndir = {:?}\n", site.group("old"), site.out("old"));
    site.task("old", &[&topic], &place).task("other", &[&topic], "");
    let mut run = site.start(&[]);
    site.await_lines("old", 1_000, SOON);

    // Group, topic and directory are the same: it waits until the old one has left, and goes on where that was.
    site.clear_tasks().task("new", &[&topic], &place).task("other", &[&topic], "");
    let line = reload(&site, &run, 2);
    assert!(line.ends_with("generation 2: +1 task, ~0 changed, -1"), "{line}");
    site.await_log("old has drained and ended, 1000 records in all", SOON);
    kafka().produce(&topic, made[1_000..2_000].iter().map(Record::from));
    site.await_lines("old", 2_000, SOON);
    assert!(threads(&run, "old").is_empty() && threads(&run, "new").len() > 3);

    // Another shape, another place, and one that cannot start: it does not stop the others.
    std::fs::write(site.path("file"), "").expect("a file");
    let shape = format!("group_id = {:?}\nreaders = 3\nwriters = 2\nlanes = 2", site.group("old"));
    let nowhere = format!("dir = {:?}", site.path("file/below"));
    site.clear_tasks().task("new", &[&topic], &shape).task("stuck", &[&topic], &nowhere);
    reload(&site, &run, 3);
    site.await_log("this task does not run, the next reload tries it again", SOON);
    kafka().produce(&topic, made[2_000..].iter().map(Record::from));
    site.await_lines("new", 1_000, SOON);
    site.awaited("readers and writers", SOON, || (threads(&run, "new").len() == 3 + 2 + 2).then_some(()));
    assert!(threads(&run, "other").is_empty());

    std::fs::remove_file(site.path("file")).expect("removed");
    let line = reload(&site, &run, 4);
    assert!(line.ends_with("generation 4: +1 task, ~0 changed, -0"), "{line}");
    site.awaited("lines below file", SOON, || (lines_below(&site.path("file/below")) == 3_000).then_some(()));
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    let (first, second) = made.split_at(2_000);
    expecting(first).check(&Seen::at_rest(&site.out("old")), Order::PerPartition).assert_exact();
    expecting(second).check(&Seen::at_rest(&site.out("new")), Order::PerFile).assert_exact();
    expecting(first).check(&Seen::at_rest(&site.out("other")), Order::PerPartition);
    assert_eq!(site.told("new").run.consumed, 3_000, "of this run, whatever the name");
}

fn lines_below(dir: &Path) -> usize {
    if dir.is_dir() { Seen::at_rest(dir).lines().count() } else { 0 }
}

/// Each way of writing a file is seen by itself, and what is wrong is told and not applied.
#[test]
fn files_are_watched_and_broken_ones_change_nothing() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("watched", 1);
    let made = written(13, 1, 300);
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "file_name = \"{event_name}_{seq}\"");
    let mut run = site.start(&[]);
    site.await_log("begins at offset 0", SOON);
    let generation = |n: u64| site.await_log(&format!("generation {n}: +0 tasks, ~1 changed, -0"), SOON);
    let metadata = site.path("settings").join("mthinkingdata:metadata.24.json");
    let text = std::fs::read_to_string(&metadata).expect("settings");
    let named = |name: &str| text.replace("\"t_log_item\"", &format!("\"{name}\""));
    let deliver = |part: std::ops::Range<usize>, name: &str| {
        kafka().produce(&topic, made[part].iter().map(Record::from));
        let file = || std::fs::read_dir(site.out("game")).expect("out").flatten().map(|e| e.file_name());
        let is_it = |found: std::ffi::OsString| found.to_string_lossy().starts_with(&format!("{name}_"));
        site.awaited(name, SOON, || file().any(is_it).then_some(()));
    };
    deliver(0..100, "t_log_item");
    std::fs::write(&metadata, named("in_place")).expect("written");
    generation(2);
    deliver(100..200, "in_place");

    std::fs::write(&metadata, "[ { \"log_name\": 7 } ]").expect("written");
    site.await_log("nothing is applied, generation 2 stays", SOON);
    let log = site.log();
    assert!(log.contains("mthinkingdata:metadata.24.json:1:"), "the place: {log}");
    std::fs::write(site.config(), "[deliver.game]\ntopic = 1").expect("written");
    site.await_log("unknown key topic in [deliver.game]", SOON);
    let refused = || site.log().matches("the configuration is refused").count();
    assert_eq!(refused(), 2, "each once: {}", site.log());
    run.signal(libc::SIGHUP);
    site.awaited("whoever asks is told again", SOON, || (refused() == 3).then_some(()));

    replace(&site.config(), &site.config_text());
    replace(&metadata, &named("renamed_over"));
    generation(3);
    deliver(200..300, "renamed_over");
    // Nothing has changed: whoever asks is told so, and the generation stays.
    run.signal(libc::SIGHUP);
    site.await_log("generation 3: +0 tasks, ~0 changed, -0", SOON);
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    expecting(&made).check(&Seen::at_rest(&site.out("game")), Order::PerFile).assert_exact();
}

#[test]
fn a_key_of_the_process_is_refused_by_name_and_the_rest_applies() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("refused", 1);
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    let mut run = site.start(&[]);
    site.await_log("begins at offset 0", SOON);
    site.process("cores = [0]").clear_tasks().task("game", &[&topic], "rate_limit = 100000");
    let line = reload(&site, &run, 2);
    assert!(line.ends_with("generation 2: +0 tasks, ~1 changed, -0, 1 key needs a restart"), "{line}");
    site.await_log("[process] cores keeps its value until the program is restarted", SOON);
    site.await_log("game changes as it runs: rate_limit", SOON);
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
}
