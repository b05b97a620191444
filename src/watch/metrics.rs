//! The numbers: Prometheus text, health, and samples for the page, all made from the board when somebody asks.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::alert::{Code, Level};
use super::log::Log;
use super::report::Reporter;
use super::round::{Findings, STILL_MAX, newest_ms};
use crate::engine::{CollectView, Remote, View};
use crate::flow::clock;
use crate::flow::gauge::Spread;
use crate::flow::span::Counts;
use crate::sys::usage;
use crate::tail::{State, Totals};
use crate::writer;

/// What can be seen from here.
pub struct Sight {
    pub remote: Remote,
    pub findings: Arc<Findings>,
    pub log: Log,
    pub reporter: Option<Reporter>,
}

impl Sight {
    /// The text that Prometheus reads.
    pub fn metrics(&self) -> String {
        let mut text = Text::default();
        self.program(&mut text);
        process_usage(&mut text);
        let views = self.remote.board().views();
        tasks(&mut text, &views);
        partitions(&mut text, &views);
        threads(&mut text, &views);
        collects(&mut text, &self.remote.board().collects());
        text.out
    }

    /// True where lines arrive and all is on its way; and a JSON object with the reasons.
    pub fn health(&self) -> (bool, String) {
        let board = self.remote.board();
        let still = |at: Option<std::time::Duration>| at.is_some_and(|for_| for_ >= STILL_MAX);
        let named = |task: &str, words: &str| if task.is_empty() { words.into() } else { format!("{task}: {words}") };
        let mut dead = Vec::new();
        if still(board.engine.at_it_for()) {
            dead.push("the engine does not come round".to_string());
        }
        if still(self.findings.beat.at_it_for()) {
            dead.push("the watcher does not come round".to_string());
        }
        let mut not_ready: Vec<String> = board.not_ready().iter().map(|(task, why)| named(task, why)).collect();
        let mut warnings = Vec::new();
        for (task, code, msg) in self.findings.conditions() {
            let list = match code.level() {
                Level::Fatal if code == Code::S01_NOT_READY => continue,
                Level::Fatal => &mut not_ready,
                _ => &mut warnings,
            };
            list.push(named(&task, &format!("{} {msg}", code.name())));
        }
        let (live, ready) = (dead.is_empty(), not_ready.is_empty());
        dead.append(&mut not_ready);
        let body = json!({"live": live, "ready": ready, "reasons": dead, "warnings": warnings});
        (live && ready, format!("{body}\n"))
    }

    /// What the page draws: for each task rows of second, rate, lag, seconds behind, younger than second `after`.
    pub fn samples(&self, after: u64) -> String {
        let mut tasks = serde_json::Map::new();
        for (name, samples) in self.findings.samples(after) {
            let rows = samples.iter().map(|s| json!([s.at_s, s.rate, s.lag, s.behind_s]));
            tasks.insert(name, rows.collect());
        }
        let conditions = self.findings.conditions();
        let alerts: Vec<Value> = conditions
            .iter()
            .map(|(task, code, msg)| json!({"task": task, "code": code.name(), "level": code.level(), "msg": msg}))
            .collect();
        let version = env!("CARGO_PKG_VERSION");
        let now = clock::running_ms() / 1000;
        format!("{}\n", json!({"version": version, "now": now, "alerts": alerts, "tasks": tasks}))
    }

