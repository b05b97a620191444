//! Topics and partitions as they come and go, through the binary on a real broker: where reading begins, what appears
//! later, what transactions hide, and state that outlives the shape and the name of a task.

use std::path::PathBuf;

use crate::support::{
    Made, Mix, Order, Part, Record, SOON, Seen, Site, Tailer, TransactionEnd, expecting, kafka, left_out, mark, written,
};

/// The (partition, sequence) of every line in a directory where nothing moves any more, sorted.
fn marks(site: &Site, task: &str) -> Vec<(i32, u64)> {
    let seen = Seen::at_rest(&site.out(task));
    seen.assert_clean();
    let mut marks: Vec<_> = seen.lines().map(|(_, line)| mark(line).expect("a line of ours")).collect();
    marks.sort();
    marks
}

#[test]
fn a_partition_added_while_running_is_read_from_its_beginning() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("grows", 1);
    let mut mix = Mix::new(1, 1).only_written();
    let before: Vec<_> = mix.by_ref().take(2_000).collect();
    kafka().produce(&topic, before.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    // "latest" is for what is there at the start; what appears later is new as a whole.
    site.task("game", &[&topic], "start = \"latest\"");
    let mut run = site.start(&[]);
    site.await_log(&format!("{topic}/0 begins at offset 2000"), SOON);
    kafka().add_partitions(&topic, 3);
    mix.set_partitions(3);
    let after: Vec<_> = mix.take(6_000).collect();
    kafka().produce(&topic, after.iter().map(Record::from));
    site.await_lines("game", 6_000, SOON);
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    let seen = Seen::at_rest(&site.out("game"));
    seen.assert_clean();
    expecting(&after).check(&seen, Order::PerPartition).assert_exact();
    let committed: i64 = kafka().committed(&site.group("game"), &topic).into_iter().flatten().sum();
    assert_eq!(committed, 8_000);
}

#[test]
fn a_topic_that_does_not_exist_is_named_and_waited_for() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let there = kafka().create_topic("there", 1);
    let missing = format!("{there}_sister");
    let made = written(2, 2, 4_000);
    let (first, second): (Vec<_>, Vec<_>) = made.iter().partition(|m| m.partition == 0);
    kafka().produce(&there, first.iter().map(|m| Record::from(*m)));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&there, &missing], "");
    let mut run = site.start(&["--exit-at-end"]);
    site.await_log(&format!("waiting for topic {missing}"), SOON);
    site.await_lines("game", first.len(), SOON);
    assert_eq!(run.ended(), None);
    kafka().create_topic_named(&missing, 1, &[]);
    let renumbered = second.iter().map(|m| Record { partition: 0, ..Record::from(*m) });
    kafka().produce(&missing, renumbered);
    // The end of a topic is where it ends when it is found: here some of its records may be after it.
    assert!(run.wait(SOON).success(), "{}", site.log());
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    assert_eq!(site.log().matches("waiting for topic").count(), 1, "said once");
    expecting(&made).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
}

#[test]
fn what_comes_behind_the_end_of_a_run_is_left_to_the_next_one() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let [long, growing] = ["long", "growing"].map(|name| kafka().create_topic(name, 1));
    let filtered = br#"{"headers":{"app_id":24,"log_name":"tbllog_login"},"logs":{}}"#;
    let filtered = Record { partition: 0, payload: Some(filtered.to_vec()), timestamp_ms: 0 };
    kafka().produce(&long, std::iter::repeat_n(filtered, 500_000));
    let made = written(3, 1, 2_000);
    let (first, late) = made.split_at(1_000);
    kafka().produce(&growing, first.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&long, &growing], "");
    let mut run = site.start(&["--exit-at-end"]);
    // By then the run has heard where it ends, and the long topic keeps it.
    site.await_lines("game", first.len(), SOON);
    run.signal(libc::SIGSTOP);
    kafka().produce(&growing, late.iter().map(Record::from));
    run.signal(libc::SIGCONT);
    assert!(run.wait(SOON).success(), "{}", site.log());
    expecting(first).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    expecting(&made).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
}

