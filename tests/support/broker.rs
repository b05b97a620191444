//! A Kafka of the test binary's own, through `tools/kafka`. It is stopped when dropped, and by a watchdog when the test
//! process is gone (a `static` is never dropped, a crashed test neither).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;

use super::{SOON, eventually, signal};

static INSTANCES: AtomicU32 = AtomicU32::new(1);
static TOPICS: AtomicU32 = AtomicU32::new(1);

pub struct Kafka {
    dir: PathBuf,
    bootstrap: String,
}

impl Kafka {
    /// Starts 1 or 3 brokers in a directory of their own and waits until they answer.
    pub fn start(brokers: u32) -> Kafka {
        Kafka::start_with(&["--brokers", &brokers.to_string()])
    }

    /// Starts one broker with a second listener, whose clients are told that the broker is at `port` of this machine.
    pub fn start_behind(port: u16) -> Kafka {
        Kafka::start_with(&["--front", &port.to_string()])
    }

    fn start_with(arguments: &[&str]) -> Kafka {
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        let name = format!("kafka-{}-{}-{instance}", env!("CARGO_CRATE_NAME"), std::process::id());
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let owner = std::process::id().to_string();
        let said = tool("start", &dir, &[arguments, &["--owner-pid", &owner]].concat());
        let said = String::from_utf8(said.stdout).expect("text");
        let bootstrap = said.trim().strip_prefix("bootstrap=").expect("bootstrap=...").to_owned();
        Kafka { dir, bootstrap }
    }

    /// What goes into `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// `collect`'s words for a cluster with a property that librdkafka alone knows; a file comes into `dir`.
    pub fn by_librdkafka(&self, dir: &Path) -> [OsString; 2] {
        let file = dir.join("librdkafka.toml");
        std::fs::write(&file, cluster(self.bootstrap(), "\"linger.ms\" = \"5\"")).expect("written");
        ["--config".into(), file.into()]
    }

    /// The port of the second listener of a broker that was started behind another port.
    pub fn front(&self) -> u16 {
        let port = std::fs::read_to_string(self.dir.join("1/front")).expect("a broker behind a port");
        port.trim().parse().expect("a port")
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A new topic whose name begins with `stem` and is unique within this test binary.
    pub fn create_topic(&self, stem: &str, partitions: i32) -> String {
        self.create_topic_with(stem, partitions, &[])
    }

    /// The same with topic configuration, as in `("cleanup.policy", "compact")`.
    pub fn create_topic_with(&self, stem: &str, partitions: i32, config: &[(&str, &str)]) -> String {
        let name = format!("{stem}_{}", TOPICS.fetch_add(1, Ordering::Relaxed));
        self.create_topic_named(&name, partitions, config);
        name
    }

    /// A topic of exactly this name, to make one anew that was deleted.
    pub fn create_topic_named(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        let topic = config.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        // A broker that has lost its controller for a moment, on a busy machine, cannot take a replica.
        eventually(&format!("a broker takes {name}"), SOON, || {
            let result = block_on(self.admin().create_topics([&topic], &options())).expect("create topic");
            let refused = result.into_iter().find_map(Result::err).map(|(_, code)| code);
            assert!(matches!(refused, None | Some(RDKafkaErrorCode::InvalidReplicationFactor)), "{name}: {refused:?}");
            refused.is_none().then_some(())
        });
        self.await_partitions(name, partitions);
    }

    pub fn delete_topic(&self, name: &str) {
        let result = block_on(self.admin().delete_topics(&[name], &options())).expect("delete topic");
        result.into_iter().for_each(|topic| drop(topic.expect("delete topic")));
        let consumer = self.consumer("logmill-tests");
        let gone = || partitions(&consumer, name).is_none().then_some(());
        eventually(&format!("{name} is deleted"), SOON, gone);
    }

    /// Raises the number of the topic's partitions to `total`.
    pub fn add_partitions(&self, topic: &str, total: i32) {
        let wanted = NewPartitions::new(topic, total as usize);
        let result = block_on(self.admin().create_partitions([&wanted], &options())).expect("add partitions");
        result.into_iter().for_each(|topic| drop(topic.expect("add partitions")));
        self.await_partitions(topic, total);
    }

    /// Deletes the partition's records below `offset`, as retention does.
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        let result = block_on(self.admin().delete_records(&before, &options())).expect("delete records");
        result.elements().iter().for_each(|partition| partition.error().expect("delete records"));
    }

    /// Low and high watermark of each partition, in order.
    pub fn watermarks(&self, topic: &str) -> Vec<(i64, i64)> {
        let consumer = self.consumer("logmill-tests");
        let marks = |p| consumer.fetch_watermarks(topic, p, SOON).expect("watermarks");
        (0..partitions(&consumer, topic).expect("the topic")).map(marks).collect()
    }