    fn program(&self, text: &mut Text) {
        let board = self.remote.board();
        text.family("logmill_build_info", GAUGE, "Always 1; the version is in the label.");
        text.sample("", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.family("logmill_generation", GAUGE, "Rises with every configuration that was accepted.");
        text.sample("", &[], board.generation());
        text.family("logmill_ready", GAUGE, "1 where every task is on its way.");
        text.sample("", &[], u64::from(board.not_ready().is_empty()));
        let conditions = self.findings.conditions();
        text.family("logmill_alert_active", GAUGE, "1 for each alert that holds at the moment.");
        conditions.iter().for_each(|(task, code, _)| text.sample("", &[("task", task), ("code", &code.name())], 1));
        text.family("logmill_alerts_total", COUNTER, "Alerts that were raised or said to be over.");
        text.sample("", &[], self.findings.alerts.load(Ordering::Relaxed));
        text.family("logmill_reports_lost_total", COUNTER, "Alerts that did not reach report_to.");
        text.sample("", &[], self.reporter.as_ref().map_or(0, Reporter::lost));
        text.family("logmill_log_lines_lost_total", COUNTER, "Lines of the log that could not be written.");
        text.sample("", &[], self.log.lost());
    }
}

fn process_usage(text: &mut Text) {
    text.family("process_resident_memory_bytes", GAUGE, "Memory in use; redo rings are mapped twice and count twice.");
    text.sample("", &[], usage::resident_bytes());
    if let Ok(process) = usage::process() {
        text.family("process_open_fds", GAUGE, "Open files.");
        text.sample("", &[], process.open_files);
        text.family("process_max_fds", GAUGE, "Files that may be open.");
        text.sample("", &[], process.open_files_max);
        text.family("process_start_time_seconds", GAUGE, "Start of the process since the epoch.");
        text.sample("", &[], process.started_s);
        text.family("process_cpu_seconds_total", COUNTER, "Time on the cores.");
        text.sample("", &[], process.cpu_ms as f64 / 1e3);
    }
    text.family("logmill_thread_cpu_seconds_total", COUNTER, "Time on a core, of all living threads of a name.");
    let mut threads = usage::threads();
    threads.sort_by(|a, b| a.name.cmp(&b.name));
    for same in threads.chunk_by(|a, b| a.name == b.name) {
        let cpu_ms: u64 = same.iter().map(|thread| thread.cpu_ms).sum();
        text.sample("", &[("thread", &same[0].name)], cpu_ms as f64 / 1e3);
    }
}

/// What there is once for a task.
fn tasks(text: &mut Text, views: &[Arc<View>]) {
    let each = |text: &mut Text, value: &dyn Fn(&View) -> Option<f64>| {
        for view in views {
            if let Some(value) = value(view) {
                text.sample("", &[("task", &view.name)], value);
            }
        }
    };
    text.family("logmill_records_total", COUNTER, "Records by what became of them, since the task's state began.");
    for view in views {
        let mut total = Counts::default();
        view.readers.iter().for_each(|reader| total.add(reader.counts()));
        let Counts { written, filtered, parked, .. } = total;
        for (result, count) in [("written", written), ("filtered", filtered), ("parked", parked)] {
            text.sample("", &[("task", &view.name), ("result", result)], count);
        }
    }
    text.family("logmill_remarks_total", COUNTER, "Reasons for parking, and remarks on written lines, by their names.");
    for view in views {
        let mut tally = crate::flow::tally::Tally::default();
        view.rings.iter().for_each(|ring| tally.add(&ring.tally()));
        for (name, count) in tally.named() {
            text.sample("", &[("task", &view.name), ("remark", name)], count);
        }
    }
    let reader = |count: fn(&crate::reader::Gauge) -> &AtomicU64| {
        move |view: &View| Some(view.readers.iter().map(|r| count(r).load(Ordering::Relaxed)).sum::<u64>() as f64)
    };
    let writer = |count: fn(&writer::Gauge) -> &AtomicU64| {
        move |view: &View| Some(view.writers.iter().map(|w| count(w).load(Ordering::Relaxed)).sum::<u64>() as f64)
    };
    text.family("logmill_lost_to_retention_total", COUNTER, "Offsets that retention removed before they were read.");
    each(text, &reader(|r| &r.lost_to_retention));
    text.family("logmill_written_bytes_total", COUNTER, "Bytes appended to files.");
    each(text, &writer(|w| &w.bytes));
    text.family("logmill_files_strangers_total", COUNTER, "Files in which somebody else wrote.");
    each(text, &writer(|w| &w.strangers));
    text.family("logmill_files_removed_total", COUNTER, "Files that somebody removed or cut while they were written.");
    each(text, &writer(|w| &w.deleted_live));
    text.family("logmill_failures", GAUGE, "Records in the failure queue.");
    each(text, &|view| Some(view.shared.failures.load(Ordering::Relaxed) as f64));
    text.family("logmill_checkpoint", GAUGE, "Number of the newest durable checkpoint.");
    each(text, &|view| Some(view.task.checkpoint.load(Ordering::Relaxed) as f64));
    text.family("logmill_checkpoint_age_seconds", GAUGE, "Time since the newest durable checkpoint, or the start.");
    let age = |view: &View| clock::running_ms().saturating_sub(view.task.kept_ms.load(Ordering::Relaxed)) as f64 / 1e3;
    each(text, &|view| Some(age(view)));
    text.family(
        "logmill_newest_record_timestamp_seconds",
        GAUGE,
        "Kafka's time of the newest record, since the epoch.",
    );
    each(text, &|view| newest_ms(view).map(|ms| ms as f64 / 1e3));
    text.family("logmill_record_age_seconds", HISTOGRAM, "From a record's time in Kafka to its line in the file.");
    for view in views {
        text.histogram(&[("task", &view.name)], sum(view.writers.iter().map(|w| w.ages.read())), 1e3);
    }
    text.family("logmill_batch_records", HISTOGRAM, "Records of the batches that readers take.");
    for view in views {
        text.histogram(&[("task", &view.name)], sum(view.readers.iter().map(|r| r.batch_records.read())), 1.0);
    }
    text.family("logmill_batch_bytes", HISTOGRAM, "Bytes of the batches that writers append.");
    for view in views {
        text.histogram(&[("task", &view.name)], sum(view.writers.iter().map(|w| w.batch_bytes.read())), 1.0);
    }
}

fn sum(spreads: impl Iterator<Item = Spread>) -> Spread {
    spreads.fold(Spread::default(), |mut sum, spread| {
        sum.add(spread);
        sum
    })
}

fn partitions(text: &mut Text, views: &[Arc<View>]) {
    let mut rows = Vec::new();
    for view in views {
        for standing in view.standings() {
            let topic = view.topics.get(usize::from(standing.topic)).map_or("?", String::as_str);
            rows.push((view.name.as_str(), topic, standing.partition.to_string(), standing));
        }
    }
    let labels = |row: &'_ (&'_ str, &'_ str, String, crate::reader::Standing)| {
        [("task", row.0.to_string()), ("topic", row.1.to_string()), ("partition", row.2.clone())]
    };
    let mut family = |name, help, value: &dyn Fn(&crate::reader::Standing) -> Option<u64>| {
        text.family(name, GAUGE, help);
        for row in &rows {
            if let Some(value) = value(&row.3) {
                let labels = labels(row);
                text.sample("", &labels.each_ref().map(|(name, value)| (*name, value.as_str())), value);
            }
        }
    };
    family("logmill_lag_records", "Records of a partition that are not taken yet.", &|s| s.lag());
    family("logmill_next_offset", "The offset to take next.", &|s| u64::try_from(s.next).ok());
    family("logmill_partition_stopped", "1 where a partition cannot be read on.", &|s| Some(u64::from(s.stopped)));
}

