//! Alerts: what an operator is to be told at three in the morning, once, with a code that never changes its meaning.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use log::LevelFilter;
use serde::Serialize;

use crate::flow::clock;

/// At most one alert of one code for one task in this time.
const EVERY: Duration = Duration::from_secs(60);
/// How often a condition that lasts is told of again.
const AGAIN: Duration = Duration::from_secs(600);

/// What is wrong. Names are for scripts: none ever changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
pub enum Code {
    /// It did not come up, or a task is not on its way some time after the start.
    S01_NOT_READY,
    /// The disk refuses a task's lines.
    S02_SINK_DOWN,
    /// The failure queue is full: the task waits.
    S03_FAILURES_FULL,
    /// One batch takes longer than `max_batch_time`.
    S04_SLOW_BATCH,
    /// A task is more than `lag_alert` records behind.
    S05_LAG,
    /// The lag of a task has been growing for `lag_alert_for`.
    S06_LAG_GROWS,
    /// The engine's loop or a checkpoint stands still.
    S07_STALLED,
    /// The process, or a thread of it, has died.
    S08_DIED,
    /// A partition is not read on.
    S09_PARTITION_STOPPED,
    /// No broker answers, or topics are missing.
    S10_SOURCE_DOWN,
    /// Files are not followed, or were not a moment ago: the thread that does it failed, hangs, or was taken over.
    S11_COLLECT_DOWN,
    /// The list in etcd is not the one in force: nobody answers, or it is refused.
    S12_LIST_DOWN,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Lines do not arrive until somebody does something.
    Fatal,
    Error,
    Warn,
    /// It is over.
    Info,
}

impl Code {
    pub const ALL: [Code; 12] = [
        Code::S01_NOT_READY,
        Code::S02_SINK_DOWN,
        Code::S03_FAILURES_FULL,
        Code::S04_SLOW_BATCH,
        Code::S05_LAG,
        Code::S06_LAG_GROWS,
        Code::S07_STALLED,
        Code::S08_DIED,
        Code::S09_PARTITION_STOPPED,
        Code::S10_SOURCE_DOWN,
        Code::S11_COLLECT_DOWN,
        Code::S12_LIST_DOWN,
    ];

    /// As it stands in alerts and metrics.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    pub fn level(self) -> Level {
        match self {
            Code::S01_NOT_READY
            | Code::S02_SINK_DOWN
            | Code::S03_FAILURES_FULL
            | Code::S08_DIED
            | Code::S09_PARTITION_STOPPED => Level::Fatal,
            Code::S05_LAG
            | Code::S07_STALLED
            | Code::S10_SOURCE_DOWN
            | Code::S11_COLLECT_DOWN
            | Code::S12_LIST_DOWN => Level::Error,
            Code::S04_SLOW_BATCH | Code::S06_LAG_GROWS => Level::Warn,
        }
    }

    /// True where `report_level` lets alerts of this code through; FATAL counts as an error there.
    pub fn passes(self, report_level: LevelFilter) -> bool {
        let level = if self.level() == Level::Warn { log::Level::Warn } else { log::Level::Error };
        level <= report_level
    }
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    pub code: Code,
    pub level: Level,
    /// "" where the whole process is meant.
    pub task: String,
    pub msg: String,
}

impl Alert {
    pub fn new(code: Code, task: &str, msg: impl Into<String>) -> Alert {
        Alert { code, level: code.level(), task: task.into(), msg: msg.into() }
    }

    /// One line, one JSON object.
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            uri: &'a str,
            level: Level,
            time: String,
            task: &'a str,
            code: String,
            msg: &'a str,
        }
        let Alert { code, level, task, msg } = self;
        let uri = match code {
            _ if task.is_empty() => "/logmill",
            Code::S11_COLLECT_DOWN | Code::S12_LIST_DOWN => "/logmill/collect",
            _ => "/logmill/deliver",
        };
        let line = Line { uri, level: *level, time: clock::utc(clock::now_ms()), task, code: code.name(), msg };
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// A condition that holds at the moment: task, code, what to say.
pub type Condition = (String, Code, String);

/// Which conditions hold, and what was said of them.
#[derive(Default)]
pub struct Alarms {
    states: HashMap<(String, Code), State>,
}

struct State {
    /// Since when it holds; `None`: it is over.
    since: Option<Instant>,
    /// When it was last said that it holds.
    said: Option<Instant>,
    /// It was said of the present one.
    told: bool,
}

impl Alarms {
    /// All conditions that hold at `now`; the others are over. Gives what is to be said.
    pub fn see(&mut self, now: Instant, conditions: &[Condition]) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for (task, code, msg) in conditions {
            let new = || State { since: None, said: None, told: false };
            let state = self.states.entry((task.clone(), *code)).or_insert_with(new);
            let since = *state.since.get_or_insert(now);
            let wait = if state.told { AGAIN } else { EVERY };
            if state.said.is_some_and(|said| now - said < wait) {
                continue;
            }
            let lasts = if state.told { format!(" (for {} s now)", (now - since).as_secs()) } else { String::new() };
            (state.said, state.told) = (Some(now), true);
            alerts.push(Alert::new(*code, task, format!("{msg}{lasts}")));
        }
        for ((task, code), state) in &mut self.states {
            if conditions.iter().any(|(t, c, _)| t == task && c == code) {
                continue;
            }
            let Some(since) = state.since.take() else { continue };
            if std::mem::take(&mut state.told) {
                let msg = format!("over after {} s", (now - since).as_secs());
                alerts.push(Alert { level: Level::Info, ..Alert::new(*code, task, msg) });
            }
        }
        self.states.retain(|_, s| s.since.is_some() || s.said.is_some_and(|said| now - said < EVERY));
        alerts
    }
}

