//! A file into a topic: logmill beside `kcat -P -l`, and rsyslog where it is.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::Fault;
use crate::broker::Broker;
use crate::made::Made;
use crate::measure::{Place, Until};
use crate::rivals::{self, Rival};
use crate::table::Row;

const ASK: Duration = Duration::from_secs(5);
const DEED: &str = "collect";

type Make = fn(&Place, &str, &str, &Path, u64) -> Result<Rival, Fault>;

pub fn run(place: &Place, broker: &Broker, made: &Made, rounds: usize) -> Result<Vec<Row>, Fault> {
    let lines = place.path("lines");
    let mut out = BufWriter::new(File::create(&lines)?);
    let mut line = String::new();
    for n in 0..made.records {
        line.clear();
        made.write(n, &mut line);
        line.push('\n');
        out.write_all(line.as_bytes())?;
    }
    out.flush()?;
    let mut all: Vec<Make> = vec![logmill, kcat];
    match rivals::found("rsyslogd") {
        Some(_) => all.push(rsyslog),
        None => eprintln!("rsyslog: not on the PATH, left out"),
    }
    let mut rows = Vec::new();
    for round in 1..=rounds {
        for (number, make) in all.iter().enumerate() {
            let topic = format!("lines-{round}-{number}");
            broker.create(&topic, made.partitions)?;
            let rival = make(place, &broker.address, &topic, &lines, made.records)?;
            if round == 1 {
                rows.push(Row::new(&rival.name, rival.deed));
            }
            rows[number].add(round, rival.run(place, made.records)?);
            broker.delete(&topic)?;
        }
    }
    Ok(rows)
}

fn logmill(_: &Place, brokers: &str, topic: &str, lines: &Path, _: u64) -> Result<Rival, Fault> {
    let words = ["collect", "--brokers", brokers, "--once"].map(Into::into).into_iter();
    Ok(Rival {
        name: "logmill".into(),
        deed: DEED,
        program: env!("CARGO_BIN_EXE_logmill").into(),
        arguments: words.chain([lines.into(), topic.into()]).collect(),
        until: Until::Exit,
    })
}

fn kcat(_: &Place, brokers: &str, topic: &str, lines: &Path, _: u64) -> Result<Rival, Fault> {
    let words = ["-P", "-b", brokers, "-t", topic, "-X", "compression.codec=snappy", "-X", "acks=all", "-l"];
    Ok(Rival {
        name: "kcat -P -l".into(),
        deed: DEED,
        program: "kcat".into(),
        arguments: words.map(Into::into).into_iter().chain([lines.into()]).collect(),
        until: Until::Exit,
    })
}

fn rsyslog(place: &Place, brokers: &str, topic: &str, lines: &Path, count: u64) -> Result<Rival, Fault> {
    let work = place.path("work");
    let text = format!(
        r#"
global(workDirectory="{work}" maxMessageSize="1m")
module(load="imfile")
module(load="omkafka")
main_queue(queue.type="FixedArray" queue.size="200000" queue.dequeueBatchSize="4096")
template(name="raw" type="string" string="%msg%")
input(type="imfile" file="{lines}" tag="x" ruleset="out")
ruleset(name="out") {{
  action(type="omkafka" broker="{brokers}" topic="{topic}" template="raw"
         confParam=["compression.codec=snappy", "linger.ms=50", "acks=all"])
}}
"#,
        work = work.display(),
        lines = lines.display()
    );
    let file = place.path("rsyslog-collect.conf");
    std::fs::write(&file, text)?;
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let topic = topic.to_string();
    let is_all_there = move || {
        let Ok(metadata) = consumer.fetch_metadata(Some(&topic), ASK) else { return false };
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let ends = partitions.filter_map(|part| consumer.fetch_watermarks(&topic, part.id(), ASK).ok());
        ends.map(|(_, high)| high as u64).sum::<u64>() >= count
    };
    Ok(Rival {
        name: "rsyslog, imfile to omkafka".into(),
        deed: DEED,
        program: rivals::found("rsyslogd").ok_or("rsyslogd is gone")?,
        arguments: ["-n".into(), "-i".into(), "NONE".into(), "-f".into(), file.into()].into(),
        until: Until::Seen(Box::new(is_all_there)),
    })
}

/// logmill, following these until somebody ends it.
pub fn follow(place: &Place, broker: &Broker, paths: &str, topic: &str) -> Rival {
    let (pattern, data) = (place.path(paths), place.path("work/data"));
    let words = ["collect", "--brokers", &broker.address, "--follow"].map(Into::into).into_iter();
    Rival {
        name: "logmill".into(),
        deed: DEED,
        program: env!("CARGO_BIN_EXE_logmill").into(),
        arguments: words.chain([pattern.into(), topic.into(), "--data-dir".into(), data.into()]).collect(),
        until: Until::Exit,
    }
}
