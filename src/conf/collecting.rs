//! The meaning of collect tasks and of etcd, and the lists of what is to be followed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::check::{Check, texts};
use super::config::{Collect, Config};
use super::look::Look;
use super::place::Place;
use super::schema::{COLLECT, ETCD};
use super::written::{Section, Written};
use crate::flow::cluster::{Cluster, Wish};
use crate::flow::problem::Problem;
use crate::tail::etcd::{self, Etcd};
use crate::tail::lines::Rules;
use crate::tail::partition::Partitioner;
use crate::tail::patterns::Pattern;
use crate::tail::{Entry, StartFrom, entries};

/// Bytes of a list file.
const LIST_MAX_BYTES: u64 = 16 << 20;

impl<'a> Check<'a> {
    pub fn collect(&mut self, section: &'a Section, clusters: &[Cluster]) -> Collect {
        let look = look(self.written, section);
        let heading = format!("[collect.{}]", section.name);
        self.demand(&look, &heading, false);
        self.something_to_follow(&look, &heading);
        self.patterns(&look);
        self.positions(&look, &heading);
        let max_line_bytes = look.number("max_line_bytes") as usize;
        let multiline_start = look.given("multiline_start");
        if let Err(why) = Rules::new(max_line_bytes, multiline_start) {
            let message = format!("multiline_start = {:?} is no regular expression", look.text("multiline_start"));
            // The library shows the place on lines of its own.
            let why = why.lines().last().unwrap_or_default();
            self.problems.push(look.place("multiline_start").problem(message, why));
        }
        let mut effective = look.effective();
        self.add_cluster(&look, &mut effective);
        if look.flag("from_etcd") {
            effective.extend(self.look_etcd().effective());
        }
        Collect {
            name: section.name.clone(),
            cluster: self.cluster_of(&look, clusters),
            paths: texts(look.items("paths")),
            entries: look.given("entries").map(PathBuf::from),
            from_etcd: look.flag("from_etcd"),
            topic: look.given("topic").map(String::from),
            key: look.given("key").map(String::from),
            roots: texts(look.items("roots")).into_iter().map(PathBuf::from).collect(),
            start_from: if look.text("start_from") == "beginning" { StartFrom::Beginning } else { StartFrom::End },
            partitioner: match look.text("partitioner") {
                "random" => Partitioner::Random,
                "key" => Partitioner::Key,
                _ => Partitioner::File,
            },
            client: Wish::of(look.text("produce")),
            compression: look.text("compression").into(),
            positions_topic: look.given("positions_topic").filter(|_| look.flag("exactly_once")).map(String::from),
            max_line_bytes,
            multiline_start: multiline_start.map(String::from),
            close_delay: look.duration("close_delay"),
            effective,
        }
    }

    fn something_to_follow(&mut self, look: &Look<'_>, heading: &str) {
        let (paths, topic) = (look.entry("paths").is_some(), look.entry("topic").is_some());
        let from_etcd = look.flag("from_etcd");
        let mut add = |key, message: String, help: &str| self.problems.push(look.place(key).problem(message, help));
        if !paths && look.entry("entries").is_none() && !from_etcd && !look.is_wrong("from_etcd") {
            let help = "write paths = [\"/var/log/app/*.log\"] and topic = \"app\" below it, or entries, or from_etcd";
            add("paths", format!("{heading} names nothing to follow"), help);
        }
        if paths && !topic {
            add("paths", format!("{heading} has paths and no topic"), "write topic = \"web_log\" below it");
        }
        if from_etcd && !self.written.etcd.is_written() {
            let help = "write [etcd] with endpoints = [\"127.0.0.1:2379\"] and collect_key = \"/logmill/%s/collect\"";
            add("from_etcd", "from_etcd = true, and there is no section [etcd]".into(), help);
        }
    }

    fn patterns(&mut self, look: &Look<'_>) {
        for path in look.items("paths") {
            if let Err(why) = Pattern::parse(&path.text) {
                self.problems.push(path.place.problem(format!("paths: {:?} is no path and no glob", path.text), why));
            }
        }
    }

    fn positions(&mut self, look: &Look<'_>, heading: &str) {
        let is_exact = look.flag("exactly_once");
        match look.given("positions_topic") {
            None if is_exact && !look.is_wrong("positions_topic") => {
                let message = format!("{heading} has exactly_once = true and no positions_topic");
                let help = "write positions_topic = \"logmill_positions\", a topic with cleanup.policy=compact";
                self.problems.push(look.place("exactly_once").problem(message, help));
            }
            Some(_) if !is_exact => {
                let task = &look.sections[0].name;
                let message = format!("positions_topic of {task} has no effect: exactly_once = false");
                let warning = look.place("positions_topic").problem(message, "write exactly_once = true, or remove it");
                self.warnings.push(warning);
            }
            _ => {}
        }
    }