#[test]
fn a_topic_that_is_deleted_is_named_and_holds_no_other_up() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topics = [kafka().create_topic("stays", 1), kafka().create_topic("goes", 1)];
    let made = written(9, 2, 4_000);
    let (stays, goes): (Vec<_>, Vec<_>) = made.iter().partition(|m| m.partition == 0);
    kafka().produce(&topics[1], goes.iter().map(|m| Record { partition: 0, ..Record::from(*m) }));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topics[0], &topics[1]], "checkpoint_interval = \"200ms\"");
    let mut run = site.start(&[]);
    site.await_lines("game", goes.len(), SOON);
    kafka().delete_topic(&topics[1]);
    site.await_log(&format!("waiting for topic {}", topics[1]), SOON);
    // Each step is a checkpoint, and a commit of which the deleted topic's part fails.
    for (step, part) in stays.chunks(stays.len().div_ceil(4)).enumerate() {
        kafka().produce(&topics[0], part.iter().map(|m| Record::from(*m)));
        let next = part[part.len() - 1].sequence as i64 + 1;
        site.awaited(&format!("step {step} is committed"), SOON, || {
            (kafka().committed(&site.group("game"), &topics[0]) == [Some(next)]).then_some(())
        });
    }
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    assert_eq!(site.log().matches("cannot commit offsets").count(), 1, "said once:\n{}", site.log());
    expecting(&made).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
}

#[test]
fn reading_begins_where_start_says() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("start", 1);
    let made = written(3, 1, 3_000);
    kafka().produce(&topic, made.iter().map(Record::from));
    // The mix dates a hundred records to each second, from 1,608,184,000 on, 123 ms into it.
    let second = |s: u64| format!("\"{}\"", ["2020-12-17T13:46:50+08:00", "2020-12-17T05:46:50.500Z"][s as usize]);
    for (start, first) in [("\"earliest\"", 0), ("\"latest\"", 3_000), (&second(0), 1_000), (&second(1), 1_100)] {
        let mut site = Site::new(kafka().bootstrap());
        site.task("game", &[&topic], &format!("start = {start}"));
        assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
        let expected: Vec<_> = (first..3_000).map(|s| (0, s)).collect();
        assert_eq!(marks(&site, "game"), expected, "{start}");
        // What is stored wins from then on.
        site.clear_tasks().task("game", &[&topic], "start = \"earliest\"");
        assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
        assert_eq!(site.told("game").run.consumed, 0, "{start}");
    }
}

#[test]
fn start_decides_for_a_topic_that_joins_a_task_later() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topics = [kafka().create_topic("first", 1), kafka().create_topic("joins", 1)];
    let made = written(10, 1, 2_000);
    kafka().produce(&topics[1], made[..1_000].iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topics[0]], "");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    site.clear_tasks().task("game", &[&topics[0], &topics[1]], "start = \"latest\"");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    kafka().produce(&topics[1], made[1_000..].iter().map(Record::from));
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    assert_eq!(marks(&site, "game"), (1_000..2_000).map(|s| (0, s)).collect::<Vec<_>>());
}

#[test]
fn what_a_transaction_hides_is_not_seen_and_holds_nothing_up() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("transactions", 2);
    let made = written(4, 2, 8_000);
    let produce = |end, records: &[Made]| kafka().produce_transaction(&topic, end, records.iter().map(Record::from));
    produce(TransactionEnd::Commit, &made[..2_000]);
    produce(TransactionEnd::Abort, &made[2_000..4_000]);
    produce(TransactionEnd::Commit, &made[4_000..6_000]);
    // The last offsets of both partitions are an aborted transaction and the marks of its end.
    produce(TransactionEnd::Abort, &made[6_000..]);
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let seen = Seen::at_rest(&site.out("game"));
    expecting(made[..2_000].iter().chain(&made[4_000..6_000])).check(&seen, Order::PerPartition).assert_exact();
    let ends: Vec<_> = kafka().watermarks(&topic).into_iter().map(|(_, end)| Some(end)).collect();
    assert_eq!(kafka().committed(&site.group("game"), &topic), ends, "over the marks, too");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    assert_eq!(site.told("game").run.consumed, 0);
}

#[test]
fn an_open_transaction_ends_a_backfill_before_it() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("open", 1);
    let made = written(5, 1, 3_000);
    kafka().produce(&topic, made[..1_000].iter().map(Record::from));
    let open = kafka().open_transaction(&topic, made[1_000..2_000].iter().map(Record::from));
    kafka().produce(&topic, made[2_000..].iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    expecting(&made[..1_000]).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
    open.commit();
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    expecting(&made).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
}

