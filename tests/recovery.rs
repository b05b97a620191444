//! Starts on a data directory that is not what the last process left: damaged, old, or beside another output directory;
//! through the binary on a real broker.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Checker, Made, Mix, Order, Part, Record, Running, SOON, Seen, Site, kafka, left_out};
use logmill::flow::span::checksum;

/// A site with one task, and what it was given.
struct Case {
    site: Site,
    topic: String,
    mix: std::iter::Peekable<Mix>,
    made: Vec<Made>,
}

impl Case {
    fn new(stem: &str) -> Case {
        let topic = kafka().create_topic(stem, 3);
        let mut site = Site::new(kafka().bootstrap());
        site.task("game", &[&topic], "checkpoint_interval = \"100ms\"\nrotate_size = \"256KiB\"");
        Case { site, topic, mix: Mix::new(1, 3).only_written().peekable(), made: Vec::new() }
    }

    fn produce(&mut self, count: usize) {
        let more: Vec<_> = self.mix.by_ref().take(count).collect();
        kafka().produce(&self.topic, more.iter().map(Record::from));
        self.made.extend(more);
    }

    /// A run that has delivered all there is, and goes on.
    fn delivering(&mut self, count: usize) -> Running {
        self.produce(count);
        let run = self.site.start(&[]);
        self.site.await_lines("game", self.made.len(), SOON);
        run
    }

    fn run_to_end(&self) {
        let status = self.site.start(&["--exit-at-end"]).wait(SOON);
        assert!(status.success(), "{}", self.site.log());
    }

    fn refused(&self) -> String {
        let before = self.site.log().len();
        assert_eq!(self.site.start(&["--exit-at-end"]).wait(SOON).code(), Some(1), "{}", self.site.log());
        self.site.log()[before..].to_owned()
    }

    fn assert_exact(&self) {
        let mut checker = Checker::new();
        self.made.iter().for_each(|m| checker.expect_made(m));
        let seen = Seen::at_rest(&self.site.out("game"));
        seen.assert_clean();
        checker.check(&seen, Order::PerPartition).assert_exact();
    }

    fn database(&self) -> PathBuf {
        self.site.path("data/ledger/data.mdb")
    }

    fn state(&self) -> PathBuf {
        let mut items = self.site.path("data").read_dir().expect("data").flatten().map(|item| item.path());
        items.find(|p| p.to_string_lossy().contains("/state.")).expect("a state")
    }
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp").success());
}

type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 6] = [
    ("garbage", |path| std::fs::write(path, vec![0x5a; 1 << 20]).expect("written")),
    ("empty", |path| std::fs::write(path, b"").expect("written")),
    ("cut in its third page", |path| {
        std::fs::File::options().write(true).open(path).expect("the database").set_len(2 * 4096 + 100).expect("cut");
    }),
    ("zeroed pages", |path| {
        let file = std::fs::File::options().write(true).open(path).expect("the database");
        file.write_all_at(&[0; 16 * 4096], 2 * 4096).expect("written");
    }),
    ("torn pages", |path| {
        let file = std::fs::File::options().write(true).open(path).expect("the database");
        (2..40).for_each(|page| file.write_all_at(&[0xff; 512], page * 4096).expect("written"));
    }),
    ("gone", |path| std::fs::remove_file(path).expect("removed")),
];

#[test]
fn a_damaged_ledger_is_built_anew_and_maps_that_are_whole_go_on() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut case = Case::new("damage");
    for (what, damage) in DAMAGES {
        case.delivering(2_000).kill9();
        damage(&case.database());
        let before = case.site.log().len();
        case.produce(500);
        case.run_to_end();
        let log = case.site.log()[before..].to_owned();
        assert!(log.contains("ERROR") && log.contains("the ledger has lost state"), "{what}: {log}");
        assert!(!log.contains("go back to checkpoint"), "{what}: {log}");
        case.assert_exact();
    }
}

#[test]
fn a_damaged_ledger_without_maps_goes_back_to_its_flat_copy() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut case = Case::new("flat");
    for (what, damage) in DAMAGES {
        // Files are finished and read-only beyond the flat copy, which is older by some checkpoints.
        case.delivering(2_000).kill9();
        damage(&case.database());
        std::fs::remove_file(case.state().join("current")).expect("the maps");
        let before = case.site.log().len();
        case.produce(500);
        case.run_to_end();
        let log = case.site.log()[before..].to_owned();
        assert!(log.contains("the ledger has lost state") && log.contains("go back to checkpoint"), "{what}: {log}");
        case.assert_exact();
    }
}

