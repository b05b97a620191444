//! The three questions that a reader asks a broker, each in one version: which versions there are, who leads which
//! partitions, and what stands in them.

use std::ops::Range;

use super::wire::{Cursor, Damaged, Frame};

const API_VERSIONS: (i16, i16) = (18, 0);
const METADATA: (i16, i16) = (3, 9);
/// It tells of a log that was cut.
const FETCH: (i16, i16) = (1, 12);

/// A question with its version, its name, and the first Kafka that takes it.
pub type Need = ((i16, i16), &'static str, &'static str);

pub const ASK_METADATA: Need = (METADATA, "Metadata", "2.4");

/// What a broker has to speak.
pub const NEEDED: &[Need] = &[ASK_METADATA, (FETCH, "Fetch", "2.7")];

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

/// The limits of one fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest wait of the broker for `min_bytes`.
    pub wait_ms: i32,
    pub min_bytes: i32,
    /// Of the answer; a first batch that is larger comes all the same.
    pub max_bytes: i32,
}

/// What is wanted of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub leader_epoch: i32,
    pub offset: i64,
    /// Of the record before `offset`; -1: unknown.
    pub epoch: i32,
    pub max_bytes: i32,
}

/// What stands at these places? Only what is committed.
pub fn ask_fetch(client_id: &str, correlation: i32, limits: Limits, wanted: &[Wanted<'_>]) -> Vec<u8> {
    let mut frame = Frame::new(FETCH, correlation, client_id, true);
    frame.i32(-1).i32(limits.wait_ms).i32(limits.min_bytes).i32(limits.max_bytes).i8(1);
    // No session: every fetch names its partitions.
    frame.i32(0).i32(-1);
    let topics: Vec<_> = wanted.chunk_by(|one, next| one.topic == next.topic).collect();
    frame.count(topics.len());
    for topic in topics {
        frame.string(topic[0].topic).count(topic.len());
        for Wanted { partition, leader_epoch, offset, epoch, max_bytes, .. } in topic {
            frame.i32(*partition).i32(*leader_epoch).i64(*offset).i32(*epoch).i64(-1).i32(*max_bytes).no_tags();
        }
        frame.no_tags();
    }
    frame.count(0).string("").no_tags();
    frame.finish()
}

/// What a broker says of one partition. Ranges are of the frame's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub topic: Range<usize>,
    pub partition: i32,
    pub error: i16,
    /// No committed record stands at or behind it; -1 where unknown.
    pub stable: i64,
    pub aborted: Range<usize>,
    pub records: Range<usize>,
    /// The log holds another story: the last epoch that both have, and where that ends.
    pub diverging: Option<(i32, i64)>,
}

/// The whole answer but its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub throttle_ms: i32,
    pub error: i16,
}

/// `frame` is the answer with its length in front.
///
/// # Errors
/// The answer is damaged.
pub fn read_fetch(frame: &[u8], parts: &mut Vec<Part>) -> Result<Told, Damaged> {
    parts.clear();
    let mut read = Cursor::new(frame);
    let _length = read.i32()?;
    header(&mut read)?;
    let told = Told { throttle_ms: read.i32()?, error: read.i16()? };
    let _session = read.i32()?;
    for _ in 0..read.count()? {
        let name = read.string()?.len();
        let topic = read.at() - name..read.at();
        for _ in 0..read.count()? {
            parts.push(part(&mut read, topic.clone())?);
        }
        read.no_tags()?;
    }
    Ok(told)
}

fn part(read: &mut Cursor<'_>, topic: Range<usize>) -> Result<Part, Damaged> {
    let (partition, error, high) = (read.i32()?, read.i16()?, read.i64()?);
    let (stable, _log_start) = (read.i64()?, read.i64()?);
    let aborted = {
        let count = read.count()?;
        let from = read.at();
        (0..count).try_for_each(|_| read.take(16).and_then(|_| read.no_tags()))?;
        from..read.at()
    };
    let _preferred_replica = read.i32()?;
    let records = {
        let length = read.bytes()?.len();
        read.at() - length..read.at()
    };
    let mut diverging = None;
    read.tags(|number, mut field| {
        if number == 0 {
            diverging = Some((field.i32()?, field.i64()?));
        }
        Ok(())
    })?;
    let stable = if stable < 0 { high } else { stable };
    Ok(Part { topic, partition, error, stable, aborted, records, diverging })
}

/// The aborted transactions that a part names: producer and first offset of each.
///
/// # Errors
/// They are damaged.
pub fn read_aborted(bytes: &[u8], aborted: &mut Vec<(i64, i64)>) -> Result<(), Damaged> {
    aborted.clear();
    let mut read = Cursor::new(bytes);
    while read.rest() > 0 {
        aborted.push((read.i64()?, read.i64()?));
        read.no_tags()?;
    }
    Ok(())
}

/// Correlation and tags.
pub fn header(read: &mut Cursor<'_>) -> Result<(), Damaged> {
    read.i32()?;
    read.no_tags()
}

/// The log does not hold the offset that was asked for.
pub const OUT_OF_RANGE: i16 = 1;

/// Errors that pass: somebody else leads the partition, or will soon, or the broker has a bad moment.
pub fn passes(error: i16) -> bool {
    matches!(error, -1 | 3 | 5..=9 | 13 | 56 | 74 | 75 | 78 | 100)
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

    use super::*;

    /// An answer with one topic `t`, one partition in it, one aborted transaction, three bytes of records.
    fn answer() -> Vec<u8> {
        let mut frame = Frame::default();
        frame.i32(0).i32(7).no_tags().i32(30).i16(0).i32(0).count(1).string("t").count(1);
        frame.i32(4).i16(0).i64(90).i64(80).i64(10).count(1).i64(11).i64(12).no_tags().i32(-1);
        frame.string("abc").count(0).i8(0).i8(12).i32(3).i64(50).no_tags().no_tags();
        frame.finish()
    }

    #[test]
    fn a_fetch_answer_is_read_in_place() {
        let bytes = answer();
        let mut parts = Vec::new();
        // `count(0)` above is the number of tagged fields, 1.
        let told = read_fetch(&bytes[..], &mut parts).unwrap();
        assert_eq!(told, Told { throttle_ms: 30, error: 0 });
        let [part] = &parts[..] else { panic!("{parts:?}") };
        assert_eq!((&bytes[part.topic.clone()], &bytes[part.records.clone()]), (&b"t"[..], &b"abc"[..]));
        assert_eq!((part.partition, part.stable, part.diverging), (4, 80, Some((3, 50))));
        let mut aborted = Vec::new();
        read_aborted(&bytes[part.aborted.clone()], &mut aborted).unwrap();
        assert_eq!(aborted, [(11, 12)]);
        assert!((0..bytes.len() - 1).all(|length| read_fetch(&bytes[..length], &mut parts).is_err()));
    }

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

    proptest! {
        #[test]
        fn no_answer_leads_astray(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
            spoil in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            made in any::<bool>(),
        ) {
            if made {
                bytes = answer();
                spoil.iter().for_each(|(at, with)| { let at = at.index(bytes.len()); bytes[at] = *with; });
            }
            let mut parts = Vec::new();
            if read_fetch(&bytes, &mut parts).is_ok() {
                let mut aborted = Vec::new();
                for part in &parts {
                    prop_assert!(part.records.end <= bytes.len() && part.topic.end <= bytes.len());
                    read_aborted(&bytes[part.aborted.clone()], &mut aborted).unwrap();
                }
            }
            prop_assert!(parts.len() <= bytes.len());
            let _ = (read_versions(&bytes, NEEDED), read_metadata(&bytes));
        }
    }
}