    /// The offsets of all records that the partition holds.
    pub fn offsets(&self, topic: &str, partition: i32) -> Vec<i64> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("group.id", "logmill-tests");
        let consumer: BaseConsumer = config.set("enable.partition.eof", "true").create().expect("consumer");
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
        consumer.assign(&from).expect("assign");
        let mut offsets = Vec::new();
        loop {
            match consumer.poll(SOON).expect("a record or the end") {
                Ok(record) => offsets.push(record.offset()),
                Err(KafkaError::PartitionEOF(_)) => return offsets,
                Err(error) => panic!("{topic}/{partition}: {error}"),
            }
        }
    }

    /// The offset that `group` has committed for each partition, in order; none committed: `None`.
    pub fn committed(&self, group: &str, topic: &str) -> Vec<Option<i64>> {
        let consumer = self.consumer(group);
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_range(topic, 0, partitions(&consumer, topic).expect("the topic") - 1);
        let found = consumer.committed_offsets(wanted, SOON).expect("committed offsets");
        let offset = |partition: i32| match found.find_partition(topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        (0..found.count() as i32).map(offset).collect()
    }

    /// The broker process itself, for signals. Brokers count from 1.
    pub fn pid(&self, broker: u32) -> i32 {
        let file = self.dir.join(broker.to_string()).join("pid");
        std::fs::read_to_string(file).expect("pid file").trim().parse().expect("a process id")
    }

    /// SIGSTOP: the broker is there but says nothing. `resume` ends it.
    pub fn pause(&self, broker: u32) {
        assert!(signal(self.pid(broker), libc::SIGSTOP), "no broker {broker}");
    }

    pub fn resume(&self, broker: u32) {
        assert!(signal(self.pid(broker), libc::SIGCONT), "no broker {broker}");
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill9(&self, broker: u32) {
        let pid = self.pid(broker);
        assert!(signal(pid, libc::SIGKILL), "no broker {broker}");
        let gone = || std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
        eventually("the killed broker is gone", SOON, || (!gone()).then_some(()));
    }

    /// Starts a killed broker on its old port and data, and waits until it answers.
    pub fn restart(&self, broker: u32) {
        tool("restart-broker", &self.dir, &["--broker", &broker.to_string()]);
    }

    /// Each partition goes back to the broker that is to lead it, once that one has all of it.
    pub fn elect_preferred(&self) {
        let words = ["kafka-leader-election", "--election-type", "PREFERRED", "--all-topic-partitions"];
        eventually("the preferred leaders lead", SOON, || {
            run_tool("tool", &self.dir, &words).status.success().then_some(())
        });
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().expect("admin client")
    }

    pub(super) fn consumer(&self, group: &str) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("group.id", group).set("enable.auto.commit", "false");
        config.create().expect("consumer")
    }

    /// A topic is there for clients when every partition has a leader that a broker knows of.
    fn await_partitions(&self, topic: &str, count: i32) {
        let consumer = self.consumer("logmill-tests");
        let known = || (partitions(&consumer, topic) == Some(count)).then_some(());
        eventually(&format!("{topic} has {count} partitions with leaders"), SOON, known);
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // A second panic would hide the first; the watchdog stops the broker then.
        if !std::thread::panicking() {
            tool("stop", &self.dir, &[]);
        }
    }
}

/// The number of the topic's partitions, once all of them have a leader.
fn partitions(consumer: &BaseConsumer, topic: &str) -> Option<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), SOON).expect("metadata");
    let topic = metadata.topics().first()?;
    let led = topic.error().is_none() && topic.partitions().iter().all(|p| p.error().is_none() && p.leader() >= 0);
    led.then_some(topic.partitions().len() as i32)
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(SOON)).request_timeout(Some(SOON))
}

/// A configuration for `collect --config`: a cluster with these properties, and a task, for there must be one.
pub fn cluster(brokers: &str, properties: &str) -> String {
    format!(
        "[cluster.default]\nbrokers = {brokers:?}\nlibrdkafka = {{ {properties} }}\n\
         [collect.other]\npaths = [\"/nowhere/*.log\"]\ntopic = \"other\"\n"
    )
}

/// Runs `tools/kafka COMMAND --dir DIR ...` and expects it to succeed.
pub fn tool(command: &str, dir: &Path, arguments: &[&str]) -> Output {
    let output = run_tool(command, dir, arguments);
    assert!(output.status.success(), "tools/kafka {command}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn run_tool(command: &str, dir: &Path, arguments: &[&str]) -> Output {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/kafka");
    Command::new(tool).arg(command).arg("--dir").arg(dir).args(arguments).output().expect("tools/kafka")
}

/// Runs one of the admin client's futures to its end on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
