//! One set of settings and options; every check runs the library and the reference and wants the same literal end.

use logmill::flow::record::Record;
use logmill::transform::{LaneRule, Options};

use crate::reference::fast::{self, Fast, Files};
use crate::reference::lane::lane;
use crate::reference::settings::Project;
use crate::reference::{self, End};

/// 2020-12-17 13:52:40.123 +08:00
pub const NOW_MS: i64 = 1_608_184_360_123;

pub struct Bench {
    projects: Vec<Project>,
    fast: Fast,
    options: Options,
    pub timestamp_ms: i64,
    pub partition: i32,
    pub offset: i64,
}

impl Bench {
    /// Settings of project 24; "" is no file.
    pub fn new(metadata: &str, filter: &str, options: Options) -> Bench {
        let files = [Files::new("24", metadata, filter)];
        Bench {
            projects: files.iter().map(Files::project).collect(),
            fast: Fast::new(&files, &options),
            options,
            timestamp_ms: -1,
            partition: 0,
            offset: 6_197_511_494,
        }
    }

    /// One entry "e" that takes its id from `id` and its time from `t`, neither being copied; `more` are further
    /// members of the entry, each with its comma.
    pub fn entry(event_type: &str, more: &str, options: Options) -> Bench {
        let metadata = format!(
            r##"[{{"log_name":"e","event_type":"{event_type}",{more}"exclude":["id","t"],
            "metadata":{{"#account_id":{{"field":"id"}},"#time":{{"field":"t"}},
            "#zone_offset":{{"field":"zone"}}}}}}]"##
        );
        Bench::new(&metadata, "", options)
    }

    /// The ends of all pieces.
    #[track_caller]
    pub fn check_all(&mut self, value: &[u8], wanted: &[End]) {
        self.check_value(Some(value), wanted);
    }

    /// `None` is the null value.
    #[track_caller]
    pub fn check_value(&mut self, value: Option<&[u8]>, wanted: &[End]) {
        let start = value.map(|value| &value[..value.len().min(600)]);
        let shown = String::from_utf8_lossy(start.unwrap_or_default()).to_string();
        let record = self.record(value);
        let slow = reference::transform(&self.projects, &self.options, &record, NOW_MS);
        assert_eq!(slow, wanted, "reference, {shown}");
        let ends = self.fast.ends(&record, NOW_MS, &[], 100).into_iter().map(|(end, _)| end);
        assert_eq!(ends.collect::<Vec<_>>(), wanted, "library, {shown}");
    }

    #[track_caller]
    pub fn check(&mut self, value: impl AsRef<[u8]>, wanted: End) {
        self.check_all(value.as_ref(), &[wanted]);
    }

    /// A record "e" with id 1, a good time and these members: what becomes of the members.
    #[track_caller]
    pub fn check_members(
        &mut self,
        event_type: &str,
        members: &str,
        properties: &str,
        remarks: &[(&'static str, u64)],
    ) {
        let name = if event_type.starts_with("track") { r##","#event_name":"t_e","#ip":"""## } else { "" };
        let head = format!(r##"{{"#account_id":"1","#distinct_id":""{name},"#time":"2020-12-17 13:50:43""##);
        let line = format!(r##"{head},"#type":"{event_type}","properties":{{{properties}}}}}"##);
        self.check(with_members(members), written(&line, remarks));
    }

    /// A record "e" with id 1 and this value for `t` (a JSON text, "" for none): the written time.
    #[track_caller]
    pub fn check_time(&mut self, source: &str, time: &str, remarks: &[(&'static str, u64)]) {
        let comma = if source.is_empty() { "" } else { r#","t":"# };
        let value = format!(r#"{{"headers":{{"app_id":24,"log_name":"e"}},"logs":{{"id":1{comma}{source}}}}}"#);
        let head = r##"{"#account_id":"1","#distinct_id":"","#event_name":"t_e","#ip":"","#time":"##;
        let line = format!(r##"{head}"{time}","#type":"track","properties":{{}}}}"##);
        self.check(value, written(&line, remarks));
    }

    /// The lane of a value that is not transformed.
    #[track_caller]
    pub fn check_lane(&self, lanes: u32, field: Option<&str>, value: &[u8], wanted: u32) {
        let shown = String::from_utf8_lossy(value);
        let record = self.record(Some(value));
        assert_eq!(lane(lanes, field, &record, value), wanted, "reference, {shown}");
        let rule = LaneRule::new(lanes, field.map(str::to_string));
        assert_eq!(rule.of_value(&record, value), wanted, "library, {shown}");
    }

    fn record<'a>(&self, value: Option<&'a [u8]>) -> Record<'a> {
        Record {
            topic: "mulog_clean_24",
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            leader_epoch: 0,
            value,
        }
    }
}

/// A record "e" with id 1 and a good time.
pub fn with_members(members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(r#"{{"headers":{{"app_id":24,"log_name":"e"}},"logs":{{"id":1,"t":1608184243{comma}{members}}}}}"#)
}

pub fn written(line: &str, remarks: &[(&'static str, u64)]) -> End {
    End::Written { line: [line, "\n"].concat().into_bytes(), remarks: remarks.iter().copied().collect() }
}

pub fn parked(code: &'static str) -> End {
    End::Parked(code)
}

/// The places and messages of a metadata file that must be refused.
#[track_caller]
pub fn refused(metadata: &str, filter: &str) -> Vec<(usize, usize, String)> {
    let problems = fast::load(&[Files::new("24", metadata, filter)]).err().unwrap_or_default();
    assert!(!problems.is_empty(), "accepted: {metadata} {filter}");
    problems.into_iter().map(|p| (p.line, p.column, format!("{} {}", p.file.display(), p.message))).collect()
}
