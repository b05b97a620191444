//! File names: the template an operator writes, the route a record takes through it, the name of one file.
//!
//! A template is text with `{seq}` (mandatory), the record's `{app_id} {log_name} {event_name} {topic} {partition}
//! {lane}`, and the strftime fields `%Y %m %d %H %M %S %j` of the write time. With the record's values filled in it is
//! a *route*: a set of files that differ in time and `{seq}` alone.

use jiff::civil::DateTime;

/// When a new file begins, size aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotate {
    None,
    Day,
    Hour,
}

/// What of a record may stand in a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    AppId,
    LogName,
    EventName,
    Topic,
    Partition,
    Lane,
}

const FIELDS: [(&str, Field); 6] = [
    ("app_id", Field::AppId),
    ("log_name", Field::LogName),
    ("event_name", Field::EventName),
    ("topic", Field::Topic),
    ("partition", Field::Partition),
    ("lane", Field::Lane),
];

const SEQ: &str = "{seq}";

/// Bytes of one value in a name; a longer one is cut and ends in a hash of the whole.
const VALUE_MAX_BYTES: usize = 100;

/// Bytes of one whole name below the directory; it must fit its place in a writer's file table.
pub const NAME_MAX_BYTES: usize = 440;

/// Bytes of a part of it between two slashes, as filesystems have it.
const PART_MAX_BYTES: usize = 255;
/// Digits of the longest file number.
const SEQ_MAX_BYTES: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Time(char),
    Field(Field),
    Seq,
}

/// A checked file name template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// # Errors
    /// A sentence that says what to write instead.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (part, after) = match first {
                '{' => parse_placeholder(rest)?,
                '}' => return Err("a '}' stands without its '{'; remove it".into()),
                '%' => parse_time(rest)?,
                _ => {
                    let end = rest.find(['{', '}', '%']).unwrap_or(rest.len());
                    (Part::Text(rest[..end].into()), &rest[end..])
                }
            };
            parts.push(part);
            rest = after;
        }
        check_parts(text, &parts)?;
        Ok(Template { parts })
    }

    pub fn has_lane(&self) -> bool {
        self.uses(Field::Lane)
    }

    pub fn uses(&self, field: Field) -> bool {
        self.parts.contains(&Part::Field(field))
    }

    /// True where every record of one lane has the same route.
    pub fn is_fixed(&self) -> bool {
        !self.parts.iter().any(|p| matches!(p, Part::Field(f) if *f != Field::Lane))
    }

    /// Appends the route of one record to `route`: the template with its values, each made safe.
    pub fn route<'v>(&self, route: &mut String, value: impl Fn(Field) -> std::borrow::Cow<'v, str>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => route.push_str(text),
                Part::Time(field) => route.extend(['%', *field]),
                Part::Field(field) => push_value(route, &value(*field)),
                Part::Seq => route.push_str(SEQ),
            }
        }
    }

    /// The `{seq}` of a name this template can have made.
    pub fn seq_of(&self, name: &str) -> Option<u64> {
        seq_of(&self.parts, name.as_bytes())
    }
}

/// The name of the file that a route writes at `time` with number `seq`.
pub fn file_name(route: &str, time: DateTime, seq: u64) -> String {
    let mut name = String::with_capacity(route.len() + 16);
    let mut rest = route;
    while let Some(at) = rest.find(['%', '{']) {
        name.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix(SEQ) {
            name.push_str(&seq.to_string());
            rest = after;
        } else {
            let field = rest[1..].chars().next().unwrap_or('%');
            name.push_str(&time_text(field, time));
            rest = &rest[(1 + field.len_utf8()).min(rest.len())..];
        }
    }
    name.push_str(rest);
    name
}

fn time_text(field: char, t: DateTime) -> String {
    match field {
        'Y' => format!("{:04}", t.year()),
        'm' => format!("{:02}", t.month()),
        'd' => format!("{:02}", t.day()),
        'H' => format!("{:02}", t.hour()),
        'M' => format!("{:02}", t.minute()),
        'S' => format!("{:02}", t.second()),
        'j' => format!("{:03}", t.day_of_year()),
        other => other.to_string(),
    }
}

/// Digits that a strftime field always has.
fn time_digits(field: char) -> Option<usize> {
    match field {
        'Y' => Some(4),
        'm' | 'd' | 'H' | 'M' | 'S' => Some(2),
        'j' => Some(3),
        _ => None,
    }
}