/// Either the check sees it, or what is read is a checkpoint that was committed.
#[test]
fn a_changed_byte_in_the_first_pages_of_the_ledger_is_survived() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut case = Case::new("bytes");
    case.delivering(1_000).kill9();
    let whole = std::fs::read(case.database()).expect("the database");
    let check = |bytes: &[u8]| {
        std::fs::write(case.database(), bytes).expect("written");
        let mut check = Command::new(env!("CARGO_BIN_EXE_logmill"));
        check.arg("check-ledger").arg(case.site.path("data/ledger")).status().expect("the check")
    };
    assert!(check(&whole).success());
    let mut damaged = Vec::new();
    // The heads of both pages, where all that LMDB goes by stands.
    for at in (0..160).chain(4096..4096 + 160) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        if !check(&bytes).success() {
            damaged.push(at);
        }
    }
    assert!(damaged.len() > 10, "{damaged:?}");
    let some: Vec<usize> = damaged.iter().copied().step_by(damaged.len().div_ceil(6)).collect();
    for at in some.into_iter().chain([48, 120, 128, 4096 + 128]) {
        let mut bytes = std::fs::read(case.database()).expect("the database");
        bytes.resize(whole.len(), 0);
        bytes[at] ^= 0xff;
        std::fs::write(case.database(), bytes).expect("written");
        case.produce(200);
        case.run_to_end();
        case.assert_exact();
    }
}

#[test]
fn an_old_copy_of_the_data_directory_is_refused_and_nothing_is_touched() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut case = Case::new("backup");
    // One file alone, so that maps know all of it that an older flat copy does.
    case.site.clear_tasks().task("game", &[&case.topic], "checkpoint_interval = \"100ms\"");
    let (data, backup, newest) = (case.site.path("data"), case.site.path("backup"), case.site.path("newest"));
    // A cold copy, and a hot one that is newer than the last start; with maps of this boot, and without.
    case.delivering(2_000).kill9();
    copy(&data, &backup);
    let mut run = case.delivering(2_000);
    let hot = case.site.path("hot");
    copy(&data, &hot);
    case.produce(2_000);
    case.site.await_lines("game", case.made.len(), SOON);
    case.site.awaited("a checkpoint after it", SOON, || {
        let committed: i64 = kafka().committed(&case.site.group("game"), &case.topic).into_iter().flatten().sum();
        (committed == case.made.len() as i64).then_some(())
    });
    run.kill9();
    copy(&data, &newest);
    let files = || Seen::at_rest(&case.site.out("game")).files;
    let before = files();
    for copied in [&backup, &hot] {
        for maps in [true, false] {
            copy(copied, &data);
            if !maps {
                std::fs::remove_file(case.state().join("current")).expect("the maps");
            }
            let said = case.refused();
            assert!(said.contains("is an old copy") && said.contains("new group_id"), "{said}");
            assert!(files() == before, "files were touched");
        }
    }
    // Only the ledger is old: its flat copy, or the maps, know better.
    copy(&newest, &data);
    copy(&backup.join("ledger"), &data.join("ledger"));
    case.produce(500);
    case.run_to_end();
    case.assert_exact();

    // The way out that needs no newer copy: back to the old checkpoint, and all that is younger once more.
    copy(&backup, &data);
    case.refused();
    std::fs::remove_file(case.site.out("game").join(".logmill-seen")).expect("the witness");
    std::fs::remove_file(case.state().join("current")).expect("the maps");
    case.run_to_end();
    case.assert_exact();
}

