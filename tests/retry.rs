//! The failure queue read again, through the engine and the binary on a real broker: parked records become lines once
//! their settings are mended, or are cleared, each exactly once, whatever happens meanwhile.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{
    Checker, Fate, Made, Mix, Order as LineOrder, Part, Record, SOON, Seen, Site, Tailer, kafka, left_out, times,
};
use logmill::conf;
use logmill::engine::{Answer, Engine, Load, Mode, Order, Remote, order_offline};
use logmill::ledger::failures::{Failure, Filter};
use logmill::ledger::queue;
use logmill::ring::layout::Work;
use logmill::ring::set::MapSet;
use logmill::sys::file::boot_id;

/// Runs the site's tasks in this process, where they hear orders, until `deed` is done.
fn with_engine<T>(site: &Site, deed: impl FnOnce(&Remote) -> T) -> T {
    site.write_config();
    let loaded = conf::load(&site.config(), None).unwrap_or_else(|problems| panic!("{}", conf::explain(&problems)));
    let engine = Engine::start(loaded, load_again(site), Mode::default()).expect("the engine");
    let remote = engine.remote();
    let thread = std::thread::spawn(move || engine.run());
    let done = deed(&remote);
    remote.stop();
    let summary = thread.join().expect("the engine's thread").expect("a good end");
    std::fs::write(site.path("summary"), summary.to_string()).expect("the summary");
    done
}

/// Reads the site's configuration once more.
fn load_again(site: &Site) -> Load {
    let config = site.config();
    Box::new(move || conf::load(&config, None))
}

/// What an order comes to where the program does not run.
fn offline(site: &Site, order: Order) -> Answer {
    site.write_config();
    let loaded = conf::load(&site.config(), None).unwrap_or_else(|problems| panic!("{}", conf::explain(&problems)));
    order_offline(loaded, load_again(site), order)
}

fn retry(remote: &Remote, filter: Filter) -> Answer {
    remote.order(Order::Retry { task: Some("game".into()), filter }, SOON)
}

fn clear(remote: &Remote, filter: Filter) -> Answer {
    remote.order(Order::Clear { task: None, filter }, SOON)
}

fn codes(codes: &[&str]) -> Filter {
    Filter { codes: codes.iter().map(|code| (*code).to_owned()).collect(), ..Filter::default() }
}

fn failures_now(remote: &Remote) -> u64 {
    remote.status().tasks.iter().map(|task| task.queue.failures).sum()
}

fn maps(site: &Site) -> (std::path::PathBuf, MapSet) {
    let items = std::fs::read_dir(site.path("data")).expect("the data directory").map(|e| e.expect("an entry").path());
    let state = items.into_iter().find(|path| path.to_string_lossy().contains("/state.")).expect("a state");
    let maps = MapSet::open(&state, boot_id().expect("a boot id")).expect("maps");
    (state, maps)
}

/// What is in the queue, as one sees it beside the program, by place.
fn parked(site: &Site) -> Vec<Failure> {
    let (state, maps) = maps(site);
    let dir = state.join("failures");
    let listed = queue::list(&dir, queue::taken(&maps), Filter::default());
    let mut failures: Vec<Failure> = listed.map(|failure| failure.expect("a parked record")).collect();
    assert_eq!(queue::count(&dir, queue::taken(&maps), Filter::default()).expect("a count"), failures.len() as u64);
    failures.sort_by_key(|f| (f.partition, f.offset, f.k));
    failures
}

fn by_code(failures: &[Failure]) -> BTreeMap<String, usize> {
    failures.iter().fold(BTreeMap::new(), |mut sums, failure| {
        *sums.entry(failure.code.clone()).or_default() += 1;
        sums
    })
}

/// Segment files of the queue.
fn segments(site: &Site) -> usize {
    queue::segments(&maps(site).0.join("failures")).expect("segments").len()
}

fn verify(site: &Site) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logmill"));
    let output = command.arg("verify").arg("--config").arg(site.config()).args(["--task", "game"]).output();
    let output = output.expect("logmill verify");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// From here on nobody is without an id: E14 and E16 are mended.