#[test]
fn a_task_may_change_its_shape_and_its_name() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("shapes", 4);
    let mut mix = Mix::new(6, 4).only_written();
    let mut site = Site::new(kafka().bootstrap());
    let tailer = Tailer::follow(&site.out("game"));
    let same = format!("group_id = {:?}\ndir = {:?}\n", site.group("game"), site.out("game"));
    let shapes = [
        ("game", "readers = 2"),
        ("game", "readers = 4\nwriters = 2\nlanes = 2"),
        ("other", "readers = 1\nwriters = 3\nlanes = 5\nring_size = \"8MiB\""),
        ("game", "readers = 3\nrotate = \"none\""),
    ];
    let mut all = Vec::new();
    for (name, shape) in shapes {
        let made: Vec<_> = mix.by_ref().take(5_000).collect();
        kafka().produce(&topic, made.iter().map(Record::from));
        all.extend(made);
        site.clear_tasks().task(name, &[&topic], &format!("{same}{shape}"));
        assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
        assert_eq!((site.told(name).run.consumed, site.told(name).total.consumed), (5_000, all.len() as u64));
    }
    let seen = tailer.finish();
    seen.assert_clean();
    expecting(&all).check(&seen, Order::PerPartition).assert_exact();
}

#[test]
fn a_second_instance_is_refused_and_told_who_is_there() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("twice", 1);
    kafka().produce(&topic, written(7, 1, 100).iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    let mut first = site.start(&[]);
    site.await_lines("game", 100, SOON);
    let holder = format!("process {}", first.pid());

    let refused = site.start(&[]).wait(SOON);
    assert_eq!(refused.code(), Some(1));
    let said = site.log();
    let line = said.lines().find(|line| line.contains("data directory")).expect("the reason");
    assert!(line.contains(&holder) && line.contains(&*site.path("data").to_string_lossy()), "{line}");

    let mut other = Site::new(kafka().bootstrap());
    other.task("game", &[&topic], &format!("dir = {:?}", site.out("game")));
    assert_eq!(other.start(&[]).wait(SOON).code(), Some(1));
    assert!(other.log().contains(&holder) && other.log().contains(&*site.out("game").to_string_lossy()));

    first.term();
    assert!(first.wait(SOON).success(), "{}", site.log());
    assert_eq!(marks(&site, "game").len(), 100);
}

#[test]
fn finished_files_become_read_only_and_are_named_by_the_hour() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("hours", 1);
    let made = written(8, 1, 20_000);
    kafka().produce(&topic, made.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "rotate = \"hour\"\nrotate_size = \"1MiB\"\ncheckpoint_interval = \"1s\"");
    let mut run = site.start(&[]);
    site.await_lines("game", 20_000, SOON);
    let finished = |path: &PathBuf| std::fs::metadata(path).expect("a file").permissions().readonly();
    let files = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(site.out("game")).expect("files").map(|entry| entry.expect("a file").path());
        let mut files: Vec<_> = entries.filter(|p| p.to_string_lossy().contains("/log.")).collect();
        files.sort();
        files
    };
    // All but those that are still below the size.
    site.awaited("the finished files are read-only", SOON, || {
        let small = |p: &PathBuf| std::fs::metadata(p).expect("a file").len() < 1 << 20;
        files().iter().all(|p| finished(p) != small(p)).then_some(())
    });
    assert!(files().len() > 5, "{:?}", files());
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
    let now = jiff::Timestamp::now().to_zoned(zone);
    for path in files() {
        use std::os::unix::fs::PermissionsExt;
        let meta = std::fs::metadata(&path).expect("a file");
        let mode = if meta.len() < 1 << 20 { 0o640 } else { 0o440 };
        assert_eq!(meta.permissions().mode() & 0o7777, mode, "{path:?}");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let hours =
            [now.clone(), now.clone() - jiff::Span::new().hours(1)].map(|t| t.strftime("log.%Y-%m-%d-%H_").to_string());
        assert!(hours.iter().any(|hour| name.starts_with(hour)), "{name}");
    }
    expecting(&made).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
}
