//! The ends of the logs in one cluster, asked until the deadline; what nobody answers stays open.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::Stored;
use crate::conf::config::Deliver;
use crate::ctl::protocol::Offset;
use crate::flow::cluster::{Cluster, Start};
use crate::reader::kafka::{Catalog, FetchError, Partition};

/// A task with its number and what is stored of it.
pub type Task = (usize, Deliver, Stored);

/// The rows of tasks, each with the number that came with it, and what went wrong.
pub fn of(cluster: &Cluster, tasks: Vec<Task>, deadline: Instant) -> (Vec<(usize, Vec<Offset>)>, Vec<String>) {
    let group_id = tasks.first().map_or("", |(_, task, _)| &task.group_id);
    let (catalog, trouble) = match Catalog::open(cluster, group_id) {
        Ok(catalog) => (Some(catalog), None),
        Err(e) => (None, Some(e.to_string())),
    };
    let mut brokers = Brokers { catalog, deadline, troubles: trouble.into_iter().collect() };
    let mut rows = Vec::new();
    for (number, task, stored) in &tasks {
        let of_topic = |topic: &String| brokers.rows(task, topic, stored);
        rows.push((*number, task.topics.iter().flat_map(of_topic).collect()));
    }
    if let Some(trouble) = brokers.troubles.last_mut().filter(|_| brokers.catalog.is_none()) {
        *trouble = format!("{trouble} (brokers {})", cluster.brokers);
    }
    (rows, brokers.troubles)
}

/// Who is asked, as long as they answer.
struct Brokers {
    catalog: Option<Catalog>,
    deadline: Instant,
    troubles: Vec<String>,
}

impl Brokers {
    /// After the first question without an answer no other one is asked.
    fn ask<T>(&mut self, question: impl FnOnce(&Catalog) -> Result<T, FetchError>) -> Option<T> {
        let catalog = self.catalog.as_mut()?;
        let left = self.deadline.saturating_duration_since(Instant::now());
        catalog.set_patience(left.max(Duration::from_millis(1)));
        match question(catalog) {
            Ok(answer) => Some(answer),
            Err(e) => {
                self.troubles.push(e.to_string());
                self.catalog = None;
                None
            }
        }
    }

    /// The answer for each of a topic's partitions; none of them without one.
    fn ask_of<T>(
        &mut self,
        places: Vec<(&str, i32)>,
        question: impl FnOnce(&Catalog, &[(&str, i32)]) -> Result<Vec<T>, FetchError>,
    ) -> HashMap<i32, T> {
        let answers = self.ask(|catalog| question(catalog, &places)).unwrap_or_default();
        places.iter().map(|(_, partition)| *partition).zip(answers).collect()
    }

    fn rows(&mut self, task: &Deliver, topic: &String, stored: &Stored) -> Vec<Offset> {
        let there = self.ask(|catalog| catalog.partitions(topic));
        if there.as_ref().is_some_and(Vec::is_empty) {
            self.troubles.push(format!("topic {topic} does not exist"));
        }
        let there = there.unwrap_or_default();
        for Partition { id, .. } in there.iter().filter(|partition| !partition.has_leader) {
            self.troubles.push(format!("{topic}/{id} has no leader: no broker tells of it"));
        }
        let next = |partition: i32| stored.next.get(&(topic.clone(), partition)).copied();
        let start = if stored.topics.contains(topic) { Start::Earliest } else { task.start };
        let led = there.iter().filter(|partition| partition.has_leader).map(|partition| (topic.as_str(), partition.id));
        let ends = self.ask_of(led.clone().collect(), Catalog::bounds);
        let new = led.filter(|(_, partition)| next(*partition).is_none()).collect();
        let begins = self.ask_of(new, |catalog, new| catalog.resolve(new, start));
        let known = stored.next.keys().filter(|(name, _)| name == topic).map(|(_, partition)| *partition);
        let partitions: BTreeSet<i32> = there.iter().map(|partition| partition.id).chain(known).collect();
        let row = |partition: i32| {
            let (low, high) = ends.get(&partition).copied().unzip();
            let current = next(partition).or_else(|| begins.get(&partition).copied());
            Offset { task: task.name.clone(), topic: topic.clone(), partition, low, high, current }
        };
        partitions.into_iter().map(row).collect()
    }
}
