//! Output that cannot be written, through the binary on a real broker: directories that refuse, a disk that fills up,
//! and others who touch the files.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::support::{
    Checker, Finding, Made, Mix, Order, Part, Record, SOON, Seen, Site, Tailer, Tmpfs, Verdict, kafka, left_out,
};

fn written(seed: u64, count: usize) -> Vec<Made> {
    Mix::new(seed, 1).only_written().take(count).collect()
}

fn check(made: &[Made], seen: &Seen, order: Order) -> Verdict {
    let mut checker = Checker::new();
    made.iter().for_each(|m| checker.expect_made(m));
    checker.check(seen, order)
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_by_name() {
    if left_out(&[Part::Kafka, Part::Mount]) {
        return;
    }
    let topic = kafka().create_topic("refused", 1);
    let refused = |site: &Site, path: &Path, what: &str| {
        assert_eq!(site.start(&[]).wait(SOON).code(), Some(1));
        let log = site.log();
        let named = |line: &str| line.contains(&*path.to_string_lossy()) && line.contains(what);
        assert!(log.lines().any(named), "{log}");
    };
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    let tmpfs = Tmpfs::mount(&site.out("game"), "size=1m");
    tmpfs.remount("ro");
    refused(&site, &site.out("game"), "Read-only file system");
    drop(tmpfs);

    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    std::fs::write(site.path("out"), "a file stands in the way").expect("a file");
    refused(&site, &site.out("game"), "cannot make the output directory");

    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    std::fs::write(site.path("data"), "a file stands in the way").expect("a file");
    refused(&site, &site.path("data"), "is a file");
}

#[test]
fn a_disk_that_fills_up_is_waited_for() {
    if left_out(&[Part::Kafka, Part::Mount]) {
        return;
    }
    let topic = kafka().create_topic("fills", 1);
    let made = written(1, 40_000);
    kafka().produce(&topic, made.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.process("stop_timeout = \"1s\"").task("game", &[&topic], "checkpoint_interval = \"500ms\"");
    let tmpfs = Tmpfs::mount(&site.out("game"), "size=1m");
    let tailer = Tailer::follow(&site.out("game"));
    let full = |kib: u64| {
        site.awaited("the disk is full", SOON, || (tailer.bytes() > (kib - 64) << 10).then_some(()));
    };
    let says = "game: writer 0 waits for the disk: No space left on device";
    let mut run = site.start(&[]);
    let mut size = 1024;
    for _ in 0..10 {
        full(size);
        assert_eq!(run.ended(), None, "{}", site.log());
        size += 700;
        tmpfs.remount(&format!("size={size}k"));
    }
    full(size);
    let said = site.log().matches(says).count();
    assert!(said > 0, "{}", site.log());
    run.term();
    assert_eq!(run.wait(SOON).code(), Some(1), "nothing more can be done while the disk is full");
    assert!(site.log().contains("nothing is lost, the next start goes on"), "{}", site.log());

    // On a disk that is still full: up, and waiting; and a stop is a stop.
    let mut run = site.start(&[]);
    site.awaited(says, SOON, || (site.log().matches(says).count() > said).then_some(()));
    run.term();
    assert_eq!(run.wait(SOON).code(), Some(1));
    let mut run = site.start(&[]);
    tmpfs.remount("size=100m");
    site.await_lines("game", 40_000, SOON);
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    let seen = tailer.finish();
    seen.assert_clean();
    check(&made, &seen, Order::PerPartition).assert_exact();
}

#[test]
fn a_disk_that_is_full_at_the_start_holds_no_other_task_up() {
    if left_out(&[Part::Kafka, Part::Mount]) {
        return;
    }
    let topics = [kafka().create_topic("full", 1), kafka().create_topic("free", 1)];
    let made = written(5, 8_000);
    for topic in &topics {
        kafka().produce(topic, made.iter().map(Record::from));
    }
    let mut site = Site::new(kafka().bootstrap());
    site.task("full", &[&topics[0]], "");
    let tmpfs = Tmpfs::mount(&site.out("full"), "size=1m");
    let mut run = site.start(&[]);
    site.await_log("full: writer 0 waits for the disk", SOON);
    run.kill9();
    site.task("free", &[&topics[1]], "");
    let mut run = site.start(&[]);
    site.await_lines("free", made.len(), SOON);
    tmpfs.remount("size=100m");
    site.await_lines("full", made.len(), SOON);
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    for task in ["full", "free"] {
        check(&made, &Seen::at_rest(&site.out(task)), Order::PerPartition).assert_exact();
    }
}

/// The task's one file that is being written.
fn live_file(site: &Site) -> PathBuf {
    let entries = std::fs::read_dir(site.out("game")).expect("files").map(|entry| entry.expect("a file").path());
    entries.filter(|p| p.to_string_lossy().contains("/log.")).max().expect("a file")
}

#[test]
fn files_that_others_touch_are_left_and_named() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("touched", 1);
    let made = written(2, 5_000);
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "checkpoint_interval = \"200ms\"");
    let tailer = Tailer::follow(&site.out("game"));
    let mut run = site.start(&[]);
    let produce = |part: usize| {
        let part = &made[part * 1_000..][..1_000];
        kafka().produce(&topic, part.iter().map(Record::from));
        let last = format!("\"p\":0,\"s\":{},", part[999].sequence);
        site.awaited("the part is delivered", SOON, || {
            let found = std::fs::read_to_string(live_file(&site)).is_ok_and(|text| text.contains(&last));
            found.then_some(())
        });
    };
    site.await_log("begins at offset", SOON);
    kafka().produce(&topic, made[..1].iter().map(Record::from));
    site.await_lines("game", 1, SOON);
    let first = live_file(&site);
    kafka().produce(&topic, made[1..1_000].iter().map(Record::from));
    site.await_lines("game", 1_000, SOON);

    let mut stranger = std::fs::File::options().append(true).open(&first).expect("the file");
    stranger.write_all(b"a stranger's line\n").expect("append");
    produce(1);
    site.await_log("somebody else wrote into", SOON);
    let second = live_file(&site);
    assert_ne!(first, second);

    let length = std::fs::metadata(&second).expect("the file").len();
    site.awaited("the tailer is there", SOON, || {
        (tailer.bytes() >= length + std::fs::metadata(&first).expect("the file").len()).then_some(())
    });
    std::fs::remove_file(&second).expect("removed");
    produce(2);
    site.await_log(&format!("{} was removed by somebody else; it held our bytes 0..{length}", second.display()), SOON);

    // The whole directory goes: another is made.
    let third = live_file(&site);
    let all = std::fs::metadata(&third).expect("the file").len() + length;
    site.awaited("the tailer is there", SOON, || {
        (tailer.bytes() >= all + std::fs::metadata(&first).expect("the file").len()).then_some(())
    });
    std::fs::remove_dir_all(site.out("game")).expect("removed");
    kafka().produce(&topic, made[3_000..4_000].iter().map(Record::from));
    site.await_lines("game", 1_000, SOON);
    kafka().produce(&topic, made[4_000..].iter().map(Record::from));
    site.await_lines("game", 2_000, SOON);
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());

    let seen = tailer.finish();
    let gone = |path: PathBuf| Finding::Gone { path };
    for finding in &seen.findings {
        assert!([gone(first.clone()), gone(second.clone()), gone(third.clone())].contains(finding), "{finding}");
    }
    let verdict = check(&made, &seen, Order::PerPartition);
    assert_eq!(verdict.strangers, ["a stranger's line"]);
    Verdict { strangers: Vec::new(), ..verdict }.assert_exact();
}