fn mend(site: &Site) {
    let path = site.path("settings/mthinkingdata:metadata.24.json");
    let text = std::fs::read_to_string(&path).expect("settings");
    let mended = text.replace("\"role_id\", \"default\": \"\"", "\"role_id\", \"default\": \"nobody\"").replace(
        "\"#event_id\": { \"field\": \"order_id\" }",
        "\"#event_id\": { \"field\": \"order_id\", \"default\": 1 }",
    );
    assert!(mended.matches("\"default\": \"nobody\"").count() == 1 && mended.contains("\"default\": 1"), "{mended}");
    std::fs::write(&path, mended).expect("settings");
}

fn is_mendable(made: &&Made) -> bool {
    matches!(made.fate, Fate::Parked("E14_NO_ID" | "E16_EVENT_ID"))
}

/// Lines, each once; those of parked records may stand behind younger ones.
fn assert_exact(checker: &Checker, seen: &Seen) {
    seen.assert_clean();
    let verdict = checker.check(seen, LineOrder::PerFile);
    assert!(verdict.lost.is_empty() && verdict.doubled.is_empty() && verdict.strangers.is_empty(), "{verdict}");
}

fn checker<'m>(lines: impl IntoIterator<Item = &'m Made>) -> Checker {
    let mut checker = Checker::new();
    lines.into_iter().for_each(|made| checker.expect(made.partition, made.sequence));
    checker
}

#[test]
fn mended_records_become_lines_and_the_others_go_back() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("mended", 3);
    let made: Vec<Made> = Mix::new(11, 3).take(6_000).collect();
    kafka().produce(&topic, made.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "checkpoint_interval = \"200ms\"\nreaders = 2");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let before = parked(&site);
    let count = made.iter().filter(|m| matches!(m.fate, Fate::Parked(_))).count();
    let mendable = made.iter().filter(is_mendable).count();
    assert!(before.len() == count && mendable > 20 && mendable < count, "{} {mendable}", before.len());
    mend(&site);
    let left = count - mendable;
    let told = with_engine(&site, |remote| {
        assert_eq!(failures_now(remote), count as u64);
        let wrong = retry(remote, codes(&["E99"]));
        assert!(
            wrong.as_ref().is_err_and(|w| w.starts_with("there is no reason E99; the reasons are E01_")),
            "{wrong:?}"
        );
        let nobody = remote.order(Order::Retry { task: Some("nobody".into()), filter: Filter::default() }, SOON);
        assert_eq!(nobody, Err("there is no task nobody".into()));
        let first = retry(remote, Filter::after_reload());
        assert_eq!(failures_now(remote), left as u64);
        [first, retry(remote, Filter::after_reload()), retry(remote, codes(&["E05", "E07"]))]
    });
    let again = before.iter().filter(|f| f.code.starts_with("E05") || f.code.starts_with("E07")).count();
    let sums = |lines, again| Ok(format!("{} retried: {lines} lines, 0 filtered, {again} parked again", lines + again));
    assert_eq!(told, [sums(mendable, 0), sums(0, 0), sums(0, again)]);
    let after = parked(&site);
    assert_eq!((after.len(), after.len()), (left, before.len() - mendable));
    for failure in &after {
        let was = before.iter().find(|f| (f.partition, f.offset) == (failure.partition, failure.offset));
        let was = was.expect("it was parked before");
        let tried = failure.code.starts_with("E05") || failure.code.starts_with("E07");
        let attempts = if tried { 2 } else { 1 };
        assert_eq!(*failure, Failure { attempts, ..was.clone() }, "nothing but the attempts has changed");
    }
    let expected: Vec<&Made> = made.iter().filter(|m| m.fate == Fate::Written || is_mendable(m)).collect();
    assert_exact(&checker(expected), &Seen::at_rest(&site.out("game")));
    let summary = std::fs::read_to_string(site.path("summary")).expect("a summary");
    let tried = mendable + again;
    let said =
        format!("retried {tried} = written {mendable} + filtered 0 + parked again {again}, cleared 0, holds {left}");
    assert!(summary.contains(&said), "{summary}");
    verify(&site);
}

