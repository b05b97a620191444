//! What a client asks a broker before all else, each in one version: which versions there are, who leads which
//! partitions, and who am I.

use std::time::Duration;

use super::wire::{Cursor, Damaged, Frame};

/// Longest wait that a broker's quota can impose.
const THROTTLE_MAX: Duration = Duration::from_secs(60);

const API_VERSIONS: (i16, i16) = (18, 0);
const METADATA: (i16, i16) = (3, 9);
const INIT_PRODUCER_ID: (i16, i16) = (22, 2);

/// A question with its version, its name, and the first Kafka that takes it.
pub type Need = ((i16, i16), &'static str, &'static str);

pub const ASK_METADATA: Need = (METADATA, "Metadata", "2.4");
pub const ASK_ID: Need = (INIT_PRODUCER_ID, "InitProducerId", "2.4");

/// Which versions does the broker speak?
pub fn ask_versions(client_id: &str) -> Vec<u8> {
    Frame::new(API_VERSIONS, 0, client_id, false).finish()
}

/// What is missing, if anything is.
///
/// # Errors
/// The answer is damaged.
pub fn read_versions(answer: &[u8], needed: &[Need]) -> Result<Option<String>, Damaged> {
    let mut read = Cursor::new(answer);
    let _correlation = read.i32()?;
    let error = read.i16()?;
    if error != 0 {
        return Ok(Some(format!("it does not tell what it speaks: {}", error_text(error))));
    }
    let mut spoken = vec![false; needed.len()];
    for _ in 0..read.i32()? {
        let (api, low, high) = (read.i16()?, read.i16()?, read.i16()?);
        for (spoken, ((needed, version), ..)) in spoken.iter_mut().zip(needed) {
            *spoken |= api == *needed && (low..=high).contains(version);
        }
    }
    let missing = needed.iter().zip(spoken).find(|(_, spoken)| !spoken);
    Ok(missing.map(|(((_, version), name, first), _)| {
        format!("it does not speak {name} version {version}, as Kafka {first} does")
    }))
}

/// Who leads the partitions of these topics? `makes`: one that is not there is made, where brokers do that.
pub fn ask_metadata<'a>(
    client_id: &str,
    correlation: i32,
    topics: impl ExactSizeIterator<Item = &'a str>,
    makes: bool,
) -> Vec<u8> {
    let mut frame = Frame::new(METADATA, correlation, client_id, true);
    frame.count(topics.len());
    for topic in topics {
        frame.string(topic).no_tags();
    }
    // Nobody asks for rights.
    frame.i8(i8::from(makes)).i8(0).i8(0).no_tags();
    frame.finish()
}

/// A broker of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    pub node: i32,
    /// `host:port`.
    pub address: String,
}

/// Who leads a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leader {
    pub node: i32,
    pub epoch: i32,
}

/// A topic as a broker knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMap {
    pub name: String,
    pub error: i16,
    /// Of each partition; `None` where there is none now.
    pub leaders: Vec<Option<Leader>>,
}

/// All brokers that are up, and the topics that were asked for.
///
/// # Errors
/// The answer is damaged.
pub fn read_metadata(answer: &[u8]) -> Result<(Vec<Broker>, Vec<TopicMap>), Damaged> {
    let mut read = Cursor::new(answer);
    header(&mut read)?;
    let _throttle_ms = read.i32()?;
    let mut brokers = Vec::new();
    for _ in 0..read.count()? {
        let (node, host, port) = (read.i32()?, read.string()?, read.i32()?);
        let _rack = read.bytes()?;
        read.no_tags()?;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
        brokers.push(Broker { node, address: format!("{host}:{port}") });
    }
    let (_cluster, _controller) = (read.bytes()?, read.i32()?);
    let mut topics = Vec::new();
    for _ in 0..read.count()? {
        let (error, name, _internal) = (read.i16()?, read.string()?.to_string(), read.i8()?);
        let count = read.count()?;
        let mut leaders = vec![None; count];
        for _ in 0..count {
            let (_error, partition, node, epoch) = (read.i16()?, read.i32()?, read.i32()?, read.i32()?);
            for _replicas_in_sync_or_away in 0..3 {
                let count = read.count()?;
                read.take(count.saturating_mul(4))?;
            }
            read.no_tags()?;
            let leader = usize::try_from(partition).ok().and_then(|partition| leaders.get_mut(partition));
            *leader.ok_or_else(|| read.damaged("a partition that is none"))? =
                (node >= 0).then_some(Leader { node, epoch });
        }
        let _rights = read.i32()?;
        read.no_tags()?;
        topics.push(TopicMap { name, error, leaders });
    }
    Ok((brokers, topics))
}

