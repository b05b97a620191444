//! One value: TOML and the kind its key asks for in, a typed value or its problems out.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use toml::Spanned;
use toml::de::DeValue;

use super::config::Cores;
use super::expand::Expanded;
use super::kind::{Item, Kind, Pair, Value};
use super::place::Source;
use super::schema::Key;
use super::units::{parse_duration, parse_size, parse_start, parse_timezone, show_duration, show_size, start_at_ms};
use crate::flow::cluster::Start;
use crate::flow::problem::Problem;

/// Names of tasks and clusters, in characters.
pub const NAME_MAX: usize = 64;
/// Topics of one task.
const TOPICS_MAX: usize = 64;
/// Kafka's own limit.
const TOPIC_NAME_MAX: usize = 249;
const APP_IDS_MAX: usize = 1024;
const USERS_MAX: usize = 64;
/// More go into a list file.
const PATHS_MAX: usize = 1024;
const ENDPOINTS_MAX: usize = 16;
/// Bytes of a user's name, as useradd has it.
const USER_NAME_MAX: usize = 32;
const CORES_MAX: usize = 1024;
/// Bytes of a path, as Linux has it.
const PATH_MAX: usize = 4095;
/// Code points of a value that are quoted in a message.
const QUOTED_MAX: usize = 60;

/// Properties of the client library that logmill sets itself, and what to do instead.
const OWN_PROPERTIES: [(&str, &str); 6] = [
    ("bootstrap.servers", "remove it and write the key brokers"),
    ("metadata.broker.list", "remove it and write the key brokers"),
    ("group.id", "remove it and write group_id in the task"),
    ("auto.offset.reset", "remove it and write start in the task"),
    ("enable.auto.commit", "remove it: positions are kept by logmill"),
    ("enable.auto.offset.store", "remove it: positions are kept by logmill"),
];

/// Reads one value; `name` is the key's name as written.
pub struct Reading<'a> {
    pub key: &'a Key,
    pub name: &'a str,
    pub source: &'a Source<'a>,
    pub expanded: &'a Expanded,
    pub problems: &'a mut Vec<Problem>,
}