#[test]
fn clear_takes_what_it_is_asked_for_and_segments_go() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("clear", 2);
    let made: Vec<Made> = Mix::new(12, 2).take(8_000).collect();
    kafka().produce(&topic, made.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "checkpoint_interval = \"100ms\"");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let before = parked(&site);
    let sums = by_code(&before);
    let of_one = before.iter().filter(|f| f.partition == 1).count();
    let (e05, e14) = (sums["E05_JSON"], sums["E14_NO_ID"]);
    with_engine(&site, |remote| {
        assert_eq!(clear(remote, codes(&["E05_JSON"])), Ok(e05.to_string()));
        assert_eq!(failures_now(remote), (before.len() - e05) as u64);
        let none = Filter { topic: Some("other".into()), ..Filter::default() };
        assert_eq!(clear(remote, none), Ok("0".into()));
        let never = Filter { before_ms: Some(1_000), ..Filter::default() };
        assert_eq!(clear(remote, never), Ok("0".into()));
        assert_eq!(failures_now(remote), (before.len() - e05) as u64);
    });
    let kept: Vec<Failure> = before.iter().filter(|f| f.code != "E05_JSON").cloned().collect();
    assert_eq!(parked(&site), kept, "the others as they were");
    verify(&site);
    with_engine(&site, |remote| {
        let partition = Filter { partition: Some(1), ..codes(&["E14"]) };
        let cleared: usize = clear(remote, partition).expect("cleared").parse().expect("a number");
        assert!(cleared > 0 && cleared < e14.min(of_one), "{cleared} of {e14}, {of_one}");
        let all = clear(remote, Filter::default());
        assert_eq!(all, Ok((before.len() - e05 - cleared).to_string()));
        assert_eq!((failures_now(remote), parked(&site)), (0, vec![]));
        // What is empty goes, once two more checkpoints have passed.
        site.awaited("no segment is left", SOON, || (segments(&site) == 0).then_some(()));
    });
    let summary = std::fs::read_to_string(site.path("summary")).expect("a summary");
    assert!(summary.contains(&format!("cleared {}, holds 0", before.len())), "{summary}");
    verify(&site);
    // What is parked from now on has its place, and nothing comes back.
    kafka().produce(&topic, [Record { partition: 0, payload: Some(b"{".to_vec()), timestamp_ms: 5 }]);
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    assert_eq!(by_code(&parked(&site)), BTreeMap::from([("E05_JSON".into(), 1)]));
    assert_eq!(site.told("game").total.parked, before.len() as u64 + 1);
}

