//! The programs that are compared: how each is told to copy the topic into files, or to transform it on the way.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use logmill::flow::cluster::Cluster;
use logmill::reader::kafka::{Fetch, From, Item};

use crate::Fault;
use crate::broker::Broker;
use crate::made::{Made, Topic};
use crate::measure::{self, Place, Run, Until};

const METADATA: &str = r##"[ { "log_name": "*", "metadata": {
  "#account_id": { "field": "role_id" }, "#distinct_id": { "field": "device_id" }, "#time": { "field": "mtime" } } } ]"##;

pub struct Rival {
    pub name: String,
    /// "transform" or "raw copy".
    pub deed: &'static str,
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub until: Until,
}

impl Rival {
    pub fn run(&self, place: &Place, records: u64) -> Result<Run, Fault> {
        measure::run(&mut self.command(place)?, &place.path("work/out"), &self.until, records)
    }

    /// The same, but going on at the topic's end.
    pub fn endless(mut self) -> Rival {
        self.arguments.retain(|word| word != EXIT_AT_END);
        self
    }

    /// Lets it run until somebody ends it.
    pub fn start(&self, place: &Place) -> Result<Child, Fault> {
        let log = std::fs::File::create(place.path("log"))?;
        Ok(self.command(place)?.stderr(log).spawn()?)
    }

    /// From an empty directory on, and with nothing remembered.
    fn command(&self, place: &Place) -> Result<Command, Fault> {
        let work = place.path("work");
        if work.exists() {
            std::fs::remove_dir_all(&work)?;
        }
        std::fs::create_dir_all(place.path("work/out"))?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&work);
        Ok(command)
    }
}

/// Those that are on this machine; the configuration of each is said on stderr.
pub fn all(place: &Place, broker: &Broker, topic: &Topic, made: &Made) -> Result<Vec<Rival>, Fault> {
    let (brokers, name) = (broker.address.as_str(), topic.name.as_str());
    let mut all = Vec::new();
    for (words, deed, keys) in LOGMILL {
        all.push(logmill(place, brokers, name, words, deed, keys)?);
    }
    let out = place.path("work/out/raw");
    all.push(Rival {
        name: "librdkafka, bare loop".into(),
        deed: COPY,
        program: std::env::current_exe()?,
        arguments: [OsString::from("bare-loop"), brokers.into(), name.into()]
            .into_iter()
            .chain([made.partitions.to_string().into(), out.clone().into()])
            .collect(),
        until: Until::Exit,
    });
    // kcat writes to its stdout alone.
    let kcat = format!("exec kcat -C -b {brokers} -t {name} -o beginning -e -q >{}", out.display());
    all.extend(found("kcat").map(|_| Rival {
        name: "kcat -C".into(),
        deed: COPY,
        program: "sh".into(),
        arguments: vec!["-c".into(), kcat.into()],
        until: Until::Exit,
    }));
    for Other { name: words, deed, program, config, arguments } in OTHERS {
        let Some(program) = found(program) else {
            eprintln!("{words}: not on the PATH, left out");
            continue;
        };
        let text = config.replace("@BROKERS@", brokers).replace("@TOPIC@", name);
        let text = text
            .replace("@OUT@", &out.display().to_string())
            .replace("@WORK@", &place.path("work").display().to_string());
        let file = place.path(&format!("{}.conf", words.replace([' ', ','], "_")));
        eprintln!("{words}:\n{text}");
        std::fs::write(&file, text)?;
        let file = file.into_os_string();
        let put = |word: &&str| if *word == "@" { file.clone() } else { word.into() };
        let arguments = arguments.iter().map(put).collect();
        let (file, bytes) = (out.clone(), topic.bytes);
        let until = Until::Seen(Box::new(move || measure::bytes_below(&file) >= bytes));
        all.push(Rival { name: words.to_string(), deed, program, arguments, until });
    }
    Ok(all)
}

const EXIT_AT_END: &str = "--exit-at-end";
const TRANSFORM: &str = "transform";
const COPY: &str = "raw copy";

/// Name, deed, keys of the task.
const LOGMILL: [(&str, &str, &str); 3] = [
    ("logmill, own fetch", TRANSFORM, "fetch = \"native\"\n"),
    ("logmill, librdkafka's fetch", TRANSFORM, "fetch = \"librdkafka\"\n"),
    ("logmill, own fetch", COPY, "fetch = \"native\"\ntransform = \"none\"\n"),
];

/// logmill, to the topic's end.
pub fn logmill(
    place: &Place,
    brokers: &str,
    topic: &str,
    name: &str,
    deed: &'static str,
    keys: &str,
) -> Result<Rival, Fault> {
    let settings = place.path("settings");
    std::fs::create_dir_all(&settings)?;
    std::fs::write(settings.join("mthinkingdata:metadata.24.json"), METADATA)?;
    let (data, out) = (place.path("work/data"), place.path("work/out"));
    let rules = match keys.contains("transform") {
        true => String::new(),
        false => format!("app_ids = [24]\nsettings_dir = {settings:?}\n"),
    };
    let text = format!(
        "[process]\ndata_dir = {data:?}\n[cluster.default]\nbrokers = {brokers:?}\n[deliver.bench]\n\
         topics = [{topic:?}]\ngroup_id = \"bench\"\ndir = {out:?}\n{rules}{keys}"
    );
    let file = place.path(&format!("{}.toml", format!("{name} {deed}").replace([' ', ','], "_")));
    std::fs::write(&file, text)?;
    Ok(Rival {
        name: name.into(),
        deed,
        program: env!("CARGO_BIN_EXE_logmill").into(),
        arguments: ["run".into(), EXIT_AT_END.into(), "--config".into(), file.into()].into(),
        until: Until::Exit,
    })
}

