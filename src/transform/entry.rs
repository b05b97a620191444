//! One entry of a metadata file in the form the transform runs: which record it is for and where each key comes from.

use super::members::name_hash;

/// How the records of one `log_name` become lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub log_name: String,
    /// `None`: "t_" and the record's `log_name`.
    pub event_name: Option<String>,
    pub event_type: EventType,
    pub account_id: Source,
    pub app_id: Source,
    pub distinct_id: Source,
    pub event_id: Source,
    pub first_check_id: Source,
    pub import_tool_id: Source,
    pub ip: Source,
    pub time: Source,
    pub transaction_property: Source,
    pub uuid: Source,
    /// The other `#` keys in their order.
    pub properties: Vec<Property>,
    /// What is said about members by name.
    pub rules: Names<Rule>,
}

/// A `#` key that is written among the properties.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    pub name: String,
    pub source: Source,
    pub cast: Option<Cast>,
}

/// What an entry says about the property of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rule {
    pub exclude: bool,
    pub cast: Option<Cast>,
    /// Index in [`Entry::properties`] of the key that takes this member's place.
    pub property: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cast {
    String,
    Number,
    List,
}

/// Where a value comes from, and what stands in for it where it is missing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Source {
    pub field: Option<Field>,
    pub default: Fallback,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub enum Fallback {
    #[default]
    Nothing,
    Template(Vec<Part>),
    /// A number's text.
    Number(String),
    Bool(bool),
}

/// A stretch of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    Text(String),
    Field(Field),
}

/// A field by name, with its other readings worked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: Name,
    /// The name as a dotted path; empty if it has no dot.
    pub path: Vec<Name>,
    /// `headers.x`: x.
    pub header: Option<Name>,
    pub kafka: Option<KafkaField>,
}

/// A name with its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub text: String,
    pub hash: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaField {
    Topic,
    Partition,
    Offset,
    Timestamp,
}

macro_rules! event_types {
    ($($variant:ident = $text:literal),+ $(,)?) => {
        /// What TE does with a line.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum EventType { $($variant),+ }

        impl EventType {
            pub const ALL: &[EventType] = &[$(EventType::$variant),+];

            /// As `#type` and `event_type` have it.
            pub const fn name(self) -> &'static str {
                match self { $(EventType::$variant => $text),+ }
            }
        }
    };
}

event_types! {
    Track = "track",
    TrackUpdate = "track_update",
    TrackOverwrite = "track_overwrite",
    UserSet = "user_set",
    UserSetOnce = "user_setOnce",
    UserAdd = "user_add",
    UserUnset = "user_unset",
    UserAppend = "user_append",
    UserUniqAppend = "user_uniq_append",
    UserDel = "user_del",
}

impl EventType {
    pub fn is_track(self) -> bool {
        matches!(self, EventType::Track | EventType::TrackUpdate | EventType::TrackOverwrite)
    }

    /// Properties stand in the line with the values that they have, whatever those are.
    pub fn keeps_values(self) -> bool {
        self.is_track() || matches!(self, EventType::UserSet | EventType::UserSetOnce)
    }

    pub fn needs_event_id(self) -> bool {
        matches!(self, EventType::TrackUpdate | EventType::TrackOverwrite)
    }
}

impl Entry {
    /// An entry that names no field: what the built-in one is, and where a written one begins.
    pub fn empty(log_name: &str) -> Entry {
        Entry {
            log_name: log_name.to_string(),
            event_name: None,
            event_type: EventType::Track,
            account_id: Source::default(),
            app_id: Source::default(),
            distinct_id: Source::default(),
            event_id: Source::default(),
            first_check_id: Source::default(),
            import_tool_id: Source::default(),
            ip: Source::default(),
            time: Source::default(),
            transaction_property: Source::default(),
            uuid: Source::default(),
            properties: Vec::new(),
            rules: Names::default(),
        }
    }
}

impl Name {
    pub fn new(text: &str) -> Name {
        Name { text: text.to_string(), hash: name_hash(text.as_bytes()) }
    }
}

impl Field {
    pub fn new(text: &str) -> Field {
        let path = if text.contains('.') { text.split('.').map(Name::new).collect() } else { Vec::new() };
        let kafka = match text {
            "kafka.topic" => Some(KafkaField::Topic),
            "kafka.partition" => Some(KafkaField::Partition),
            "kafka.offset" => Some(KafkaField::Offset),
            "kafka.timestamp" => Some(KafkaField::Timestamp),
            _ => None,
        };
        Field { name: Name::new(text), path, header: text.strip_prefix("headers.").map(Name::new), kafka }
    }
}

/// A small immutable map by name, sorted by hash.
#[derive(Debug, Clone, PartialEq)]
pub struct Names<T> {
    sorted: Vec<(Name, T)>,
    /// One bit for each value that the highest bits of the hashes have.
    marks: u64,
}

impl<T> Default for Names<T> {
    fn default() -> Names<T> {
        Names { sorted: Vec::new(), marks: 0 }
    }
}

impl<T> FromIterator<(String, T)> for Names<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(pairs: I) -> Names<T> {
        let mut sorted: Vec<_> = pairs.into_iter().map(|(name, value)| (Name::new(&name), value)).collect();
        sorted.sort_by_key(|(name, _)| name.hash);
        let marks = sorted.iter().fold(0, |marks, (name, _)| marks | mark(name.hash));
        Names { sorted, marks }
    }
}

fn mark(hash: u32) -> u64 {
    1 << (hash >> 26)
}

impl<T> Names<T> {
    /// False where no name has this hash.
    #[inline]
    pub fn may_hold(&self, hash: u32) -> bool {
        self.marks & mark(hash) != 0
    }

    /// One bit for each of the first 128 hashes that a name may have.
    pub fn may_hold_of(&self, hashes: impl Iterator<Item = u32>) -> u128 {
        if self.marks == 0 {
            return 0;
        }
        hashes.take(128).enumerate().fold(0, |bits, (i, hash)| bits | u128::from(self.may_hold(hash)) << i)
    }

    pub fn get(&self, name: &[u8], hash: u32) -> Option<&T> {
        if !self.may_hold(hash) {
            return None;
        }
        let from = self.sorted.partition_point(|(other, _)| other.hash < hash);
        let same_hash = self.sorted[from..].iter().take_while(|(other, _)| other.hash == hash);
        same_hash.map(|(other, value)| (other.text.as_bytes(), value)).find(|(text, _)| *text == name).map(|(_, v)| v)
    }

    pub fn contains(&self, name: &[u8]) -> bool {
        self.get(name, name_hash(name)).is_some()
    }
}