impl Reading<'_> {
    /// `None`: at least one problem was added.
    pub fn read(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let result = match &self.key.kind {
            Kind::Topics => return self.items(value, topic),
            Kind::AppIds => return self.items(value, app_id),
            Kind::Users => return self.items(value, user),
            Kind::Paths => return self.items(value, absolute_path),
            Kind::Endpoints => return self.items(value, endpoint),
            Kind::Cores if value.get_ref().is_array() => return self.cores(value),
            Kind::Pairs => return self.pairs(value),
            kind => scalar(kind, value.get_ref()),
        };
        result.map_err(|what| self.wrong(value, &what)).ok()
    }

    fn wrong(&mut self, value: &Spanned<DeValue<'_>>, what: &str) {
        let written = match quoted(&self.source.text[value.span()]) {
            none if none.is_empty() => "\"\"".into(),
            written => written,
        };
        self.add(value.span(), format!("{} = {written} {what}", self.name), self.advice(value));
    }

    fn add(&mut self, span: Range<usize>, message: String, help: String) {
        self.problems.push(self.source.place(span.start).problem(message, help));
    }

    fn advice(&self, value: &Spanned<DeValue<'_>>) -> String {
        let written = self.source.text.get(value.span()).unwrap_or_default();
        let example = match (&self.key.kind, value.get_ref()) {
            (Kind::Topics | Kind::Paths | Kind::Endpoints, DeValue::String(_)) => format!("[{written}]"),
            (Kind::AppIds, DeValue::Integer(_)) => format!("[{written}]"),
            _ => self.key.example.to_string(),
        };
        let wanted = self.key.kind.wanted();
        match self.key.kind {
            Kind::Choice { .. } | Kind::Flag => format!("write {} = {wanted}", self.name),
            _ => format!("write {wanted}, for example {} = {example}", self.name),
        }
    }

    fn items(&mut self, value: &Spanned<DeValue<'_>>, read: ReadItem) -> Option<Value> {
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong(value, &type_of(value.get_ref()));
            return None;
        };
        let max = match self.key.kind {
            Kind::Topics => TOPICS_MAX,
            Kind::Users => USERS_MAX,
            Kind::Paths => PATHS_MAX,
            Kind::Endpoints => ENDPOINTS_MAX,
            _ => APP_IDS_MAX,
        };
        if (array.is_empty() && self.key.default().is_none()) || array.len() > max {
            let what = if array.is_empty() { "is empty".into() } else { format!("has more than {max} elements") };
            self.wrong(value, &what);
            return None;
        }
        let problems_before = self.problems.len();
        let mut items: Vec<Item> = Vec::new();
        for element in array.iter() {
            let read = read(element.get_ref()).and_then(|text| match items.iter().any(|i| i.text == text) {
                true => Err("stands twice in the list".into()),
                false => Ok(text),
            });
            match read {
                Ok(text) => items.push(Item { text, place: self.source.place(element.span().start) }),
                Err(what) => {
                    let written = quoted(&self.source.text[element.span()]);
                    let message = format!("{}: {written} {what}", self.name);
                    let help = if what.contains("twice") { "remove one of the two".into() } else { self.advice(value) };
                    self.add(element.span(), message, help);
                }
            }
        }
        (self.problems.len() == problems_before).then_some(Value::Items(items))
    }

    fn cores(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let numbers = value.get_ref().as_array().into_iter().flatten();
        let cores: Option<Vec<usize>> = numbers.map(|n| integer(n.get_ref()).map(|n| n as usize)).collect();
        let mut seen = cores.clone().unwrap_or_default();
        seen.sort_unstable();
        seen.dedup();
        match cores {
            Some(cores) if !cores.is_empty() && seen.len() == cores.len() && cores.iter().all(|c| *c < CORES_MAX) => {
                Some(Value::Cores(Cores::These(cores)))
            }
            _ => {
                self.wrong(value, "is no list of core numbers");
                None
            }
        }
    }

    fn pairs(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong(value, &type_of(value.get_ref()));
            return None;
        };
        let problems_before = self.problems.len();
        let mut pairs = Vec::new();
        for (name, value) in table {
            let property = name.get_ref();
            if let Some((_, help)) = OWN_PROPERTIES.iter().find(|(own, _)| own == property) {
                self.add(name.span(), format!("{property:?} may not be set here"), (*help).into());
                continue;
            }
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => {
                    self.source.text[value.span()].to_string()
                }
                DeValue::Table(inner) => {
                    let rest = inner.keys().next().map_or("…", |k| k.get_ref());
                    let help = format!("write the whole name in quotes: \"{property}.{rest}\" = …");
                    self.add(name.span(), format!("{property} of librdkafka is a table"), help);
                    continue;
                }
                other => {
                    let help = format!("write {property:?} = \"…\"");
                    self.add(value.span(), format!("{property:?} {}", type_of(other)), help);
                    continue;
                }
            };
            if let Err(reason) = client_takes(property, &text) {
                let help = "see librdkafka's CONFIGURATION.md for names and values";
                self.add(name.span(), format!("librdkafka refuses {property:?}: {reason}"), help.into());
            }
            let span = value.span();
            let taken = self.expanded.is_taken(&span).then(|| self.source.text[span].into());
            pairs.push(Pair { name: property.to_string(), value: text, taken });
        }
        (self.problems.len() == problems_before).then_some(Value::Pairs(pairs))
    }
}

/// # Errors
/// What the client library says against this property.
fn client_takes(property: &str, value: &str) -> Result<(), String> {
    match ClientConfig::new().set(property, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, reason, _, _)) => Err(reason),
        Err(other) => Err(other.to_string()),
    }
}