/// Who sends, as a broker tells one sender's batches from another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    pub producer: i64,
    pub epoch: i16,
}

/// Who am I?
pub fn ask_id(client_id: &str, correlation: i32) -> Vec<u8> {
    let mut frame = Frame::new(INIT_PRODUCER_ID, correlation, client_id, true);
    frame.null().i32(0).no_tags();
    frame.finish()
}

/// A new producer's number and epoch, or an error.
///
/// # Errors
/// The answer is damaged.
pub fn read_id(answer: &[u8]) -> Result<Result<Id, i16>, Damaged> {
    let mut read = Cursor::new(answer);
    header(&mut read)?;
    let _throttle_ms = read.i32()?;
    let (error, producer, epoch) = (read.i16()?, read.i64()?, read.i16()?);
    Ok(if error == 0 { Ok(Id { producer, epoch }) } else { Err(error) })
}

/// Correlation and tags.
pub fn header(read: &mut Cursor<'_>) -> Result<(), Damaged> {
    read.i32()?;
    read.no_tags()
}

/// How long a broker wants to be left alone, which tells `ms` with its answer.
pub fn throttle(ms: i32) -> Duration {
    Duration::from_millis(ms.max(0) as u64).min(THROTTLE_MAX)
}

/// Errors that pass: somebody else leads the partition, or will soon, or the broker has a bad moment.
pub fn passes(error: i16) -> bool {
    matches!(error, -1 | 3 | 5..=9 | 13..=16 | 56 | 74 | 75 | 78 | 89 | 100)
}

/// A broker's error in words.
pub fn error_text(error: i16) -> String {
    let text = match error {
        -1 => "an unexpected error of the broker",
        1 => "the offset is out of range",
        2 => "the broker says that its log is corrupt",
        3 | 100 => "the topic or partition is unknown",
        5 => "there is no leader",
        6 => "the broker is not the leader",
        7 => "the request timed out",
        8 | 9 | 78 => "the replica is not available",
        13 => "the broker has been disconnected",
        29 => "reading the topic is not allowed",
        31 => "the cluster does not allow it",
        35 => "the version is not supported",
        56 => "the broker cannot read its disk",
        74 => "the leader epoch is too old",
        75 => "the broker does not know the leader epoch yet",
        _ => return format!("Kafka's error {error}"),
    };
    format!("{text} (Kafka's error {error})")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::wire::tests::spoiled;
    use super::*;

    const NEEDED: &[Need] = &[ASK_METADATA, ((1, 12), "Fetch", "2.7")];

    #[test]
    fn a_broker_that_speaks_too_little_is_named() {
        let speaks = |fetch: i16, metadata: i16| {
            let mut frame = Frame::default();
            frame.i32(0).i16(0).i32(2).i16(1).i16(4).i16(fetch).i16(3).i16(0).i16(metadata);
            read_versions(&frame.finish(), NEEDED).unwrap()
        };
        assert_eq!(speaks(17, 13), None);
        assert!(speaks(11, 13).unwrap().contains("Fetch version 12"));
        assert!(speaks(12, 8).unwrap().contains("Metadata version 9"));
    }

    /// Two brokers, and a topic `t` whose second partition has no leader.
    fn map() -> Vec<u8> {
        let mut frame = Frame::default();
        frame.i32(7).no_tags().i32(0).count(2);
        frame.i32(1).string("a").i32(9092).null().no_tags();
        frame.i32(2).string("::1").i32(9093).null().no_tags();
        frame.null().i32(1).count(1).i16(0).string("t").i8(0).count(2);
        for (partition, node, epoch) in [(0, 2, 5), (1, -1, 6)] {
            frame.i16(0).i32(partition).i32(node).i32(epoch).count(1).i32(2).count(0).count(0).no_tags();
        }
        frame.i32(0).no_tags().i32(0).no_tags();
        // The length that it begins with stands for the correlation.
        frame.finish()
    }

    #[test]
    fn who_leads_is_read() {
        let (brokers, topics) = read_metadata(&map()).unwrap();
        let addresses: Vec<_> = brokers.iter().map(|broker| (broker.node, broker.address.as_str())).collect();
        assert_eq!(addresses, [(1, "a:9092"), (2, "[::1]:9093")]);
        let leaders = vec![Some(Leader { node: 2, epoch: 5 }), None];
        assert_eq!(topics, [TopicMap { name: "t".into(), error: 0, leaders }]);
    }

    proptest! {
        #[test]
        fn no_answer_leads_astray(bytes in spoiled(map())) {
            let _ = (read_versions(&bytes, NEEDED), read_metadata(&bytes), read_id(&bytes));
        }
    }
}
