//! From what was written to what is meant: defaults, mandatory keys, and what keys say about each other.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use super::config::{Collect, Config, Deliver, Log, LogRotate, Process, Transform};
use super::effective::Effective;
use super::kind::{Item, Value};
use super::look::Look;
use super::schema::{CLUSTER, Key, PROCESS, TASK, Unset, nearest};
use super::units::show_size;
use super::written::{Section, Written};
use crate::flow::cluster::{Client, Cluster, Wish};
use crate::flow::name::{Field, Rotate, Template};
use crate::flow::problem::Problem;
use crate::protocol;
use crate::transform::{Options, UnknownLog, ValueCodec};

/// Bytes of an entry's head beside its lines: what a quarter of a ring keeps free of the longest line.
const ENTRY_HEAD_BYTES: u64 = 64 << 10;

/// The meaning of a file. Where a problem was reported, before or here, a default stands in: the result is of use only
/// if there are no problems.
pub fn check(written: &Written, problems: &mut Vec<Problem>, warnings: &mut Vec<Problem>) -> Config {
    let mut check = Check { written, problems, warnings };
    let clusters: Vec<Cluster> = written.clusters.iter().map(|section| check.cluster(section)).collect();
    let process = check.process();
    let deliver: Vec<Deliver> = written.deliver.iter().map(|section| check.deliver(section, &clusters)).collect();
    let etcd = check.etcd();
    let collect: Vec<Collect> = written.collect.iter().map(|section| check.collect(section, &clusters)).collect();
    check.topics_once(&deliver);
    check.dirs_once(&process, &deliver);
    check.names_once();
    Config { process, deliver, collect, etcd }
}

pub(super) struct Check<'a> {
    pub(super) written: &'a Written,
    pub(super) problems: &'a mut Vec<Problem>,
    pub(super) warnings: &'a mut Vec<Problem>,
}

impl<'a> Check<'a> {
    fn process(&mut self) -> Process {
        let look = Look { keys: PROCESS, sections: [&self.written.process; 2] };
        self.no_file(&look, "data_dir");
        Process {
            data_dir: look.text("data_dir").into(),
            cores: look.cores("cores"),
            stop_timeout: look.duration("stop_timeout"),
            socket: look.text("socket").into(),
            control_users: texts(look.items("control_users")),
            metrics_listen: look.given("metrics_listen").map(String::from),
            log: log(&look),
            stack_level: look.level("stack_level"),
            report_level: look.level("report_level"),
            report_to: look.given("report_to").map(String::from),
            lag_alert: look.number("lag_alert"),
            lag_alert_for: look.duration("lag_alert_for"),
            max_batch_time: look.duration("max_batch_time"),
            effective: look.effective(),
        }
    }

    fn cluster(&mut self, section: &Section) -> Cluster {
        let look = Look { keys: CLUSTER, sections: [section; 2] };
        self.demand(&look, &format!("[cluster.{}]", section.name), false);
        Cluster {
            name: section.name.clone(),
            brokers: look.text("brokers").into(),
            librdkafka: look.pairs("librdkafka"),
        }
    }