    fn look_etcd(&self) -> Look<'a> {
        Look { keys: ETCD, sections: [&self.written.etcd; 2] }
    }

    pub fn etcd(&mut self) -> Option<etcd::Settings> {
        if !self.written.etcd.is_written() {
            return None;
        }
        let look = self.look_etcd();
        self.demand(&look, "[etcd]", false);
        let file = |key: &str| look.given(key).map(PathBuf::from);
        let settings = etcd::Settings {
            endpoints: texts(look.items("endpoints")),
            user: look.text("user").into(),
            password: look.text("password").into(),
            tls_ca: file("tls_ca"),
            tls_cert: file("tls_cert"),
            tls_key: file("tls_key"),
            key: look.text("collect_key").into(),
        };
        for (one, other) in [("tls_cert", "tls_key"), ("tls_key", "tls_cert")] {
            if look.given(one).is_some() && look.given(other).is_none() {
                let message = format!("[etcd] has {one} and no {other}");
                self.problems.push(look.place(one).problem(message, format!("write {other} = \"conf/etcd.pem\"")));
            }
        }
        if let Err(error) = Etcd::new(settings.clone()) {
            let keys = ["tls_ca", "tls_cert", "tls_key"];
            let key = keys.into_iter().find(|key| error.is_of(Path::new(look.text(key)))).unwrap_or("endpoints");
            self.problems.push(look.place(key).problem(format!("{key}: {error}"), "name a PEM file"));
        }
        let takers: Vec<Look<'_>> =
            self.written.collect.iter().map(|section| self::look(self.written, section)).collect();
        let mut takers = takers.iter().filter(|look| look.flag("from_etcd"));
        if takers.next().is_none() {
            let help = "write from_etcd = true below [collect.NAME]";
            self.warnings.push(look.sections[0].place.problem("[etcd] has no effect: no task takes its list", help));
        }
        for second in takers {
            let message = "from_etcd = true in two tasks: every line would be sent twice";
            self.problems.push(second.place("from_etcd").problem(message, "leave it in one of them"));
        }
        Some(settings)
    }

    /// Orders name a task, whichever road it is on.
    pub fn names_once(&mut self) {
        for section in &self.written.collect {
            if self.written.deliver.iter().any(|deliver| deliver.name == section.name) {
                let message = format!("[collect.{0}] and [deliver.{0}] have one name", section.name);
                self.problems.push(section.place.problem(message, "give this one another name"));
            }
        }
    }
}

fn look<'a>(written: &'a Written, section: &'a Section) -> Look<'a> {
    Look { keys: COLLECT, sections: [section, &written.system] }
}

/// What each collect task follows, but for what etcd names.
pub fn load_lists(written: &Written, config: &Config, problems: &mut Vec<Problem>) -> BTreeMap<String, Vec<Entry>> {
    let mut lists = BTreeMap::new();
    for (task, section) in config.collect.iter().zip(&written.collect) {
        let own = task.paths.iter().map(|path| Entry {
            path: path.clone(),
            topic: task.topic.clone().unwrap_or_default(),
            key: task.key.clone(),
        });
        let mut list: Vec<Entry> = own.collect();
        if let Some(file) = &task.entries {
            let place = look(written, section).place("entries");
            let read = read_list(file, place).map_err(|problem| vec![problem]);
            match read.and_then(|bytes| task.list(file, &bytes)) {
                Ok(more) => list.extend(more),
                Err(found) => problems.extend(found),
            }
        }
        lists.insert(task.name.clone(), list);
    }
    lists
}

impl Collect {
    /// The entries of a list, with this task's topic and key where they name none. `file` is named in problems.
    ///
    /// # Errors
    /// Every problem of the list.
    pub fn list(&self, file: &Path, bytes: &[u8]) -> Result<Vec<Entry>, Vec<Problem>> {
        let mut list = entries::parse(file, bytes, self.topic.as_deref())?;
        list.iter_mut().filter(|entry| entry.key.is_none()).for_each(|entry| entry.key.clone_from(&self.key));
        Ok(list)
    }
}

fn read_list(file: &Path, place: &Place) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(LIST_MAX_BYTES + 1).read_to_end(&mut bytes));
    let refuse = |what: String, help: &str| Err(place.problem(format!("entries = {file:?} {what}"), help));
    match read {
        Err(error) => {
            refuse(format!("cannot be read: {error}"), "write the list file that is meant; [] is an empty list")
        }
        Ok(_) if bytes.len() as u64 > LIST_MAX_BYTES => refuse("is larger than 16 MiB".into(), "is this the list?"),
        Ok(_) => Ok(bytes),
    }
}
