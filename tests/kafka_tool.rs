//! `tools/kafka` itself: what the other tests build on. Real brokers, started and ended for good.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::{Codec, Kafka, Part, Record, SOON, TransactionEnd, eventually, kafka, left_out};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tempfile::TempDir;

#[test]
fn a_broker_from_start_to_stop_leaves_nothing() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let kafka = Kafka::start(1);
    let dir = kafka.dir().to_owned();
    let pid = kafka.pid(1);
    assert_eq!(text(&tool("start", &dir).stdout), format!("bootstrap={}\n", kafka.bootstrap()), "a second start");
    assert_eq!(kafka.pid(1), pid, "a second start starts nothing");

    let topic = kafka.create_topic("road", 2);
    let records = [record(1, b"first"), record(1, b"second"), Record { payload: None, ..record(0, b"") }];
    assert_eq!(kafka.produce(&topic, records), 3);
    assert_eq!(kafka.watermarks(&topic), [(0, 1), (0, 2)]);
    assert_eq!(consume(&kafka, &topic, 1, 2), ["first", "second"]);
    assert_eq!(consume(&kafka, &topic, 0, 1), ["(null)"]);

    let status = tool("status", &dir);
    let port = kafka.bootstrap().rsplit(':').next().expect("a port");
    let expected = format!("bootstrap={}\nbroker=1 state=up port={port} pid={pid}\n", kafka.bootstrap());
    assert_eq!((status.status.code(), text(&status.stdout)), (Some(0), expected));

    drop(kafka);
    assert!(!dir.exists(), "the directory stays");
    assert_eq!(processes_naming(&dir), [0; 0], "processes stay");
    assert_eq!(tool("status", &dir).status.code(), Some(3));
    assert!(!dir.exists(), "asking for the status makes the directory anew");
}

#[test]
fn topics_grow_compress_commit_and_lose_their_head() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let kafka = kafka();
    let topic = kafka.create_topic("many", 1);
    kafka.add_partitions(&topic, 3);
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        kafka.produce_with(&topic, codec, [record(2, &vec![b'x'; 2_000_000])]);
    }
    assert_eq!(kafka.watermarks(&topic), [(0, 0), (0, 0), (0, 5)]);

    kafka.produce_transaction(&topic, TransactionEnd::Abort, [record(1, b"never")]);
    kafka.produce_transaction(&topic, TransactionEnd::Commit, [record(1, b"seen")]);
    assert_eq!(kafka.watermarks(&topic)[1], (0, 4), "each transaction's end takes an offset");
    assert_eq!(consume(kafka, &topic, 1, 1), ["seen"]);

    kafka.delete_records(&topic, 2, 3);
    assert_eq!(kafka.watermarks(&topic)[2], (3, 5));

    assert_eq!(kafka.committed("nobody", &topic), [None, None, None]);
    let mut positions = TopicPartitionList::new();
    positions.add_partition_offset(&topic, 2, Offset::Offset(4)).expect("an offset");
    let consumer = consumer(kafka, "somebody");
    consumer.commit(&positions, rdkafka::consumer::CommitMode::Sync).expect("commit");
    assert_eq!(kafka.committed("somebody", &topic), [None, None, Some(4)]);

    kafka.delete_topic(&topic);
    kafka.create_topic_named(&topic, 2, &[("cleanup.policy", "compact")]);
    assert_eq!(kafka.watermarks(&topic), [(0, 0), (0, 0)], "made anew");
}

#[test]
fn a_killed_broker_comes_back_with_its_data() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let kafka = Kafka::start(1);
    let topic = kafka.create_topic("kept", 1);
    kafka.produce(&topic, [record(0, b"kept")]);
    let pid = kafka.pid(1);
    kafka.pause(1);
    assert!(text(&tool("status", kafka.dir()).stdout).contains("broker=1 state=silent"), "a stopped process");
    kafka.resume(1);
    kafka.kill9(1);
    assert_eq!(tool("status", kafka.dir()).status.code(), Some(3), "a dead broker is not running");
    kafka.restart(1);
    assert_ne!(kafka.pid(1), pid);
    assert_eq!(consume(&kafka, &topic, 0, 1), ["kept"], "on the same port");
}

#[test]
fn three_brokers_outlive_the_death_of_one() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let kafka = Kafka::start(3);
    assert_eq!(kafka.bootstrap().split(',').count(), 3);
    let topic = kafka.create_topic("replicated", 3);
    kafka.produce(&topic, (0..3).map(|partition| record(partition, b"before")));
    kafka.kill9(2);
    assert_eq!(kafka.produce(&topic, (0..3).map(|partition| record(partition, b"after"))), 3, "leaders moved");
    kafka.restart(2);
    for partition in 0..3 {
        assert_eq!(consume(&kafka, &topic, partition, 2), ["before", "after"]);
    }
}

#[test]
fn data_kept_at_stop_is_there_at_the_next_start_which_fetches_nothing() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let kafka = Kafka::start(1);
    let topic = kafka.create_topic("kept", 1);
    kafka.produce(&topic, [record(0, b"kept")]);
    assert!(command("stop", kafka.dir()).arg("--keep-data").status().expect("tools/kafka").success());
    assert_eq!(processes_naming(kafka.dir()), [0; 0], "processes stay");

    let maven = FakeMaven::new();
    let start = maven.run(&mut command("start", kafka.dir()));
    assert!(start.status.success(), "{}", text(&start.stderr));
    assert_eq!(text(&start.stdout), format!("bootstrap={}\n", kafka.bootstrap()));
    assert!(!maven.was_called(), "Kafka was fetched again");
    assert_eq!(consume(&kafka, &topic, 0, 1), ["kept"]);
}