/// The promise: a retry that is killed again and again (`LOGMILL_RETRY_KILLS` times), with live traffic beside it.
#[test]
fn kills_in_the_middle_of_a_retry_lose_and_double_nothing() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    const PARKED: u64 = 40_000;
    let kills = times("LOGMILL_RETRY_KILLS", 8);
    let topic = kafka().create_topic("killed", 2);
    let made = |n: u64| {
        let (fate, role) =
            if n % 10 == 9 { (Fate::Parked("E08_HEADERS"), "") } else { (Fate::Parked("E14_NO_ID"), "") };
        let headers = if n % 10 == 9 { "[]" } else { "{\"app_id\":24,\"log_name\":\"log_item\"}" };
        let (partition, sequence) = ((n % 2) as i32, n / 2);
        let payload = format!("{{\"headers\":{headers},\"logs\":{{\"p\":{partition},\"s\":{sequence}{role}}}}}");
        Made { partition, sequence, fate, payload: payload.into_bytes(), timestamp_ms: 1_608_184_000_000 }
    };
    let all: Vec<Made> = (0..PARKED).map(made).collect();
    kafka().produce(&topic, all.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    let keys = "checkpoint_interval = \"100ms\"\nring_size = \"1MiB\"\nmax_line_bytes = \"64KiB\"\nwriters = 2\n\
                lanes = 2\ndeliver_by = \"s\"\nfile_name = \"{lane}_log.%Y-%m-%d_{seq}\"\nrotate_size = \"1MiB\"\n";
    site.task("game", &[&topic], &format!("{keys}readers = 2"));
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let stuck = all.iter().filter(|m| !is_mendable(m)).count();
    assert_eq!((parked(&site).len() as u64, site.lines("game")), (PARKED, 0));
    mend(&site);
    // It begins slowly, and is not done when this process lets go of it.
    site.clear_tasks().task("game", &[&topic], &format!("{keys}readers = 2\nrate_limit = 2000"));
    let tailer = Tailer::follow(&site.out("game"));
    with_engine(&site, |remote| {
        let remote = remote.clone();
        let answer = std::thread::spawn({
            let remote = remote.clone();
            move || retry(&remote, Filter::default())
        });
        site.awaited("the first lines", SOON, || (site.lines("game") > 0).then_some(()));
        let [status] = &remote.status().tasks[..] else { panic!("one task") };
        assert!(status.queue.goal == PARKED && status.queue.done < PARKED, "{:?}", status.queue);
        let second = retry(&remote, Filter::default());
        assert!(second.as_ref().is_err_and(|w| w.contains("a retry or clear is under way")), "{second:?}");
        remote.stop();
        let answer = answer.join().expect("an answer");
        assert!(answer.as_ref().is_err_and(|w| w.contains("at the next start")), "{answer:?}");
    });
    site.clear_tasks().task("game", &[&topic], &format!("{keys}readers = 2\nrate_limit = 10000"));
    let mut mix = Mix::new(7, 2).only_written();
    let mut live: Vec<Made> = Vec::new();
    let mut random = 1_u64;
    for kill in 0..kills {
        let made: Vec<Made> = mix.by_ref().take(200).map(|m| Made { sequence: m.sequence + PARKED, ..m }).collect();
        let renamed = made.iter().map(|m| {
            let text = String::from_utf8(m.payload.clone()).expect("text");
            let was = format!("\"s\":{}", m.sequence - PARKED);
            Record { payload: Some(text.replacen(&was, &format!("\"s\":{}", m.sequence), 1).into_bytes()), ..m.into() }
        });
        kafka().produce(&topic, renamed);
        live.extend(made);
        let before = tailer.bytes();
        let mut run = site.start(&[]);
        let began = Instant::now();
        while tailer.bytes() == before {
            assert!(began.elapsed() < SOON && run.ended().is_none(), "no line came:\n{}", site.log());
            std::thread::yield_now();
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(kill);
        // Every third one behind some checkpoints.
        let later = if kill % 3 == 2 { 400 } else { 0 };
        std::thread::sleep(Duration::from_millis(later + (random >> 33) % 15));
        run.kill9();
    }
    let begun = site.log().matches("retry begins").count() as u64;
    assert!(begun >= kills / 2, "{begun} of {kills} kills found a retry to go on with");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let after = parked(&site);
    assert_eq!((after.len(), by_code(&after)), (stuck, BTreeMap::from([("E08_HEADERS".into(), stuck)])));
    assert!(after.iter().all(|f| f.attempts == 2), "each was tried once more, and only once");
    let expected = all.iter().filter(is_mendable).chain(&live);
    assert_exact(&checker(expected), &tailer.finish());
    let summary = std::fs::read_to_string(site.path("summary")).expect("a summary");
    let (lines, holds) = (PARKED as usize - stuck, stuck);
    let said =
        format!("retried {PARKED} = written {lines} + filtered 0 + parked again {stuck}, cleared 0, holds {holds}");
    assert!(summary.contains(&said), "{summary}");
    verify(&site);
}

/// What a power loss leaves: the ledger, files as they happen to be, and no maps that anybody may believe.
#[test]
fn without_maps_a_retry_goes_back_to_the_checkpoint_and_is_exact() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("void", 2);
    let made: Vec<Made> = Mix::new(13, 2).take(30_000).collect();
    kafka().produce(&topic, made.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "checkpoint_interval = \"100ms\"\nrate_limit = 60000");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    mend(&site);
    site.clear_tasks().task("game", &[&topic], "checkpoint_interval = \"100ms\"\nrate_limit = 1");
    let lines = site.lines("game");
    with_engine(&site, |remote| {
        let patience = Duration::from_millis(500);
        let answer = remote.order(Order::Retry { task: None, filter: Filter::default() }, patience);
        assert!(answer.is_err(), "it takes longer: {answer:?}");
    });
    for start in 1..=3 {
        site.clear_tasks().task("game", &[&topic], "checkpoint_interval = \"100ms\"\nrate_limit = 2000");
        let mut run = site.start(&[]);
        let begun = || (site.log().matches("retry begins").count() == start).then_some(());
        site.awaited("it goes on", SOON, begun);
        std::thread::sleep(Duration::from_millis(60));
        run.kill9();
        std::fs::remove_file(maps(&site).0.join("current")).expect("the maps");
    }
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let mendable = made.iter().filter(is_mendable).count();
    assert_eq!(site.lines("game"), lines + mendable);
    let expected: Vec<&Made> = made.iter().filter(|m| m.fate == Fate::Written || is_mendable(m)).collect();
    assert_exact(&checker(expected), &Seen::at_rest(&site.out("game")));
    let stuck = made.iter().filter(|m| matches!(m.fate, Fate::Parked(_))).count() - mendable;
    let after = parked(&site);
    assert!(after.len() == stuck && after.iter().all(|f| f.attempts == 2), "{} of {stuck}", after.len());
    assert!(site.log().contains("go back to checkpoint"), "{}", site.log());
    verify(&site);
}