    fn look(&self, section: &'a Section) -> Look<'a> {
        Look { keys: TASK, sections: [section, &self.written.system] }
    }

    fn deliver(&mut self, section: &'a Section, clusters: &[Cluster]) -> Deliver {
        let look = self.look(section);
        let transform = if look.text("transform") == "te" { Transform::Te } else { Transform::None };
        self.demand(&look, &format!("[deliver.{}]", section.name), transform == Transform::Te);
        if transform == Transform::Te {
            self.settings_dir(&look);
        }
        let rotate = match look.text("rotate") {
            "day" => Rotate::Day,
            "hour" => Rotate::Hour,
            _ => Rotate::None,
        };
        self.no_file(&look, "dir");
        self.line_in_ring(&look);
        self.idle_keys(&look);
        let file_name = self.file_name(&look, transform, rotate);
        let mut effective = look.effective();
        effective.add(look.key("file_name"), Some(&Value::Text(file_name.clone().into())));
        self.add_cluster(&look, &mut effective);
        let cluster = self.cluster_of(&look, clusters);
        Deliver {
            name: section.name.clone(),
            client: self.client(&look, &cluster),
            cluster,
            topics: texts(look.items("topics")),
            group_id: look.text("group_id").into(),
            start: look.start("start"),
            transform,
            app_ids: texts(look.items("app_ids")),
            settings_dir: look.text("settings_dir").into(),
            options: options(&look),
            dir: look.text("dir").into(),
            file_name,
            rotate,
            rotate_size: look.number("rotate_size"),
            min_free: look.number("min_free"),
            lanes: look.number("lanes") as u32,
            deliver_by: look.given("deliver_by").map(String::from),
            readers: look.number("readers") as usize,
            writers: look.number("writers") as usize,
            channel_capacity: look.number("channel_capacity") as usize,
            ring_size: look.number("ring_size") as usize,
            checkpoint_interval: look.duration("checkpoint_interval"),
            poll_timeout: look.duration("poll_timeout"),
            rate_limit: look.number("rate_limit"),
            failures_max: look.number("failures_max"),
            effective,
        }
    }

    /// The keys of the task's cluster too.
    pub(super) fn add_cluster(&self, look: &Look<'_>, effective: &mut Effective) {
        let cluster = self.written.clusters.iter().find(|section| section.name == look.text("cluster"));
        if let Some(section) = cluster {
            effective.extend(Look { keys: CLUSTER, sections: [section; 2] }.effective());
        }
    }

    /// A native client that is asked for has to know every property of the cluster.
    fn client(&mut self, look: &Look<'_>, cluster: &Cluster) -> Wish {
        let wish = Wish::of(look.text("fetch"));
        if wish == Wish::Only(Client::Native)
            && let Err(unknown) = protocol::Settings::of(cluster)
        {
            let help = format!("remove it from [cluster.{}], or write fetch = \"auto\"", cluster.name);
            self.problems.push(look.place("fetch").problem(unknown.to_string(), help));
        }
        wish
    }

    /// Mandatory keys that are not there.
    pub(super) fn demand(&mut self, look: &Look<'_>, heading: &str, is_te: bool) {
        let section = look.sections[0];
        let is_mandatory = |key: &&Key| match key.unset {
            Unset::Mandatory => true,
            Unset::MandatoryForTe => is_te,
            Unset::Default(_) | Unset::Nothing(_) => false,
        };
        let is_missing = |key: &&Key| look.entry(key.name).is_none() && !section.is_misspelt(key.name);
        let missing: Vec<&Key> = look.keys.iter().filter(is_mandatory).filter(is_missing).collect();
        let mut add = |message, help| self.problems.push(section.place.problem(message, help));
        if section.place.file == self.written.process.place.file || missing.is_empty() {
            for Key { name, example, help, .. } in missing {
                add(format!("{heading} has no {name}"), format!("write {name} = {example} below it. {help}"));
            }
        } else {
            // An overlay's section that is not laid over any other, hardly on purpose.
            let names: Vec<&str> = missing.iter().map(|key| key.name).collect();
            let message = format!("{heading} stands in no other file, and has no {}", names.join(", "));
            add(message, "write the name of a section of the main file, or the keys that are missing".into());
        }
    }

    fn settings_dir(&mut self, look: &Look<'_>) {
        let dir = look.text("settings_dir");
        if !dir.is_empty() && !Path::new(dir).is_dir() {
            let here = std::env::current_dir().unwrap_or_default();
            let help =
                format!("make it, or write a directory that is there; a relative path begins at {}", here.display());
            self.problems
                .push(look.place("settings_dir").problem(format!("settings_dir = {dir:?} is no directory"), help));
        }
    }

    fn no_file(&mut self, look: &Look<'_>, key: &str) {
        let dir = look.text(key);
        if Path::new(dir).is_file() {
            let message = format!("{key} = {dir:?} is a file");
            self.problems.push(look.place(key).problem(message, "write a directory, or one that is still to be made"));
        }
    }

    pub(super) fn cluster_of(&mut self, look: &Look<'_>, clusters: &[Cluster]) -> Cluster {
        let name = look.text("cluster");
        if let Some(cluster) = clusters.iter().find(|c| c.name == name) {
            return cluster.clone();
        }
        let none = Cluster { name: name.into(), brokers: String::new(), librdkafka: Vec::new() };
        if look.is_wrong("cluster") {
            return none;
        }
        let near = nearest(name, clusters.iter().map(|c| c.name.as_str()));
        let help = match near {
            Some(near) => format!("write cluster = {near:?}, or add that section"),
            None => format!("write it: [cluster.{name}], and below it brokers = \"localhost:9092\""),
        };
        self.problems.push(
            look.place("cluster").problem(format!("cluster = {name:?}: there is no section [cluster.{name}]"), help),
        );
        none
    }

    /// An entry of a redo ring is at most a quarter of it and must hold the longest line.
    fn line_in_ring(&mut self, look: &Look<'_>) {
        let (ring, line) = (look.number("ring_size"), look.number("max_line_bytes"));
        let longest = ring / 4 - ENTRY_HEAD_BYTES;
        if line <= longest || look.is_wrong("ring_size") || look.is_wrong("max_line_bytes") {
            return;
        }
        let key = if look.entry("max_line_bytes").is_some() { "max_line_bytes" } else { "ring_size" };
        let enough = ((line + ENTRY_HEAD_BYTES) * 4).next_power_of_two();
        self.problems.push(look.place(key).problem(
            format!(
                "max_line_bytes = {} does not fit ring_size = {}, which takes lines up to {}",
                show_size(line),
                show_size(ring),
                show_size(longest)
            ),
            format!("write ring_size = {:?} or max_line_bytes = {:?}", show_size(enough), show_size(longest)),
        ));
    }

    fn file_name(&mut self, look: &Look<'_>, transform: Transform, rotate: Rotate) -> String {
        let lanes = look.number("lanes");
        let written = look.text("file_name");
        if written.is_empty() {
            return default_file_name(rotate, lanes).into();
        }
        let problem = match Template::parse(written) {
            Err(reason) => {
                let (what, help) = reason.split_once("; ").unwrap_or((&reason, "write such as log.%Y-%m-%d_{seq}"));
                Some((what.to_string(), help.to_string()))
            }
            Ok(name) if lanes > 1 && !name.has_lane() => Some((
                format!("{{lane}} is missing, and lanes = {lanes}"),
                format!("write file_name = {:?}, or lanes = 1", format!("{{lane}}_{written}")),
            )),
            Ok(name) if transform == Transform::None => {
                [Field::AppId, Field::LogName, Field::EventName].iter().any(|field| name.uses(*field)).then(|| {
                    let what = "{app_id}, {log_name} and {event_name} are not known with transform = \"none\"";
                    (what.into(), "use {topic}, {partition} or {lane}".into())
                })
            }
            Ok(_) => None,
        };
        if let Some((what, help)) = problem {
            self.problems.push(look.place("file_name").problem(format!("file_name = {written:?}: {what}"), help));
        }
        written.into()
    }

    /// Keys that are legal and do nothing.
    fn idle_keys(&mut self, look: &Look<'_>) {
        let (lanes, writers) = (look.number("lanes"), look.number("writers"));
        let task = &look.sections[0].name;
        if writers > lanes {
            let message =
                format!("writers = {writers} of {task}: only {lanes} will work, each writer takes whole lanes");
            self.warnings.push(look.place("writers").problem(message, format!("write lanes = {writers} or more")));
        }
        if lanes == 1 && look.entry("deliver_by").is_some() {
            let message = format!("deliver_by of {task} has no effect: it chooses among lanes, and lanes = 1");
            self.warnings.push(look.place("deliver_by").problem(message, "write lanes = 2 or more, or remove it"));
        }
    }

    /// State is kept under (group_id, topic), whatever the cluster.
    fn topics_once(&mut self, deliver: &[Deliver]) {
        let mut owners: HashMap<(&str, &str), &str> = HashMap::new();
        for (task, section) in deliver.iter().zip(&self.written.deliver) {
            for Item { text: topic, place } in self.look(section).items("topics") {
                if task.group_id.is_empty() {
                    continue;
                }
                match owners.get(&(task.group_id.as_str(), topic.as_str())) {
                    Some(owner) => {
                        let message = format!(
                            "topics: {topic:?} is read by {owner} already in the group {:?}, here by {}",
                            task.group_id, task.name
                        );
                        let help = "remove it from one of the two tasks, or give this one a group_id of its own";
                        self.problems.push(place.problem(message, help));
                    }
                    None => {
                        owners.insert((&task.group_id, topic), &task.name);
                    }
                }
            }
        }
    }

    fn dirs_once(&mut self, process: &Process, deliver: &[Deliver]) {
        let mut owners = HashMap::from([(real_path(&process.data_dir), "[process] data_dir".to_string())]);
        for (task, section) in deliver.iter().zip(&self.written.deliver) {
            if task.dir.as_os_str().is_empty() {
                continue;
            }
            let dir = real_path(&task.dir);
            if let Some(owner) = owners.get(&dir) {
                let message = format!("dir = {:?} of {} is used by {owner} already", task.dir, task.name);
                let help = format!("write a directory of its own, for example dir = \"data/out/{}\"", task.name);
                self.problems.push(self.look(section).place("dir").problem(message, help));
            } else {
                owners.insert(dir, format!("[deliver.{}]", task.name));
            }
        }
    }
}

fn log(look: &Look<'_>) -> Log {
    Log {
        file: look.given("log_file").map(PathBuf::from),
        level: look.level("log_level"),
        rotate: match look.text("log_rotate") {
            "size" => LogRotate::AtSize(look.number("log_rotate_size")),
            "day" => LogRotate::Daily,
            _ => LogRotate::Never,
        },
        keep: look.number("log_keep") as usize,
    }
}

fn options(look: &Look<'_>) -> Options {
    Options {
        timezone_s: look.seconds("timezone"),
        value_codec: if look.text("value_codec") == "snappy" { ValueCodec::Snappy } else { ValueCodec::None },
        max_record_bytes: look.number("max_record_bytes") as usize,
        max_line_bytes: look.number("max_line_bytes") as usize,
        unknown_log_name: match look.text("unknown_log_name") {
            "park" => UnknownLog::Park,
            "drop" => UnknownLog::Drop,
            _ => UnknownLog::Entry,
        },
        fail_bad_property: look.text("bad_property") == "fail",
        truncate_long_string: look.text("long_string") == "truncate",
        add_uuid: look.flag("add_uuid"),
        time_fallback_now: look.text("time_fallback") == "now",
    }
}

pub(super) fn texts(items: &[Item]) -> Vec<String> {
    items.iter().map(|item| item.text.clone()).collect()
}

fn default_file_name(rotate: Rotate, lanes: u64) -> &'static str {
    match (rotate, lanes) {
        (Rotate::Hour, 1) => "log.%Y-%m-%d-%H_{seq}",
        (_, 1) => "log.%Y-%m-%d_{seq}",
        (Rotate::Hour, _) => "{lane}_log.%Y-%m-%d-%H_{seq}",
        _ => "{lane}_log.%Y-%m-%d_{seq}",
    }
}

/// The absolute path without `.`, `..` and, as far as it exists, symbolic links: two spellings of one directory are
/// equal.
fn real_path(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut real = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => {
                real.pop();
            }
            Component::CurDir => {}
            part => {
                real.push(part);
                real = real.canonicalize().unwrap_or(real);
            }
        }
    }
    real
}
