//! kill -9 at random instants, at full load, with a reader of the files that only goes forward.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{
    Checker, Dice, Mix, Order, Part, Record, SOON, Seen, Site, Tailer, eventually, kafka, left_out, times,
};

const PARTITIONS: i32 = 6;
/// Kills of one run; `LOGMILL_KILLS` asks for more.
const KILLS: u64 = 30;
/// Records that come in for each kill.
const RECORDS_PER_KILL: usize = 8_000;

/// The moments are random, and repeat with `LOGMILL_KILL_SEED`.
#[test]
fn kills_lose_double_tear_and_shrink_nothing() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let (kills, seed) = (times("LOGMILL_KILLS", KILLS), times("LOGMILL_KILL_SEED", 1));
    println!("{kills} kills, LOGMILL_KILL_SEED={seed}");
    let kafka = kafka();
    let topic = kafka.create_topic("kill", PARTITIONS);
    let mut mix = Mix::new(seed, PARTITIONS);
    let mut random = Dice(seed);
    let mut checker = Checker::new();
    let mut site = Site::new(kafka.bootstrap());
    // Small rings and files, two of each thread, checkpoints all the time: every rule has its chance to fail.
    site.task(
        "game",
        &[&topic],
        "readers = 2\nwriters = 2\nlanes = 3\ndeliver_by = \"role_id\"\nring_size = \"8MiB\"\nrotate_size = \"4MiB\"\n\
         checkpoint_interval = \"100ms\"\nfile_name = \"{lane}_log.%Y-%m-%d_{seq}\"",
    );
    let tailer = Tailer::follow(&site.out("game"));
    for kill in 0..kills {
        let made: Vec<_> = mix.by_ref().take(RECORDS_PER_KILL).collect();
        made.iter().for_each(|m| checker.expect_made(m));
        let before = tailer.bytes();
        let mut run = site.start(&[]);
        let began = Instant::now();
        kafka.produce(&topic, made.iter().map(Record::from));
        // Half of the kills come with the first lines, the others later, or not before all is delivered.
        let wait = Duration::from_millis(random.below(300));
        while began.elapsed() < wait || (kill % 2 == 0 && tailer.bytes() == before) {
            assert!(run.ended().is_none(), "it ended by itself:\n{}", site.log());
            assert!(began.elapsed() < SOON, "no line came:\n{}", site.log());
            std::thread::yield_now();
        }
        run.kill9();
    }
    let mut last = site.start(&["--exit-at-end"]);
    assert!(last.wait(SOON).success(), "{}", site.log());
    let seen = tailer.finish();
    seen.assert_clean();
    checker.check(&seen, Order::PerFile).assert_exact();
    // Otherwise the kills fell where nothing was under way.
    let recovered = site.log().lines().filter(|line| line.contains("recovered in")).count() as u64;
    assert!(recovered >= kills / 4, "only {recovered} of {kills} kills left something to finish");
}

/// What a power loss leaves: files as they happen to be, the ledger, and no maps that anybody may believe.
#[test]
fn without_maps_files_go_back_to_the_checkpoint_and_are_exact() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let kafka = kafka();
    let topic = kafka.create_topic("void", PARTITIONS);
    let mut mix = Mix::new(3, PARTITIONS);
    let mut checker = Checker::new();
    let mut site = Site::new(kafka.bootstrap());
    site.task("game", &[&topic], "rotate_size = \"1MiB\"\ncheckpoint_interval = \"100ms\"");
    for _ in 0..10 {
        let made: Vec<_> = mix.by_ref().take(RECORDS_PER_KILL).collect();
        made.iter().for_each(|m| checker.expect_made(m));
        let before = written(&site);
        let mut run = site.start(&[]);
        kafka.produce(&topic, made.iter().map(Record::from));
        eventually("lines come", SOON, || (written(&site) > before).then_some(()));
        run.kill9();
        let state = site.path("data").read_dir().expect("data").flatten().find(|e| is_state(&e.path())).expect("state");
        std::fs::remove_file(state.path().join("current")).expect("the maps");
    }
    let mut last = site.start(&["--exit-at-end"]);
    assert!(last.wait(SOON).success(), "{}", site.log());
    let seen = Seen::at_rest(&site.out("game"));
    seen.assert_clean();
    checker.check(&seen, Order::PerPartition).assert_exact();
    let log = site.log();
    assert!(log.contains("go back to checkpoint"), "{log}");
}

fn is_state(path: &Path) -> bool {
    path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("state."))
}

/// Bytes in all output files; what begins with a dot is the program's own, and comes before the maps.
fn written(site: &Site) -> u64 {
    let Ok(items) = site.out("game").read_dir() else { return 0 };
    let files = items.flatten().filter(|item| !item.file_name().as_encoded_bytes().starts_with(b"."));
    files.filter_map(|item| item.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum()
}