type ReadItem = fn(&DeValue<'_>) -> Result<String, String>;

fn scalar(kind: &Kind, value: &DeValue<'_>) -> Result<Value, String> {
    let text = |max_bytes: usize| text(value, max_bytes);
    match kind {
        Kind::Text { min_bytes: 0, .. } | Kind::PathOrNone | Kind::Listen if value.as_str() == Some("") => {
            Ok(owned(""))
        }
        Kind::Text { max_bytes, .. } => text(*max_bytes).map(owned),
        Kind::PathOrNone => text(PATH_MAX).map(owned),
        Kind::Listen => text(PATH_MAX).and_then(listen),
        Kind::Path => text(PATH_MAX).map(owned),
        Kind::Name => text(NAME_MAX).and_then(name),
        Kind::Topic => topic(value).map(|topic| owned(&topic)),
        Kind::Brokers => text(PATH_MAX).and_then(brokers),
        Kind::Choice { known, later } => text(usize::MAX).and_then(|word| choice(word, known, later)),
        Kind::Timezone => {
            let seconds = parse_timezone(text(usize::MAX)?).map_err(|_| "is no offset from UTC")?;
            Ok(Value::Seconds(seconds))
        }
        Kind::Duration { min, max } => {
            if value.is_integer() {
                return Err("has no unit".into());
            }
            let duration = parse_duration(text(usize::MAX)?)?;
            in_range(duration, min, max).map(Value::Duration)
        }
        Kind::Size { min, max, zero, power_of_two } => {
            let bytes = match integer(value) {
                Some(bytes) => bytes,
                None if value.is_integer() => return Err("is out of range".into()),
                None => parse_size(text(usize::MAX)?)?,
            };
            if *zero && bytes == 0 {
                return Ok(Value::Number(0));
            }
            let bytes = in_range(bytes, min, max)?;
            match *power_of_two && !bytes.is_power_of_two() {
                true => Err("is not a power of two".into()),
                false => Ok(Value::Number(bytes)),
            }
        }
        Kind::Integer { min, max, .. } if value.is_integer() => {
            in_range(integer(value).ok_or("is out of range")?, min, max).map(Value::Number)
        }
        Kind::Flag => value.as_bool().map(Value::Flag).ok_or_else(|| type_of(value)),
        Kind::Start => start(value).map(Value::Start),
        Kind::Cores if value.as_str() == Some("auto") => Ok(Value::Cores(Cores::Auto)),
        _ => Err(type_of(value)),
    }
}

fn text<'v>(value: &'v DeValue<'_>, max_bytes: usize) -> Result<&'v str, String> {
    match value.as_str() {
        None => Err(type_of(value)),
        Some(text) if text.trim().is_empty() => Err("is empty".into()),
        Some(text) if text.chars().any(char::is_control) => Err("holds a control character".into()),
        Some(text) if text.len() > max_bytes => Err(format!("is longer than {max_bytes} bytes")),
        Some(text) => Ok(text),
    }
}

fn owned(text: &str) -> Value {
    Value::Text(Cow::Owned(text.to_string()))
}

fn in_range<T: PartialOrd>(value: T, min: &T, max: &T) -> Result<T, String> {
    if (min..=max).contains(&&value) { Ok(value) } else { Err("is out of range".into()) }
}

/// `None` as well for a number beyond u64.
fn integer(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn choice(word: &str, known: &[&'static str], later: &[&str]) -> Result<Value, String> {
    match known.iter().find(|k| **k == word) {
        Some(known) => Ok(Value::Text(Cow::Borrowed(known))),
        None if later.contains(&word) => Err("is not available in this version".into()),
        None => Err("is not one of the known words".into()),
    }
}

/// Names of tasks and clusters.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn name(text: &str) -> Result<Value, String> {
    if is_name(text) { Ok(owned(text)) } else { Err("is no legal name".into()) }
}

/// `[PROTOCOL://]host[:port]`, with commas between.
fn brokers(text: &str) -> Result<Value, String> {
    for broker in text.split(',').map(str::trim) {
        let address = broker.split_once("://").map_or(broker, |(_, address)| address);
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (address, None),
        };
        let is_v6 = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || (host.contains(':') && !is_v6) || broker.contains([' ', '\t', ';']) {
            return Err("holds an entry that is no host:port".into());
        }
        if port.is_some_and(|port| !matches!(port.parse::<u16>(), Ok(1..))) {
            return Err("holds a port that is not between 1 and 65535".into());
        }
    }
    Ok(owned(text))
}

/// One `host:port`.
fn listen(text: &str) -> Result<Value, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !text.contains([' ', ',', '/']) && port.parse::<u16>().is_ok() => {
            Ok(owned(text))
        }
        _ => Err("is no host:port".into()),
    }
}

/// A user's name, or a number.
fn user(value: &DeValue<'_>) -> Result<String, String> {
    if value.is_integer() {
        let id = integer(value).and_then(|id| u32::try_from(id).ok());
        return id.map(|id| id.to_string()).ok_or_else(|| "is out of range".into());
    }
    let name = text(value, USER_NAME_MAX)?;
    match name.contains(|c: char| c.is_whitespace() || c == ':' || c == ',') {
        true => Err("is no name of a user".into()),
        false => Ok(name.into()),
    }
}

fn topic(value: &DeValue<'_>) -> Result<String, String> {
    let topic = text(value, TOPIC_NAME_MAX)?;
    let legal = topic.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !legal || topic == "." || topic == ".." {
        return Err("is no legal topic name".into());
    }
    Ok(topic.into())
}