#[test]
fn a_full_queue_is_freed_by_clear_and_by_retry() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("freed", 1);
    let without_id = |n: usize| {
        let logs = format!("\"p\":0,\"s\":{n}{}", if n % 10 == 9 { "" } else { ",\"role_id\":1" });
        let payload = format!("{{\"headers\":{{\"app_id\":24,\"log_name\":\"log_item\"}},\"logs\":{{{logs}}}}}");
        Record { partition: 0, payload: Some(payload.into_bytes()), timestamp_ms: 1_608_184_000_000 }
    };
    kafka().produce(&topic, (0..100).map(without_id));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "failures_max = 3\ncheckpoint_interval = \"100ms\"");
    with_engine(&site, |remote| {
        site.await_lines("game", 36, SOON);
        assert_eq!(clear(remote, Filter { offset: Some(9), ..Filter::default() }), Ok("1".into()));
        // Room for one, and the next is waited for.
        site.await_lines("game", 45, SOON);
        assert_eq!((failures_now(remote), clear(remote, Filter::default())), (3, Ok("3".into())));
        site.await_lines("game", 72, SOON);
        assert_eq!((failures_now(remote), retry(remote, Filter::default())), (3, retried(0, 3)));
    });
    let places: Vec<i64> = parked(&site).iter().map(|f| f.offset).collect();
    assert_eq!((places, site.lines("game")), (vec![49, 59, 69], 72));
    mend(&site);
    with_engine(&site, |remote| {
        assert_eq!(retry(remote, Filter::default()), retried(3, 0));
        site.await_lines("game", 96, SOON);
    });
    assert_eq!((parked(&site), site.told("game").total.parked), (vec![], 7));
    verify(&site);
}

fn retried(lines: u64, parked: u64) -> Answer {
    Ok(format!("{} retried: {lines} lines, 0 filtered, {parked} parked again", lines + parked))
}