/// What a program needs to copy the topic; it never ends by itself.
struct Other {
    name: &'static str,
    deed: &'static str,
    program: &'static str,
    /// @BROKERS@, @TOPIC@, @OUT@ (the file) and @WORK@ (a directory that is empty at the start) are put in.
    config: &'static str,
    /// @ is the configuration's file.
    arguments: &'static [&'static str],
}

const OTHERS: [Other; 5] = [
    Other {
        name: "rsyslog, imkafka to omfile",
        deed: COPY,
        program: "rsyslogd",
        config: r#"
global(workDirectory="@WORK@" maxMessageSize="1m")
module(load="imkafka")
main_queue(queue.type="FixedArray" queue.size="200000" queue.dequeueBatchSize="4096" queue.workerThreads="1")
template(name="raw" type="string" string="%msg%\n")
input(type="imkafka" topic="@TOPIC@" broker="@BROKERS@" consumergroup="rsyslog-@WORK@" ruleset="out"
      confParam=["auto.offset.reset=earliest", "enable.auto.commit=false"])
ruleset(name="out") { action(type="omfile" file="@OUT@" template="raw" ioBufferSize="256k" asyncWriting="off") }
"#,
        arguments: &["-n", "-i", "NONE", "-f", "@"],
    },
    Other {
        name: "Vector, copy",
        deed: COPY,
        program: "vector",
        config: r#"
data_dir = "@WORK@"
[sources.in]
type = "kafka"
bootstrap_servers = "@BROKERS@"
group_id = "vector"
topics = ["@TOPIC@"]
auto_offset_reset = "earliest"
acknowledgements.enabled = true
[sinks.out]
type = "file"
inputs = ["in"]
path = "@OUT@"
encoding.codec = "text"
"#,
        arguments: &["--quiet", "--config-toml", "@"],
    },
    Other {
        name: "Vector, VRL",
        deed: TRANSFORM,
        program: "vector",
        config: r##"
data_dir = "@WORK@"
[sources.in]
type = "kafka"
bootstrap_servers = "@BROKERS@"
group_id = "vector"
topics = ["@TOPIC@"]
auto_offset_reset = "earliest"
acknowledgements.enabled = true
[transforms.te]
type = "remap"
inputs = ["in"]
source = '''
r = object!(parse_json!(.message))
l = object!(r.logs)
. = { "#type": "track", "#event_name": "t_" + string!(r.headers.log_name), "#account_id": to_string!(l.role_id),
      "#distinct_id": to_string!(l.device_id),
      "#time": format_timestamp!(from_unix_timestamp!(int!(l.mtime)), "%Y-%m-%d %H:%M:%S.%3f"), "properties": l }
'''
[sinks.out]
type = "file"
inputs = ["te"]
path = "@OUT@"
encoding.codec = "json"
"##,
        arguments: &["--quiet", "--config-toml", "@"],
    },
    Other {
        name: "Fluent Bit",
        deed: COPY,
        program: "fluent-bit",
        config: r"
[SERVICE]
    flush 0.1
    log_level error
[INPUT]
    name kafka
    brokers @BROKERS@
    topics @TOPIC@
    group_id fluent-bit
    poll_ms 10
    buffer_max_size 8M
    rdkafka.auto.offset.reset earliest
[OUTPUT]
    name file
    match *
    file @OUT@
    format plain
",
        arguments: &["-c", "@"],
    },
    Other {
        name: "Redpanda Connect",
        deed: COPY,
        program: "redpanda-connect",
        config: r#"
input:
  kafka_franz:
    seed_brokers: ["@BROKERS@"]
    topics: ["@TOPIC@"]
    consumer_group: connect
    start_from_oldest: true
    batching: { count: 4096, period: 100ms }
output:
  file: { path: "@OUT@", codec: lines }
"#,
        arguments: &["run", "@"],
    },
];

pub fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    places.map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// The least that a program on librdkafka can do: whole batches from its queue, and each value with a newline into a
/// large buffer.
pub fn bare_loop(brokers: &str, topic: &str, partitions: i32, out: &Path) -> Result<(), Fault> {
    use std::io::Write;
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(out)?);
    let mut fetch = Fetch::open(&Cluster::of_brokers(brokers), "bare", &[topic.to_string()])?;
    let places: Vec<_> = (0..partitions).map(|partition| From { topic, partition, offset: 0, epoch: -1 }).collect();
    fetch.assign(&places)?;
    let mut open = partitions;
    while open > 0 {
        let mut batch = fetch.next_batch(Duration::from_millis(100));
        while let Some(item) = batch.next_item() {
            match item {
                Item::Record(_, record) => {
                    out.write_all(record.value.unwrap_or_default())?;
                    out.write_all(b"\n")?;
                }
                Item::End { .. } => open -= 1,
                Item::OutOfRange { reason, .. } | Item::Broken { reason, .. } | Item::Unfit { reason, .. } => {
                    return Err(reason.into());
                }
                Item::Trouble(_) => {}
            }
        }
    }
    Ok(out.flush()?)
}
