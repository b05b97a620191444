//! What changes under the program between two starts: the boot, the mounts, the files. Through the binary on a real
//! broker; the process before was killed in the middle of its work.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{
    LoopDisk, Made, Order, Part, Record, SOON, Seen, Site, Tailer, Verdict, expecting, kafka, left_out, written,
};

const RECORDS: usize = 20_000;
/// What runs below it has mounts of its own; what is unmounted here is unmounted there too.
const OWN_MOUNTS: [&str; 4] = ["unshare", "--mount", "--propagation", "slave"];

/// A task that was killed while it wrote, and has more to write.
struct Killed {
    site: Site,
    made: Vec<Made>,
}

/// Kills it after the first lines, with what `prepare` makes of the empty place; half of the records come later.
fn killed<T>(stem: &str, prepare: impl FnOnce(&Site) -> T) -> (Killed, T) {
    let topic = kafka().create_topic(stem, 3);
    let made = written(1, 3, RECORDS);
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "ring_size = \"1MiB\"\nmax_line_bytes = \"64KiB\"\nrotate_size = \"1MiB\"");
    let prepared = prepare(&site);
    let (sooner, later) = made.split_at(RECORDS / 2);
    kafka().produce(&topic, sooner.iter().map(Record::from));
    let mut run = site.start(&[]);
    site.await_lines("game", RECORDS / 20, SOON);
    run.kill9();
    kafka().produce(&topic, later.iter().map(Record::from));
    (Killed { site, made }, prepared)
}

impl Killed {
    /// Delivers the rest below `wrapper`; gives what was logged.
    fn run_to_end(&self, wrapper: &[&str]) -> String {
        let before = self.site.log().len();
        let status = self.site.start_under(wrapper, &["--exit-at-end"]).wait(SOON);
        let said = self.site.log()[before..].to_owned();
        assert!(status.success(), "{said}");
        said
    }

    fn judge(&self, seen: &Seen) -> Verdict {
        seen.assert_clean();
        expecting(&self.made).check(seen, Order::PerPartition)
    }
}

#[test]
fn maps_of_another_boot_are_not_believed() {
    if left_out(&[Part::Kafka, Part::Mount]) {
        return;
    }
    let (task, ()) = killed("boot", |_| ());
    let other = task.site.path("boot_id");
    std::fs::write(&other, "0a1b2c3d-0000-4000-8000-00000000000f\n").expect("written");
    let as_it_was = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
    let shell = ["sh", "-c", as_it_was, other.to_str().expect("a plain path")];
    let said = task.run_to_end(&[&OWN_MOUNTS, &shell[..]].concat());
    assert!(said.contains("the maps are of another boot of the machine; files go back to checkpoint"), "{said}");
    task.judge(&Seen::at_rest(&task.site.out("game"))).assert_exact();
    // And back: nothing was owed, so nothing is cut but what is empty.
    let said = task.run_to_end(&[]);
    assert!(said.contains("of another boot"), "{said}");
    task.judge(&Seen::at_rest(&task.site.out("game"))).assert_exact();
}

/// As when a container starts again: other mounts, and all that they show is the same.
#[test]
fn other_mounts_of_the_same_files_cut_nothing() {
    if left_out(&[Part::Kafka, Part::Mount]) {
        return;
    }
    let (task, tailer) = killed("mounts", |site| Tailer::follow(&site.out("game")));
    let said = task.run_to_end(&OWN_MOUNTS);
    assert!(!said.contains("go back"), "{said}");
    task.judge(&tailer.finish()).assert_exact();
}

#[test]
fn a_filesystem_that_was_away_and_lost_nothing_cuts_nothing() {
    if left_out(&[Part::Kafka, Part::Mount]) {
        return;
    }
    let (task, disk) = killed("away", |site| LoopDisk::new(&site.path("image"), &site.path("out"), 256));
    disk.restore_power();
    let said = task.run_to_end(&[]);
    assert!(!said.contains("go back"), "{said}");
    task.judge(&Seen::at_rest(&task.site.out("game"))).assert_exact();
}

/// They are of this boot, these mounts and this checkpoint: only that they are copies shows that the files are ahead.
#[test]
fn maps_put_back_as_they_were_before_are_not_believed() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("back", 3);
    let made = written(1, 3, RECORDS);
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "ring_size = \"1MiB\"\nmax_line_bytes = \"64KiB\"\ncheckpoint_interval = \"1h\"");
    let mut run = site.start(&[]);
    kafka().produce(&topic, made[..RECORDS / 2].iter().map(Record::from));
    site.await_lines("game", RECORDS / 4, SOON);
    let copied = |from: &Path, to: &Path| {
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp").success());
    };
    let (data, before) = (site.path("data"), site.path("before"));
    // It stands still meanwhile: all maps are of one moment.
    run.signal(libc::SIGSTOP);
    copied(&data, &before);
    run.signal(libc::SIGCONT);
    kafka().produce(&topic, made[RECORDS / 2..].iter().map(Record::from));
    site.await_lines("game", RECORDS, SOON);
    run.kill9();
    std::fs::remove_dir_all(&data).expect("removed");
    copied(&before, &data);
    let task = Killed { site, made };
    let said = task.run_to_end(&[]);
    assert!(said.contains("bytes where the maps say") && said.contains("files go back to checkpoint"), "{said}");
    task.judge(&Seen::at_rest(&task.site.out("game"))).assert_exact();
    // Where the files are as the copy says, it is as good as what it was copied from.
    let newest = task.site.path("newest");
    std::fs::rename(&data, &newest).expect("renamed");
    copied(&newest, &data);
    let said = task.run_to_end(&[]);
    assert!(!said.contains("go back"), "{said}");
    task.judge(&Seen::at_rest(&task.site.out("game"))).assert_exact();
}

/// What it finds at the end of a file is not what it wrote: it leaves that, and goes on in a new file.
#[test]
fn what_a_stranger_writes_meanwhile_is_left_where_it_is() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let (task, tailer) = killed("meanwhile", |site| Tailer::follow(&site.out("game")));
    let paths = std::fs::read_dir(task.site.out("game")).expect("files").map(|entry| entry.expect("a file").path());
    let ours = |path: &PathBuf| path.to_string_lossy().contains("/log.");
    let newest = paths.filter(ours).max_by_key(|path| path.metadata().expect("a file").modified().expect("a time"));
    let mut file = std::fs::File::options().append(true).open(newest.expect("a file")).expect("the file");
    // One that has reached rotate_size gets no more lines: nobody looks at its end.
    let is_full = file.metadata().expect("a file").len() >= 1 << 20;
    file.write_all(b"a stranger's line\n").expect("append");
    let said = task.run_to_end(&[]);
    // One that the kill left empty before it was used is nobody's.
    let is_seen =
        ["somebody else wrote into", "exists already and is not ours"].iter().any(|words| said.contains(words));
    assert!((is_full || is_seen) && !said.contains("go back"), "{said}");
    let verdict = task.judge(&tailer.finish());
    // Before it may stand a piece of a line that the kill cut off, up to all of it but its newline.
    assert!(matches!(&verdict.strangers[..], [line] if line.ends_with("a stranger's line")), "{verdict}");
    Verdict { strangers: Vec::new(), ..verdict }.assert_exact();
}