fn parse_placeholder(rest: &str) -> Result<(Part, &str), String> {
    let end = rest.find('}').ok_or("a '{' is not closed; write a placeholder such as {seq}")?;
    let name = &rest[1..end];
    let part = match FIELDS.iter().find(|(n, _)| *n == name) {
        Some((_, field)) => Part::Field(*field),
        None if name == "seq" => Part::Seq,
        None => {
            return Err(format!(
                "{{{name}}} is no placeholder; use {{seq}}, {{app_id}}, {{log_name}}, {{event_name}}, {{topic}}, \
                 {{partition}} or {{lane}}"
            ));
        }
    };
    Ok((part, &rest[end + 1..]))
}

fn parse_time(rest: &str) -> Result<(Part, &str), String> {
    match rest[1..].chars().next() {
        Some(field) if time_digits(field).is_some() => Ok((Part::Time(field), &rest[2..])),
        other => {
            Err(format!("%{} is no time field; use %Y %m %d %H %M %S or %j", other.map_or(String::new(), String::from)))
        }
    }
}

fn check_parts(text: &str, parts: &[Part]) -> Result<(), String> {
    match parts.iter().filter(|p| **p == Part::Seq).count() {
        1 => {}
        0 => return Err("{seq} is missing; every file needs its number, for example log.%Y-%m-%d_{seq}".into()),
        _ => return Err("{seq} stands more than once; keep one".into()),
    }
    if parts.windows(2).any(|p| p[0] == Part::Seq && matches!(p[1], Part::Time(_) | Part::Field(_))) {
        return Err("{seq} runs into the placeholder behind it; put a '_' or '.' between them".into());
    }
    if text.starts_with('/') || text.ends_with('/') || text.contains("//") {
        return Err("the name must be relative to `dir`, without empty parts".into());
    }
    if text.split('/').any(|part| part == "." || part == ".." || part.starts_with(".logmill")) {
        return Err("'.', '..' and names that begin with .logmill are not allowed in a file name".into());
    }
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err("control characters are not allowed in a file name".into());
    }
    let longest_part = part_bytes(parts);
    if longest_part > PART_MAX_BYTES {
        return Err(format!(
            "a part of the name could grow to {longest_part} bytes, {PART_MAX_BYTES} is the most between two '/'; \
             put values into directories of their own, as in {{log_name}}/{{event_name}}_{{seq}}"
        ));
    }
    let values = parts.iter().filter(|p| matches!(p, Part::Field(_))).count() * VALUE_MAX_BYTES;
    if text.len() + values + 20 > NAME_MAX_BYTES {
        return Err(format!("the name could grow beyond {NAME_MAX_BYTES} bytes; shorten it"));
    }
    Ok(())
}

/// Bytes of the longest part between slashes that a template can make.
fn part_bytes(parts: &[Part]) -> usize {
    let (mut longest, mut now) = (0, 0);
    for part in parts {
        match part {
            Part::Text(text) => {
                let (head, tail) = text.rsplit_once('/').map_or((text.as_str(), None), |(h, t)| (h, Some(t)));
                now += head.split('/').next().map_or(0, str::len);
                longest = head.split('/').map(str::len).fold(longest.max(now), usize::max);
                if let Some(tail) = tail {
                    now = tail.len();
                }
            }
            Part::Time(_) => now += 4,
            Part::Field(_) => now += VALUE_MAX_BYTES,
            Part::Seq => now += SEQ_MAX_BYTES,
        }
        longest = longest.max(now);
    }
    longest
}

/// A value comes from strangers: all but `[A-Za-z0-9_-.]` is percent-encoded, and it never is a path of its own.
fn push_value(route: &mut String, value: &str) {
    let mut text = String::with_capacity(value.len());
    for b in value.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' => text.push(char::from(b)),
            _ => text.push_str(&format!("%{b:02X}")),
        }
        if text.len() > VALUE_MAX_BYTES {
            break;
        }
    }
    if text.len() > VALUE_MAX_BYTES {
        text.truncate(VALUE_MAX_BYTES - 17);
        text.push_str(&format!("-{:016x}", fnv1a_64(value.as_bytes())));
    }
    // Never '.' or '..', nor a name of ours, nor one that a tailer's `*` passes over.
    if text.is_empty() || text.starts_with('.') {
        text.insert(0, '_');
    }
    route.push_str(&text.replace('%', "%%"));
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo: draft-eastlake-fnv).
pub fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