/// What there is for each reader or writer.
fn threads(text: &mut Text, views: &[Arc<View>]) {
    type Get = fn(&View, usize) -> u64;
    let mut family = |name, help, label, count: fn(&View) -> usize, get: Get| {
        text.family(name, GAUGE, help);
        for view in views {
            for index in 0..count(view) {
                text.sample("", &[("task", &view.name), (label, &index.to_string())], get(view, index));
            }
        }
    };
    let readers = |view: &View| view.readers.len();
    let writers = |view: &View| view.writers.len();
    family(
        "logmill_ring_used_bytes",
        "Bytes of a reader's redo ring that wait to be written.",
        "reader",
        readers,
        |v, i| v.rings[i].head().saturating_sub(v.rings[i].tail()),
    );
    family("logmill_ring_size_bytes", "Size of a reader's redo ring.", "reader", readers, |v, i| {
        v.rings[i].size() as u64
    });
    family("logmill_reader_blocked", "1 while a reader waits for room in its ring.", "reader", readers, |v, i| {
        u64::from(v.readers[i].blocked.load(Ordering::Relaxed))
    });
    family("logmill_channel_messages", "Messages that wait for a writer.", "writer", writers, |v, i| {
        v.queues[i].len() as u64
    });
    family("logmill_channel_capacity", "Messages that may wait for a writer.", "writer", writers, |v, i| {
        v.queues[i].capacity().unwrap_or(0) as u64
    });
    family("logmill_writer_blocked", "1 while a writer waits for its disk.", "writer", writers, |v, i| {
        u64::from(v.writers[i].blocked.load(Ordering::Relaxed))
    });
}