#[test]
fn a_changed_dir_is_gone_to_once_nothing_is_owed_to_the_old_one() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut case = Case::new("moves");
    let move_to = |case: &mut Case, name: &str| {
        let keys = format!("dir = {:?}\nrate_limit = 0", case.site.path("out/game").join(name));
        let topic = case.topic.clone();
        case.site.clear_tasks().task("game", &[&topic], &keys);
    };
    let files = |case: &Case, name: &str| Seen::at_rest(&case.site.path("out/game").join(name)).files.len();
    // Killed with a full ring, in the middle of it all.
    move_to(&mut case, "first");
    case.delivering(20_000).kill9();
    case.produce(30_000);
    let lines = case.site.lines("game");
    let mut run = case.site.start(&[]);
    case.site.awaited("more lines", SOON, || (case.site.lines("game") > lines).then_some(()));
    run.kill9();
    let in_first = files(&case, "first");

    move_to(&mut case, "second");
    case.run_to_end();
    assert!(files(&case, "second") > 0, "{}", case.site.log());
    assert!(files(&case, "first") >= in_first);
    let first = Seen::at_rest(&case.site.path("out/game/first"));
    assert!(first.files.iter().all(|(path, _)| std::fs::metadata(path).expect("a file").permissions().readonly()));
    case.assert_exact();

    // It ended in order: the second directory may be gone.
    let away = case.site.path("away");
    std::fs::rename(case.site.path("out/game/second"), &away).expect("renamed");
    case.produce(1_000);
    move_to(&mut case, "third");
    case.run_to_end();
    assert!(files(&case, "third") > 0);
    std::fs::rename(&away, case.site.path("out/game/second")).expect("renamed");
    case.assert_exact();

    // It did not: it may not be gone; and when it is back, all goes on.
    case.delivering(1_000).kill9();
    std::fs::rename(case.site.path("out/game/third"), &away).expect("renamed");
    move_to(&mut case, "fourth");
    let said = case.refused();
    assert!(said.contains("out/game/third") && said.contains("Bring it back"), "{said}");
    std::fs::rename(&away, case.site.path("out/game/third")).expect("renamed");
    case.produce(1_000);
    case.run_to_end();
    case.assert_exact();
    // And back to one that was there before.
    move_to(&mut case, "first");
    case.delivering(1_000).kill9();
    case.run_to_end();
    case.assert_exact();
    assert_eq!(case.site.told("game").total.consumed, case.made.len() as u64);
}

/// Gives the maps' headers another layout's number, as another version of the program would have made them.
fn set_layout(state: &Path, version: u64) {
    for item in state.join("current/").read_dir().expect("maps").flatten() {
        if item.file_name() == "program" || item.file_name() == "rest" {
            continue;
        }
        let map = std::fs::File::options().read(true).write(true).open(item.path()).expect("a map");
        let mut bytes = [0; 80];
        map.read_exact_at(&mut bytes, 0).expect("its header");
        let mut words: Vec<u64> =
            bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes"))).collect();
        words[1] = version;
        words[9] = checksum(&words[..9]);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        map.write_all_at(&bytes, 0).expect("written");
    }
    std::fs::write(state.join("current/program"), "logmill 9.9.9\n").expect("written");
}

#[test]
fn maps_of_another_layout_are_left_to_the_program_that_made_them_until_they_are_at_rest() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut case = Case::new("layout");
    case.delivering(2_000).kill9();
    set_layout(&case.state(), 9);
    let files = || Seen::at_rest(&case.site.out("game"));
    let before = files().lines().count();
    let said = case.refused();
    assert!(said.contains("the maps are of layout 9 and were made by logmill 9.9.9; this is layout"), "{said}");
    assert!(said.contains("Start logmill 9.9.9 once more and stop it in order, then start this one"), "{said}");
    assert_eq!(files().lines().count(), before);

    // That program is this one again, and stops in order.
    set_layout(&case.state(), logmill::ring::layout::VERSION);
    case.run_to_end();
    set_layout(&case.state(), 9);
    case.produce(1_000);
    let log = case.site.log().len();
    case.run_to_end();
    let log = &case.site.log()[log..];
    assert!(log.contains("they are at rest, and new ones begin at checkpoint"), "{log}");
    assert!(!log.contains("goes back") && !log.contains("younger than the checkpoint"), "{log}");
    case.assert_exact();

    // What they noted is forgotten as soon as they are used again.
    case.delivering(1_000).kill9();
    set_layout(&case.state(), 9);
    assert!(case.refused().contains("the maps are of layout 9"));
    set_layout(&case.state(), logmill::ring::layout::VERSION);
    case.run_to_end();
    case.assert_exact();
}
