//! What a dry run reads: lines of bounded length, and records written as JSON.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};

use super::TOPIC;
use crate::flow::record::Record;

/// How a record is written as JSON.
pub const EXAMPLE: &str =
    r#"{"topic":"t","partition":0,"offset":7,"timestamp":1608184360123,"value":"<base64>"} or with "value":null"#;

/// Bytes of one line of JSON: more than the largest `max_record_bytes` takes as base64.
pub const JSON_LINE_MAX_BYTES: usize = 128 << 20;

/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;

/// What [`Lines::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// It stands in [`Lines::text`].
    Whole,
    /// It is longer than allowed and was passed over.
    TooLong { bytes: u64 },
}

/// Lines of a stream, one in memory at a time.
pub struct Lines<R> {
    reader: BufReader<R>,
    max: usize,
    text: Vec<u8>,
    number: u64,
}

impl<R: Read> Lines<R> {
    pub fn new(reader: R, max: usize) -> Lines<R> {
        Lines { reader: BufReader::with_capacity(READ_BYTES, reader), max, text: Vec::new(), number: 0 }
    }

    /// The next line; `None` at the end. The last one needs no newline.
    ///
    /// # Errors
    /// The stream's.
    pub fn next(&mut self) -> io::Result<Option<Line>> {
        self.text.clear();
        let mut bytes = 0;
        loop {
            let chunk = match self.reader.fill_buf() {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            };
            let newline = memchr::memchr(b'\n', chunk);
            let part = &chunk[..newline.unwrap_or(chunk.len())];
            bytes += part.len() as u64;
            let room = self.max.saturating_sub(self.text.len());
            self.text.extend_from_slice(&part[..part.len().min(room)]);
            let at_end = chunk.is_empty();
            let used = part.len() + usize::from(newline.is_some());
            self.reader.consume(used);
            if newline.is_some() || (at_end && bytes > 0) {
                self.number += 1;
                return Ok(Some(if bytes > self.max as u64 { Line::TooLong { bytes } } else { Line::Whole }));
            }
            if at_end {
                return Ok(None);
            }
        }
    }

    /// True where the next line is not here yet, so that asking for it may take its time.
    pub fn may_wait(&self) -> bool {
        memchr::memchr(b'\n', self.reader.buffer()).is_none()
    }

    /// The line found last, without its newline.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Of the line found last; the first one is 1.
    pub fn number(&self) -> u64 {
        self.number
    }
}

/// A record as its line holds it. What is absent is as for a line that is nothing but a value.
pub struct Written<'a> {
    fields: Fields<'a>,
    value: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    partition: Option<i32>,
    offset: Option<i64>,
    timestamp: Option<i64>,
    #[serde(borrow, deserialize_with = "present")]
    value: Option<Cow<'a, str>>,
}

/// `null` is a value; an absent one is an error.
fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    Option::deserialize(d)
}

impl Written<'_> {
    /// # Errors
    /// What is wrong with the line.
    pub fn parse(line: &[u8]) -> Result<Written<'_>, String> {
        let fields: Fields<'_> = serde_json::from_slice(line).map_err(|e| {
            // Its "at line 1" would be taken for the line of the input.
            e.to_string().replace(" at line 1 column ", ", column ")
        })?;
        let decode = |text: &Cow<'_, str>| STANDARD.decode(text.as_bytes());
        let value = fields.value.as_ref().map(decode).transpose().map_err(|e| format!("value is no base64: {e}"))?;
        Ok(Written { fields, value })
    }

    pub fn record(&self, number: u64) -> Record<'_> {
        Record {
            topic: self.fields.topic.as_deref().unwrap_or(TOPIC),
            partition: self.fields.partition.unwrap_or(0),
            offset: self.fields.offset.unwrap_or(number as i64),
            timestamp_ms: self.fields.timestamp.unwrap_or(-1),
            leader_epoch: -1,
            value: self.value.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_passed_over_in_bounded_memory() {
        let text = [&b"ab\n\nabcd\r\n"[..], &[b'x'; 3 * READ_BYTES], b"\nabcde\nabcdef\nend"].concat();
        let mut lines = Lines::new(&text[..], 5);
        let mut seen = Vec::new();
        while let Some(line) = lines.next().expect("memory reads") {
            let whole = line == Line::Whole;
            seen.push((lines.number(), if whole { lines.text().to_vec() } else { format!("{line:?}").into_bytes() }));
            assert!(lines.text.capacity() < 64);
        }
        let long = format!("{:?}", Line::TooLong { bytes: 3 * READ_BYTES as u64 });
        let expected = ["ab", "", "abcd\r", &long, "abcde", "TooLong { bytes: 6 }", "end"];
        let expected: Vec<_> = (1..).zip(expected.map(|t| t.as_bytes().to_vec())).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_record_needs_its_value_and_nothing_else() {
        let written = Written::parse(br#"{"key":"x","value":"e30="}"#).expect("a record");
        let record = written.record(9);
        assert_eq!((record.topic, record.partition, record.offset, record.timestamp_ms), (TOPIC, 0, 9, -1));
        assert_eq!(record.value, Some(&b"{}"[..]));
        let null = Written::parse(br#"{"topic":"\u0061","partition":3,"offset":-1,"timestamp":5,"value":null}"#);
        let null = null.expect("a record");
        let record = null.record(9);
        assert_eq!((record.topic, record.partition, record.offset, record.timestamp_ms), ("a", 3, -1, 5));
        assert_eq!(record.value, None);
        for (line, word) in [
            (r#"{"topic":"t"}"#, "`value`"),
            (r#"{"value":"e30"}"#, "base64"),
            (r#"{"value":"e30=","offset":"7"}"#, "column"),
            (r#"{"value":"e30="} x"#, "column"),
            ("e30=", "column"),
        ] {
            assert!(Written::parse(line.as_bytes()).is_err_and(|e| e.contains(word) && !e.contains("line")), "{line}");
        }
    }
}