fn seq_of(parts: &[Part], name: &[u8]) -> Option<u64> {
    match parts.first() {
        None => name.is_empty().then_some(0),
        Some(Part::Text(text)) => seq_of(&parts[1..], name.strip_prefix(text.as_bytes())?),
        Some(Part::Time(field)) => {
            let (digits, rest) = name.split_at_checked(time_digits(*field)?)?;
            digits.iter().all(u8::is_ascii_digit).then(|| seq_of(&parts[1..], rest))?
        }
        Some(Part::Field(_)) => {
            let safe = |b: &u8| b.is_ascii_alphanumeric() || b"_-.%".contains(b);
            let longest = name.iter().take_while(|b| safe(b)).count();
            (1..=longest).rev().find_map(|n| seq_of(&parts[1..], &name[n..]))
        }
        Some(Part::Seq) => {
            let digits = name.iter().take_while(|b| b.is_ascii_digit()).count();
            let seq = std::str::from_utf8(&name[..digits]).ok()?.parse().ok()?;
            seq_of(&parts[1..], &name[digits..]).map(|_| seq)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(template: &str, value: &'static str) -> String {
        let mut out = String::new();
        Template::parse(template).unwrap().route(&mut out, |_| value.into());
        out
    }

    #[test]
    fn a_name_has_the_write_time_and_the_number() {
        let t = jiff::civil::date(2026, 3, 9).at(4, 5, 6, 0);
        assert_eq!(file_name(&route("log.%Y-%m-%d-%H_{seq}", ""), t, 17), "log.2026-03-09-04_17");
        assert_eq!(file_name(&route("{log_name}/x.%j_{seq}.json", "a"), t, 1), "a/x.068_1.json");
    }

    #[test]
    fn values_from_strangers_stay_one_harmless_part() {
        let t = jiff::civil::date(2026, 3, 9).at(4, 5, 6, 0);
        let name = |v| file_name(&route("{log_name}_{seq}", v), t, 1);
        assert_eq!(name("../../etc/passwd"), "_..%2F..%2Fetc%2Fpasswd_1");
        assert_eq!((name(".hidden"), name(".logmill-id")), ("_.hidden_1".into(), "_.logmill-id_1".into()));
        assert_eq!(file_name(&route("{log_name}/{seq}", ".."), t, 1), "_../1");
        assert_eq!(name("%Y{seq}\0"), "%25Y%7Bseq%7D%00_1");
        assert_eq!(name(""), "__1");
        let long = name(Box::leak("x".repeat(4096).into_boxed_str()));
        assert_eq!(long.len(), VALUE_MAX_BYTES + 2);
        assert_ne!(long, name(Box::leak("x".repeat(4097).into_boxed_str())));
    }

    #[test]
    fn a_template_knows_its_own_names() {
        let t = Template::parse("{lane}_{log_name}.%Y-%m-%d_{seq}.log").unwrap();
        assert_eq!(t.seq_of("3_log_item.2026-03-09_17.log"), Some(17));
        assert_eq!(t.seq_of("3_log_item.2026-03-09_17.log.bak"), None);
        assert_eq!(t.seq_of("3_log_item.2026-3-09_17.log"), None);
        assert!(t.has_lane() && !t.is_fixed());
    }

    #[test]
    fn a_part_between_slashes_is_measured_by_itself() {
        for (template, bytes) in [("a/bcd/e_{seq}", 22), ("{log_name}/{topic}{lane}/x_{seq}", 200), ("%Y/{seq}", 20)] {
            assert_eq!(part_bytes(&Template::parse(template).unwrap().parts), bytes, "{template}");
        }
    }

    #[test]
    fn a_bad_template_says_what_to_write() {
        for (template, words) in [
            ("log.%Y", "{seq} is missing"),
            ("{seq}{seq}", "more than once"),
            ("{seq}%Y", "runs into"),
            ("/a_{seq}", "relative"),
            ("../a_{seq}", "'..'"),
            ("{what}_{seq}", "{what} is no placeholder"),
            ("%q_{seq}", "%q is no time field"),
            ("{seq", "not closed"),
            (".logmill_{seq}", ".logmill"),
            ("{log_name}_{event_name}_{topic}_{seq}", "between two '/'"),
        ] {
            let message = Template::parse(template).unwrap_err();
            assert!(message.contains(words), "{template}: {message}");
        }
    }
}