#[test]
fn a_value_that_was_not_unpacked_becomes_its_records() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("unpacked", 1);
    let item = |n: u64| {
        let logs = format!("\"p\":0,\"s\":{n},\"role_id\":1");
        format!("{{\"headers\":{{\"app_id\":24,\"log_name\":\"log_item\"}},\"logs\":{{{logs}}}}}")
    };
    let text = format!("{}\n{{broken\n{}\n[2]\n{}\n", item(0), item(1), item(2));
    let block = snap::raw::Encoder::new().compress_vec(text.as_bytes()).expect("snappy");
    let bad = vec![0xff; 40];
    let record = |payload: &[u8]| Record { partition: 0, payload: Some(payload.to_vec()), timestamp_ms: 1 };
    kafka().produce(&topic, [record(&block), record(&bad)]);
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    assert_eq!((by_code(&parked(&site)), site.lines("game")), (BTreeMap::from([("E04_UTF8".into(), 2)]), 0));
    site.clear_tasks().task("game", &[&topic], "value_codec = \"snappy\"");
    let told = with_engine(&site, |remote| {
        let told = retry(remote, Filter::default());
        assert_eq!(failures_now(remote), 3);
        told
    });
    assert_eq!(told, Ok("6 retried: 3 lines, 0 filtered, 3 parked again".into()));
    let after: Vec<_> = parked(&site).into_iter().map(|f| (f.code, f.offset, f.k, f.whole, f.attempts)).collect();
    let known = |code: &str, offset, k, whole| (code.to_owned(), offset, k, whole, 2);
    let broken = [known("E05_JSON", 0, 1, false), known("E07_ROOT", 0, 3, false), known("E03_CODEC", 1, 0, true)];
    assert_eq!(after, broken);
    assert_eq!(site.lines("game"), 3);
    // Again, by a new process: what it counts is what it finds.
    let told = with_engine(&site, |remote| (failures_now(remote), retry(remote, codes(&["E05", "E03"]))));
    assert_eq!(told, (3, retried(0, 2)));
    verify(&site);
}

#[test]
fn a_payload_that_is_kept_cut_goes_back_and_says_so() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("cut", 1);
    let pad = "x".repeat(400_000);
    let payload = format!("{{\"headers\":{{\"app_id\":24,\"log_name\":\"log_item\"}},\"logs\":{{\"pad\":\"{pad}\"}}}}");
    kafka().produce(&topic, [Record { partition: 0, payload: Some(payload.clone().into_bytes()), timestamp_ms: 1 }]);
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "ring_size = \"1MiB\"\nmax_line_bytes = \"64KiB\"");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let before = parked(&site);
    mend(&site);
    assert_eq!(with_engine(&site, |remote| retry(remote, Filter::default())), retried(0, 1));
    let after = parked(&site);
    assert!(after[0].detail.contains("seek to its offset"), "{}", after[0].detail);
    assert_eq!((after[0].bytes, after[0].attempts), (payload.len() as i64, 2));
    assert!(before[0].payload.starts_with(&after[0].payload) && after[0].payload.len() > 100_000);
}

#[test]
fn a_parked_record_that_is_deadly_three_times_says_so_and_goes_back() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("deadly", 1);
    let value = b"{\"headers\":{\"app_id\":24,\"log_name\":\"log_item\"},\"logs\":{\"p\":0,\"s\":0}}".to_vec();
    kafka().produce(&topic, [Record { partition: 0, payload: Some(value), timestamp_ms: 1 }]);
    let mut site = Site::new(kafka().bootstrap());
    site.process("[cluster.away]\nbrokers = \"127.0.0.1:1\"");
    site.task("game", &[&topic], "readers = 1");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    mend(&site);
    let at = queue::place(queue::segments(&maps(&site).0.join("failures")).expect("segments")[0].0, 0);
    for death in 1..=3 {
        maps(&site).1.rings[0].begin_work(Work { topic: u16::MAX, partition: 0, offset: at });
        if death < 3 {
            // Nobody listens there.
            site.clear_tasks().task("game", &[&topic], "readers = 1\ncluster = \"away\"");
            let mut run = site.start(&[]);
            let said = "the process died over";
            site.awaited(said, SOON, || (site.log().matches(said).count() == death).then_some(()));
            run.kill9();
        }
    }
    site.clear_tasks().task("game", &[&topic], "readers = 1");
    assert_eq!(with_engine(&site, |remote| retry(remote, Filter::default())), retried(0, 1));
    let after = parked(&site);
    assert_eq!((after[0].code.as_str(), after[0].attempts, after[0].offset), ("E21_CRASH", 2, 0));
    assert_eq!(with_engine(&site, |remote| retry(remote, codes(&["E21"]))), retried(1, 0));
    assert_eq!((parked(&site), site.lines("game")), (vec![], 1));
}