/// Of each collect task; never of a file: there may be any number of them.
fn collects(text: &mut Text, views: &[Arc<CollectView>]) {
    let mut family = |name, kind, help, get: &dyn Fn(&CollectView) -> f64| {
        text.family(name, kind, help);
        views.iter().for_each(|view| text.sample("", &[("task", view.name())], get(view)));
    };
    let total = |get: fn(&Totals) -> &AtomicU64| {
        move |view: &CollectView| get(&view.collector.status().totals).load(Ordering::Relaxed) as f64
    };
    family("logmill_collect_lines_total", COUNTER, "Lines that the brokers have confirmed.", &total(|t| &t.lines));
    family("logmill_collect_bytes_total", COUNTER, "Bytes that they reach over.", &total(|t| &t.bytes));
    family("logmill_collect_sent_again_total", COUNTER, "Lines that were not confirmed.", &total(|t| &t.failed));
    family(
        "logmill_collect_truncations_total",
        COUNTER,
        "Times that a file was cut or replaced.",
        &total(|t| &t.truncations),
    );
    family(
        "logmill_collect_lost_bytes_total",
        COUNTER,
        "Bytes that were seen and cut before they were read.",
        &total(|t| &t.lost_bytes),
    );
    family("logmill_collect_long_lines_total", COUNTER, "Lines that went out in pieces.", &total(|t| &t.long_lines));
    family(
        "logmill_collect_nul_bytes_total",
        COUNTER,
        "Bytes of holes that were skipped.",
        &total(|t| &t.skipped_nul_bytes),
    );
    family("logmill_collect_files", GAUGE, "Files that are followed.", &total(|t| &t.files));
    let read = |value: &AtomicU64| value.load(Ordering::Relaxed) as f64;
    family("logmill_collect_refused", GAUGE, "Names that are not followed.", &|view| read(&view.refused));
    family("logmill_collect_behind_bytes", GAUGE, "Bytes that are not confirmed yet.", &|view| read(&view.behind));
    family("logmill_collect_restarts_total", COUNTER, "Restarts of the thread that follows the files.", &|view| {
        view.collector.status().restarts as f64
    });
    family("logmill_collect_beat_age_seconds", GAUGE, "Since that thread went round.", &|view| {
        view.collector.status().beat_age.as_secs_f64()
    });
    family("logmill_collect_running", GAUGE, "1 where files are followed.", &|view| {
        f64::from(u8::from(view.collector.status().state == State::Running))
    });
    family("logmill_collect_list_current", GAUGE, "0 where the list in etcd is not the one in force.", &|view| {
        f64::from(u8::from(view.list_trouble().is_none()))
    });
}

const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";
const HISTOGRAM: &str = "histogram";

/// Prometheus's text format in the making: a family, then its samples.
#[derive(Default)]
struct Text {
    out: String,
    name: &'static str,
}

impl Text {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Writing into a string does not fail.
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = write!(self.out, "{}{suffix}", self.name);
        for (at, (name, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.out, "{}{name}=\"{value}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.out, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// `unit`: what one of the family's unit is in the spread.
    fn histogram(&mut self, labels: &[(&str, &str)], spread: Spread, unit: f64) {
        let mut count = 0;
        for (n, bucket) in spread.buckets.iter().enumerate() {
            count += bucket;
            let bound = Spread::bound(n).map_or("+Inf".into(), |bound| (bound as f64 / unit).to_string());
            self.sample("_bucket", &[labels, &[("le", &bound)]].concat(), count);
        }
        self.sample("_sum", labels, spread.sum as f64 / unit);
        self.sample("_count", labels, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_buckets_add_up() {
        let mut text = Text::default();
        text.family("a_total", COUNTER, "Help.");
        text.sample("", &[("x", "q\"b\\n\n"), ("y", "")], 3);
        assert_eq!(text.out, "# HELP a_total Help.\n# TYPE a_total counter\na_total{x=\"q\\\"b\\\\n\\n\",y=\"\"} 3\n");
        let histogram = crate::flow::gauge::Histogram::default();
        histogram.observe(2, 5);
        histogram.observe(u64::MAX / 4, 1);
        let mut text = Text::default();
        text.family("h", HISTOGRAM, "Help.");
        text.histogram(&[], histogram.read(), 1e3);
        let found = |line: &str| assert!(text.out.lines().any(|l| l == line), "{line} in {}", text.out);
        for line in ["h_bucket{le=\"0.001\"} 0", "h_bucket{le=\"0.004\"} 5", "h_bucket{le=\"+Inf\"} 6", "h_count 6"] {
            found(line);
        }
    }
}