#[test]
fn starts_at_the_same_time_give_one_instance() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let place = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let dir = place.path().join("kafka");
    let owner = std::process::id().to_string();
    let start = || command("start", &dir).args(["--owner-pid", &owner]).stdout(Stdio::piped()).spawn();
    let starts: Vec<_> = (0..4).map(|_| start().expect("tools/kafka")).collect();
    let said: Vec<_> = starts.into_iter().map(|start| start.wait_with_output().expect("tools/kafka")).collect();
    assert!(said.iter().all(|said| said.status.success()), "{said:?}");
    assert!(said.iter().all(|other| other.stdout == said[0].stdout), "{said:?}");
    tool("stop", &dir);
    assert_eq!(processes_naming(&dir), [0; 0], "processes stay");
}

#[test]
fn a_failed_fetch_says_so_and_leaves_nothing_half_done() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let (maven, cache) = (FakeMaven::new(), TempDir::new().expect("a directory"));
    let instance = cache.path().join("instance");
    let mut start = command("start", &instance);
    let start = maven.run(start.env("XDG_CACHE_HOME", cache.path()).env_remove("KAFKA_HOME"));
    assert_eq!(start.status.code(), Some(1));
    assert!(maven.was_called());
    assert!(text(&start.stderr).contains("Maven could not fetch Kafka"), "{}", text(&start.stderr));
    assert!(!instance.exists(), "an instance of nothing");
    let half = std::fs::read_dir(cache.path().join("logmill")).expect("cache").filter_map(Result::ok);
    let half: Vec<_> = half.map(|entry| entry.file_name()).filter(|name| name != "lock").collect();
    assert_eq!(half, [""; 0], "half a Kafka in the cache");
}

#[test]
fn a_broker_ends_with_its_owner() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let place = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let dir = place.path().join("kafka");
    let mut owner = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat");
    let start = command("start", &dir).args(["--owner-pid", &owner.id().to_string()]).output().expect("tools/kafka");
    assert!(start.status.success(), "{}", text(&start.stderr));
    assert_ne!(processes_naming(&dir), [0; 0]);
    owner.kill().expect("kill");
    owner.wait().expect("the owner's end");
    eventually("the broker ends after its owner", SOON, || processes_naming(&dir).is_empty().then_some(()));
    eventually("its directory goes too", SOON, || (!dir.exists()).then_some(()));
}

#[test]
fn a_directory_of_somebody_else_is_left_alone() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let place = TempDir::new().expect("a directory");
    let precious = place.path().join("precious");
    std::fs::write(&precious, "mine").expect("a file");
    let start = tool("start", place.path());
    assert_eq!(start.status.code(), Some(1));
    assert!(text(&start.stderr).contains("is not empty"), "{}", text(&start.stderr));
    tool("stop", place.path());
    assert_eq!(std::fs::read_to_string(precious).expect("the file"), "mine");
}

/// An `mvn` in front of the real one that notes its call and fails.
struct FakeMaven(TempDir);

impl FakeMaven {
    fn new() -> FakeMaven {
        let place = TempDir::new().expect("a directory");
        let mvn = place.path().join("mvn");
        std::fs::write(&mvn, "#!/bin/sh\ntouch \"$0.called\"\necho no network\nexit 1\n").expect("mvn");
        std::fs::set_permissions(&mvn, PermissionsExt::from_mode(0o755)).expect("mvn");
        FakeMaven(place)
    }

    fn run(&self, command: &mut Command) -> Output {
        let path = format!("{}:{}", self.0.path().display(), std::env::var("PATH").expect("PATH"));
        command.env("PATH", path).output().expect("tools/kafka")
    }

    fn was_called(&self) -> bool {
        self.0.path().join("mvn.called").exists()
    }
}

fn command(command: &str, dir: &Path) -> Command {
    let mut tool = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/kafka"));
    tool.arg(command).arg("--dir").arg(dir);
    tool
}

fn tool(name: &str, dir: &Path) -> Output {
    command(name, dir).output().expect("tools/kafka")
}

fn record(partition: i32, payload: &[u8]) -> Record {
    Record { partition, payload: Some(payload.to_vec()), timestamp_ms: 1_608_184_360_123 }
}

fn consumer(kafka: &Kafka, group: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap()).set("group.id", group).set("enable.auto.commit", "false");
    config.create().expect("consumer")
}

/// The first `count` payloads of a partition, as text.
fn consume(kafka: &Kafka, topic: &str, partition: i32, count: usize) -> Vec<String> {
    let consumer = consumer(kafka, "readers");
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    consumer.assign(&from).expect("assign");
    let mut next = || consumer.poll(Duration::from_millis(100))?.ok();
    let payload = |_| {
        let message = eventually("a record", SOON, &mut next);
        assert_eq!(message.timestamp().to_millis(), Some(1_608_184_360_123));
        message.payload().map_or("(null)".to_owned(), text)
    };
    (0..count).map(payload).collect()
}

/// Processes whose command line names a path below `dir`: brokers and watchdogs.
fn processes_naming(dir: &Path) -> Vec<u32> {
    let needle = dir.as_os_str().as_encoded_bytes();
    let processes = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let lines = processes.filter_map(|entry| {
        let line = std::fs::read(PathBuf::from("/proc").join(entry.file_name()).join("cmdline")).ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, line))
    });
    lines.filter(|(_, line)| memchr::memmem::find(line, needle).is_some()).map(|(pid, _)| pid).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
