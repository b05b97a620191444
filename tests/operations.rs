//! What docs/operations.md tells an operator to do, done with the real program on a real broker: data and files moved,
//! to another host too, a task renamed, and what moves an offset and what does not.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Made, Order, Part, Record, SOON, Seen, Site, expecting, kafka, left_out, written};
use logmill::flow::span::checksum;

/// A site with one task, and what its topic was given.
struct Case {
    site: Site,
    topic: String,
    made: Vec<Made>,
    given: usize,
}

impl Case {
    fn new(stem: &str) -> Case {
        let topic = kafka().create_topic(stem, 2);
        let mut site = Site::new(kafka().bootstrap());
        site.task("game", &[&topic], "rotate_size = \"64KiB\"");
        Case { site, topic, made: written(7, 2, 10_000), given: 0 }
    }

    /// Produces some more, delivers them, and stops in order.
    fn deliver(&mut self) {
        let more = &self.made[self.given..self.given + 1_000];
        kafka().produce(&self.topic, more.iter().map(Record::from));
        self.given += more.len();
        let status = self.site.start(&["--exit-at-end"]).wait(SOON);
        assert!(status.success(), "{}", self.site.log());
    }

    fn assert_exact(&self) {
        let seen = Seen::at_rest(&self.site.out("game"));
        seen.assert_clean();
        expecting(&self.made[..self.given]).check(&seen, Order::PerPartition).assert_exact();
        let log = self.site.log();
        assert!(!log.contains("goes back from") && !log.contains("younger than the checkpoint"), "{log}");
    }
}

/// Copies a directory as `cp -a` does and removes the first one: other inodes, the same names and bytes.
fn copy_over(path: &Path) {
    let aside = path.with_extension("moved");
    std::fs::rename(path, &aside).expect("renamed");
    assert!(Command::new("cp").arg("-a").arg(&aside).arg(path).status().expect("cp").success());
    std::fs::remove_dir_all(&aside).expect("removed");
}

/// Gives the maps' headers another boot's number, as a copy on another host finds them.
fn set_other_boot(data: &Path) {
    let states = data.read_dir().expect("data").flatten().filter(|item| item.path().join("current").exists());
    for item in states.flat_map(|state| state.path().join("current/").read_dir().expect("maps").flatten()) {
        let name = item.file_name().into_string().expect("a name");
        if !name.starts_with("ring.") && !name.starts_with("slot.") {
            continue;
        }
        let map = std::fs::File::options().read(true).write(true).open(item.path()).expect("a map");
        let mut bytes = [0; 80];
        map.read_exact_at(&mut bytes, 0).expect("its header");
        let words = bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
        let mut words: Vec<u64> = words.collect();
        words[3] ^= 1;
        words[9] = checksum(&words[..9]);
        words.iter().enumerate().for_each(|(at, word)| {
            map.write_all_at(&word.to_le_bytes(), at as u64 * 8).expect("written");
        });
    }
}

#[test]
fn data_and_files_that_were_moved_after_a_stop_go_on_here_and_on_another_host() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut case = Case::new("moved");
    case.deliver();
    copy_over(&case.site.path("data"));
    case.deliver();
    case.assert_exact();
    copy_over(&case.site.path("data"));
    copy_over(&case.site.out("game"));
    case.deliver();
    case.assert_exact();
    copy_over(&case.site.path("data"));
    copy_over(&case.site.out("game"));
    set_other_boot(&case.site.path("data"));
    case.deliver();
    case.assert_exact();
    assert!(case.site.log().contains("another boot"), "{}", case.site.log());
}

#[test]
fn a_renamed_task_goes_on_where_it_was() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut case = Case::new("renamed");
    case.deliver();
    let (group, dir) = (case.site.group("game"), case.site.out("game"));
    let lines = format!("group_id = {group:?}\ndir = {dir:?}\nrotate_size = \"64KiB\"");
    case.site.clear_tasks().task("other", &[&case.topic], &lines);
    case.deliver();
    case.assert_exact();
    assert_eq!(case.site.told("other").total.consumed, 2_000);
}

#[test]
fn an_offset_of_the_consumer_group_that_is_reset_moves_nothing() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut case = Case::new("reset");
    case.deliver();
    let (group, topic) = (case.site.group("game"), case.topic.clone());
    assert_eq!(kafka().committed(&group, &topic).iter().flatten().sum::<i64>(), 1_000);
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/kafka"));
    command.args(["tool", "--dir"]).arg(kafka().dir()).args(["kafka-consumer-groups", "--group", &group]);
    command.args(["--topic", &topic, "--reset-offsets", "--to-earliest", "--execute"]);
    let output = command.output().expect("tools/kafka");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(kafka().committed(&group, &topic).iter().flatten().sum::<i64>(), 0);
    case.deliver();
    case.assert_exact();
    // What lag tools see is true again.
    assert_eq!(kafka().committed(&group, &topic).iter().flatten().sum::<i64>(), 2_000);
}
