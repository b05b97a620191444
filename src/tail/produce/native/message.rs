//! What a producer asks beside what every client does, in one version: take these.

use crate::protocol::message::{ASK_ID, ASK_METADATA, Need, error_text as shared_text, header};
use crate::protocol::wire::{Cursor, Damaged, Frame};

const PRODUCE: (i16, i16) = (0, 9);

/// What a broker has to speak.
pub const NEEDED: &[Need] = &[(PRODUCE, "Produce", "2.8"), ASK_METADATA, ASK_ID];

/// All replicas in sync.
const ACKS_ALL: i16 = -1;

/// Kafka's errors that are told apart.
pub const UNKNOWN_TOPIC: i16 = 3;
const NO_LEADER: i16 = 5;
const DUPLICATE: i16 = 46;

/// A batch and where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub batch: &'a [u8],
}

/// Take these; answer when all replicas that are in sync have them. Those of one topic stand side by side.
pub fn ask_produce(client_id: &str, correlation: i32, timeout_ms: i32, sent: &[Sent<'_>]) -> Vec<u8> {
    let mut frame = Frame::new(PRODUCE, correlation, client_id, true);
    frame.reserve(sent.iter().map(|sent| sent.batch.len() + sent.topic.len() + 32).sum());
    frame.null().i16(ACKS_ALL).i32(timeout_ms);
    let topics: Vec<_> = sent.chunk_by(|one, next| one.topic == next.topic).collect();
    frame.count(topics.len());
    for topic in topics {
        frame.string(topic[0].topic).count(topic.len());
        for Sent { partition, batch, .. } in topic {
            frame.i32(*partition).bytes(batch).no_tags();
        }
        frame.no_tags();
    }
    frame.no_tags();
    frame.finish()
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub error: i16,
    /// The broker's own words.
    pub words: &'a str,
}

/// Each batch, and how long the broker wants to be left alone, in ms.
///
/// # Errors
/// The answer is damaged.
pub fn read_produce(answer: &[u8]) -> Result<(Vec<Told<'_>>, i32), Damaged> {
    let mut read = Cursor::new(answer);
    header(&mut read)?;
    let mut all = Vec::new();
    for _ in 0..read.count()? {
        let topic = read.string()?;
        for _ in 0..read.count()? {
            let (partition, error) = (read.i32()?, read.i16()?);
            let (_offset, _appended_ms, _log_start) = (read.i64()?, read.i64()?, read.i64()?);
            for _ in 0..read.count()? {
                let (_record, _words) = (read.i32()?, read.bytes()?);
                read.no_tags()?;
            }
            let words = read.string()?;
            read.no_tags()?;
            all.push(Told { topic, partition, error, words });
        }
        read.no_tags()?;
    }
    let throttle_ms = read.i32()?;
    Ok((all, throttle_ms))
}

/// What an error says of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stands in the log.
    Stands,
    /// Ask again who leads the partition, and send it there.
    Elsewhere,
    /// Send it again.
    Again,
    Refused,
}

pub fn verdict(error: i16) -> Verdict {
    match error {
        0 | DUPLICATE => Verdict::Stands,
        // Unknown partition, no leader, another leader, listener, replica, storage, fenced or unknown epoch, topic id.
        UNKNOWN_TOPIC | NO_LEADER | 6 | 8 | 9 | 56 | 72 | 74 | 75 | 100 => Verdict::Elsewhere,
        // Unexpected, corrupt on its way, timed out, network, coordinator moves, too few replicas, quota.
        -1 | 2 | 7 | 13 | 14 | 15 | 16 | 19 | 20 | 89 => Verdict::Again,
        _ => Verdict::Refused,
    }
}

/// A broker's error in words.
pub fn error_text(error: i16) -> String {
    let text = match error {
        2 => "the broker found the batch damaged",
        10 => "the batch is larger than the topic takes (max.message.bytes)",
        17 => "the name is none for a topic",
        18 => "the batch is larger than a segment of the topic",
        19 | 20 => "fewer replicas are in sync than the topic asks for (min.insync.replicas)",
        29 => "writing the topic is not allowed",
        45 => "the broker has not seen what went before",
        47 | 90 => "the broker knows a later epoch of this producer",
        59 => "the broker does not know this producer any more",
        87 => "the broker finds a record invalid",
        _ => return shared_text(error),
    };
    format!("{text} (Kafka's error {error})")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::wire::tests::spoiled;

    fn answer() -> Vec<u8> {
        let mut frame = Frame::default();
        frame.i32(7).no_tags().count(1).string("t").count(1);
        frame.i32(4).i16(87).i64(90).i64(-1).i64(0).count(1).i32(2).string("bad").no_tags();
        frame.string("worse").no_tags().no_tags().i32(30).no_tags();
        frame.finish()[..].to_vec()
    }

    #[test]
    fn an_answer_is_read() {
        // A frame begins with the length of what stands behind its first four bytes; here that is the correlation.
        let bytes = answer();
        let (told, throttle_ms) = read_produce(&bytes).unwrap();
        assert_eq!(told, [Told { topic: "t", partition: 4, error: 87, words: "worse" }]);
        assert_eq!(throttle_ms, 30);
        assert!((0..bytes.len() - 1).all(|length| read_produce(&bytes[..length]).is_err()));
    }

    proptest! {
        #[test]
        fn no_answer_leads_astray(bytes in spoiled(answer())) {
            let _ = read_produce(&bytes);
        }
    }
}