fn absolute_path(value: &DeValue<'_>) -> Result<String, String> {
    let path = text(value, PATH_MAX)?;
    if path.starts_with('/') { Ok(path.into()) } else { Err("does not begin with /".into()) }
}

/// `host:port`, or the same behind a scheme.
fn endpoint(value: &DeValue<'_>) -> Result<String, String> {
    let endpoint = text(value, PATH_MAX)?;
    let (scheme, address) = endpoint.split_once("://").unwrap_or(("http", endpoint));
    if !matches!(scheme, "http" | "https") {
        return Err("begins with neither http:// nor https://".into());
    }
    listen(address.trim_end_matches('/')).map(|_| endpoint.into())
}

fn app_id(value: &DeValue<'_>) -> Result<String, String> {
    match integer(value) {
        Some(id) => Ok(id.to_string()),
        None if value.is_integer() => Err("is out of range".into()),
        None => Err(type_of(value)),
    }
}

fn start(value: &DeValue<'_>) -> Result<Start, String> {
    match value {
        DeValue::Integer(_) => match integer(value).map(i64::try_from) {
            Some(Ok(ms)) => start_at_ms(ms),
            _ => Err("is out of range".into()),
        },
        DeValue::Datetime(time) => parse_start(&time.to_string()),
        _ => parse_start(text(value, usize::MAX)?),
    }
}

fn type_of(value: &DeValue<'_>) -> String {
    let article = if matches!(value, DeValue::Integer(_) | DeValue::Array(_)) { "an" } else { "a" };
    format!("is {article} {}", value.type_str())
}

/// A value for a message: one line, not too long.
fn quoted(written: &str) -> String {
    let line = written.lines().next().unwrap_or_default();
    let cut = line.len() < written.len() || line.chars().count() > QUOTED_MAX;
    let mut shown: String = line.chars().take(QUOTED_MAX).collect();
    if cut {
        shown.push('…');
    }
    shown
}

impl Kind {
    /// What may be written, as the object of "write".
    pub fn wanted(&self) -> String {
        match self {
            Kind::Text { min_bytes, max_bytes } => {
                format!("a text of {min_bytes} to {max_bytes} bytes in quotes")
            }
            Kind::Path => "a path in quotes".into(),
            Kind::PathOrNone => "a path in quotes, or \"\"".into(),
            Kind::Users => format!("a list of at most {USERS_MAX} names or numbers of users"),
            Kind::Listen => "one host:port in quotes, or \"\"".into(),
            Kind::Name => format!("a name of 1 to {NAME_MAX} letters, digits, _ and -"),
            Kind::Brokers => "host:port, several with commas between, in one pair of quotes".into(),
            Kind::Topics => format!(
                "a list of 1 to {TOPICS_MAX} topic names of at most {TOPIC_NAME_MAX} letters, digits, '.', '_' and '-'"
            ),
            Kind::AppIds => format!("a list of 1 to {APP_IDS_MAX} whole numbers without quotes"),
            Kind::Topic => format!("a topic's name of at most {TOPIC_NAME_MAX} letters, digits, '.', '_' and '-'"),
            Kind::Paths => format!("a list of at most {PATHS_MAX} paths that begin with /"),
            Kind::Endpoints => format!("a list of 1 to {ENDPOINTS_MAX} host:port or URLs"),
            Kind::Cores => format!("\"auto\" or a list of different core numbers below {CORES_MAX}"),
            Kind::Integer { min, max, .. } => format!("a whole number from {min} to {max}"),
            Kind::Flag => "true or false".into(),
            Kind::Duration { min, max } => {
                format!("a duration from {} to {} in quotes", show_duration(*min), show_duration(*max))
            }
            Kind::Size { min, max, zero, power_of_two } => {
                let zero = if *zero { "0 or " } else { "" };
                let power = if *power_of_two { " that is a power of two" } else { "" };
                format!("{zero}a size from {} to {}{power} in quotes", show_size(*min), show_size(*max))
            }
            Kind::Choice { known, .. } => known.iter().fold(String::new(), |mut list, word| {
                let _ = write!(list, "{}{word:?}", if list.is_empty() { "" } else { " or " });
                list
            }),
            Kind::Timezone => "a fixed offset from UTC from -23:59 to +23:59 in quotes".into(),
            Kind::Start => {
                "\"earliest\", \"latest\", a time such as \"2026-01-31T00:00:00+08:00\" or milliseconds".into()
            }
            Kind::Pairs => "pairs of names and values".into(),
            Kind::Later => "nothing".into(),
        }
    }
}
