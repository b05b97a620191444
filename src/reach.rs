//! `check --online`: asks the brokers whether what the configuration names is there, a line for each answer.

use std::io::{self, Write};

use crate::conf::config::{Config, Deliver};
use crate::reader::kafka::Catalog;

/// Writes to `out`. Takes up to 5 s for each cluster that does not answer.
///
/// # Errors
/// `out` cannot be written. `false`: a cluster does not answer, or a topic is not there.
pub fn ask(config: &Config, out: &mut impl Write) -> io::Result<bool> {
    let mut is_whole = true;
    let mut asked: Vec<&str> = Vec::new();
    for task in &config.deliver {
        let name = task.cluster.name.as_str();
        if !asked.contains(&name) {
            asked.push(name);
            let tasks: Vec<&Deliver> = config.deliver.iter().filter(|t| t.cluster.name == name).collect();
            is_whole &= ask_cluster(&tasks, out)?;
        }
    }
    Ok(is_whole)
}

/// The tasks of one cluster.
fn ask_cluster(tasks: &[&Deliver], out: &mut impl Write) -> io::Result<bool> {
    let cluster = &tasks[0].cluster;
    let catalog = match Catalog::open(cluster, &tasks[0].group_id) {
        Ok(catalog) => catalog,
        Err(error) => {
            writeln!(out, "cluster {}: {error}", cluster.name)?;
            return Ok(false);
        }
    };
    let (mut answers, mut is_whole) = (false, true);
    for (task, topic) in tasks.iter().flat_map(|task| task.topics.iter().map(|topic| (&task.name, topic))) {
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