/// The files are watched: nobody tells the program.
#[test]
fn settings_that_are_mended_while_it_runs_get_what_they_mend_tried_again() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topics = ["watched", "watched_full"].map(|name| kafka().create_topic(name, 1));
    let made: Vec<Made> = Mix::new(16, 1).take(3_000).collect();
    for topic in &topics {
        kafka().produce(topic, made.iter().map(Record::from));
    }
    let mut site = Site::new(kafka().bootstrap());
    let mendable = made.iter().filter(is_mendable).count();
    let parked = made.iter().filter(|m| matches!(m.fate, Fate::Parked(_))).count();
    let written = made.iter().filter(|m| m.fate == Fate::Written).count();
    // The second task waits for its full queue, which it is to have room in again.
    let max = parked - mendable;
    let before = made.iter().filter(|m| matches!(m.fate, Fate::Parked(_))).take(max);
    assert!(before.filter(is_mendable).count() > 0 && mendable > 0);
    let keys = "checkpoint_interval = \"200ms\"\nreaders = 1";
    site.task("game", &[&topics[0]], keys);
    site.task("full", &[&topics[1]], &format!("{keys}\nfailures_max = {max}"));
    let mut run = site.start(&[]);
    site.await_lines("game", written, SOON);
    site.await_log(&format!("full: the failure queue holds {max} records"), SOON);
    mend(&site);
    site.await_lines("game", written + mendable, SOON);
    site.await_lines("full", written + mendable, SOON);
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    for task in ["game", "full"] {
        let expected = made.iter().filter(|m| m.fate == Fate::Written || is_mendable(m));
        assert_exact(&checker(expected), &Seen::at_rest(&site.out(task)));
        let summary = std::fs::read_to_string(site.path("summary")).expect("a summary");
        let mine = summary.lines().find(|line| line.starts_with(&format!("{task}: failure queue: retried")));
        assert!(mine.is_some_and(|line| line.ends_with(&format!("cleared 0, holds {max}"))), "{summary}");
    }
    // Once, and never again: another start has nothing to mend.
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    assert_eq!(site.log().matches("retry begins").count(), 2, "{}", site.log());
}

#[test]
fn without_the_running_program_and_without_a_broker() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("offline", 1);
    let made: Vec<Made> = Mix::new(14, 1).take(3_000).collect();
    kafka().produce(&topic, made.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.process("[cluster.away]\nbrokers = \"127.0.0.1:1\"");
    site.task("game", &[&topic], "");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    let before = parked(&site);
    let sums = by_code(&before);
    let clear = |codes: Filter| Order::Clear { task: Some("game".into()), filter: codes };
    let refused = with_engine(&site, |_| offline(&site, clear(Filter::default())));
    assert!(refused.as_ref().is_err_and(|what| what.contains("in use by")), "{refused:?}");
    // More has come, which nobody reads meanwhile.
    let lines = site.lines("game");
    kafka().produce(&topic, Mix::new(15, 1).take(100).collect::<Vec<_>>().iter().map(Record::from));
    assert_eq!(offline(&site, clear(codes(&["E05"]))), Ok(sums["E05_JSON"].to_string()));
    assert_eq!(site.lines("game"), lines);
    mend(&site);
    site.clear_tasks().task("game", &[&topic], "cluster = \"away\"");
    let mended = (sums["E14_NO_ID"] + sums["E16_EVENT_ID"]) as u64;
    assert_eq!(offline(&site, Order::Retry { task: None, filter: Filter::after_reload() }), retried(mended, 0));
    assert_eq!(site.lines("game"), lines + mended as usize);
    assert_eq!(parked(&site).len(), before.len() - sums["E05_JSON"] - mended as usize);
}