/// A quarter that is shorter sees the same lag again: the ends of logs are asked for every few seconds.
const QUARTER_LEAST: Duration = Duration::from_secs(4);

/// Whether a lag grows, noise aside: the least lag of each quarter of the time is above that of the quarter before.
#[derive(Debug, Default)]
pub struct Trend {
    /// The least lag of each quarter that is over, newest last.
    quarters: Vec<u64>,
    least: Option<u64>,
    until: Option<Instant>,
}

impl Trend {
    /// True where it has grown for `time`, as far as is known.
    pub fn see(&mut self, now: Instant, lag: u64, time: Duration) -> bool {
        let quarter = (time / 4).max(QUARTER_LEAST);
        let until = *self.until.get_or_insert(now + quarter);
        if now >= until {
            self.quarters.extend(self.least.take());
            if self.quarters.len() > 4 {
                self.quarters.remove(0);
            }
            self.until = Some(now + quarter);
        }
        self.least = Some(self.least.map_or(lag, |least| least.min(lag)));
        let rises = |pair: &[u64]| pair[0] < pair[1];
        let last = self.quarters.last().copied().unwrap_or(0);
        self.quarters.len() == 4 && self.quarters.windows(2).all(rises) && self.least > Some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(alerts: &[Alert]) -> Vec<(Level, &str)> {
        alerts.iter().map(|a| (a.level, a.msg.as_str())).collect()
    }

    #[test]
    fn a_condition_is_said_once_and_its_end_too() {
        let (mut alarms, start) = (Alarms::default(), Instant::now());
        let at = |s: u64| start + Duration::from_secs(s);
        let down = [("game".to_string(), Code::S02_SINK_DOWN, "no space".to_string())];
        assert_eq!(codes(&alarms.see(at(0), &down)), [(Level::Fatal, "no space")]);
        assert_eq!(alarms.see(at(1), &down), []);
        assert_eq!(codes(&alarms.see(at(601), &down)), [(Level::Fatal, "no space (for 601 s now)")]);
        assert_eq!(codes(&alarms.see(at(602), &[])), [(Level::Info, "over after 602 s")]);
        assert_eq!(alarms.see(at(603), &[]), []);
        // It flutters: nothing more within the minute, and no end of what was not said.
        assert_eq!(alarms.see(at(604), &down), []);
        assert_eq!(alarms.see(at(605), &[]), []);
        assert_eq!(alarms.see(at(606), &down), []);
        assert_eq!(codes(&alarms.see(at(661), &down)), [(Level::Fatal, "no space")]);
    }

    #[test]
    fn tasks_and_codes_do_not_silence_each_other() {
        let (mut alarms, now) = (Alarms::default(), Instant::now());
        let all: Vec<Condition> = ["a", "b"]
            .iter()
            .flat_map(|task| [Code::S05_LAG, Code::S02_SINK_DOWN].map(|code| (task.to_string(), code, "x".into())))
            .collect();
        assert_eq!(alarms.see(now, &all).len(), 4);
        assert_eq!(alarms.see(now, &all[..3]).len(), 1);
    }

    #[test]
    fn an_alert_is_one_line_of_json() {
        let line = Alert::new(Code::S02_SINK_DOWN, "game_24", "a \"b\"\nc").json();
        let start = r#"{"uri":"/logmill/deliver","level":"FATAL","time":"20"#;
        let end = r#"Z","task":"game_24","code":"S02_SINK_DOWN","msg":"a \"b\"\nc"}"#;
        assert!(line.starts_with(start) && line.ends_with(end) && !line.contains('\n'), "{line}");
    }

    #[test]
    fn report_level_lets_through_what_is_as_bad() {
        let passing = |level| Code::ALL.iter().filter(|code| code.passes(level)).count();
        assert_eq!(
            [LevelFilter::Off, LevelFilter::Error, LevelFilter::Warn, LevelFilter::Trace].map(passing),
            [0, 10, 12, 12]
        );
    }

    #[test]
    fn a_lag_grows_where_each_quarter_is_above_the_last() {
        let grows = |lag: &dyn Fn(u64) -> u64| {
            let (mut trend, start) = (Trend::default(), Instant::now());
            (0..60).position(|s| trend.see(start + Duration::from_secs(s), lag(s), Duration::from_secs(20)))
        };
        assert!(grows(&|s| 100 + s * 10 + s % 3 * 40).is_some_and(|s| (20..26).contains(&s)));
        assert_eq!(grows(&|s| 1000 + s % 7), None);
        assert_eq!(grows(&|_| 0), None);
        assert_eq!(grows(&|s| 10_000 - s), None);
    }
}
