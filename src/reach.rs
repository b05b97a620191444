//! `check --online`: asks the brokers whether what the configuration names is there, a line for each answer.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::conf::Loaded;
use crate::flow::cluster::Cluster;
use crate::reader::kafka::Catalog;

/// What a task needs of a cluster.
struct Needs<'c> {
    task: &'c str,
    cluster: &'c Cluster,
    group_id: &'c str,
    topics: Vec<&'c str>,
}

/// Writes to `out`. Takes up to 5 s for each cluster that does not answer.
///
/// # Errors
/// `out` cannot be written. `false`: a cluster does not answer, or a topic is not there.
pub fn ask(loaded: &Loaded, out: &mut impl Write) -> io::Result<bool> {
    let Loaded { config, lists, .. } = loaded;
    let deliver = config.deliver.iter().map(|task| Needs {
        task: &task.name,
        cluster: &task.cluster,
        group_id: &task.group_id,
        topics: task.topics.iter().map(String::as_str).collect(),
    });
    let collect = config.collect.iter().map(|task| {
        let listed = lists.get(&task.name).into_iter().flatten().map(|entry| entry.topic.as_str());
        let topics: BTreeSet<&str> = listed.chain(task.positions_topic.as_deref()).collect();
        Needs { task: &task.name, cluster: &task.cluster, group_id: "logmill", topics: topics.into_iter().collect() }
    });
    let all: Vec<Needs<'_>> = deliver.chain(collect).collect();
    let mut is_whole = true;
    let mut asked: Vec<&str> = Vec::new();
    for needs in &all {
        let name = needs.cluster.name.as_str();
        if !asked.contains(&name) {
            asked.push(name);
            let tasks: Vec<&Needs<'_>> = all.iter().filter(|t| t.cluster.name == name).collect();
            is_whole &= ask_cluster(&tasks, out)?;
        }
    }
    Ok(is_whole)
}

/// The tasks of one cluster.
fn ask_cluster(tasks: &[&Needs<'_>], out: &mut impl Write) -> io::Result<bool> {
    let cluster = tasks[0].cluster;
    let catalog = match Catalog::open(cluster, tasks[0].group_id) {
        Ok(catalog) => catalog,
        Err(error) => {
            writeln!(out, "cluster {}: {error}", cluster.name)?;
            return Ok(false);
        }
    };
    let (mut answers, mut is_whole) = (false, true);
    for (task, topic) in tasks.iter().flat_map(|t| t.topics.iter().map(|topic| (t.task, topic))) {
        let (told, is_there) = match catalog.partitions(topic) {
            Err(error) if error.is_silence() => {
                let what =
                    "no broker answers; is one running there, and do brokers and the security properties fit it?";
                writeln!(out, "cluster {} ({}): {what}", cluster.name, cluster.brokers)?;
                return Ok(false);
            }
            Err(error) => (error.to_string(), false),
            Ok(none) if none.is_empty() => {
                ("there is no such topic; make it, or write another name in topics".into(), false)
            }
            Ok(one) if one.len() == 1 => ("1 partition".into(), true),
            Ok(some) => (format!("{} partitions", some.len()), true),
        };
        if !answers {
            answers = true;
            writeln!(out, "cluster {} ({}): answers", cluster.name, cluster.brokers)?;
        }
        writeln!(out, "{task}: topic {topic}: {told}")?;
        is_whole &= is_there;
    }
    Ok(is_whole)
}
