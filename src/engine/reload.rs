//! What a reload is to do: two configurations in, steps out. What a change costs stands in the table of keys.

use super::summary::plural;
use crate::conf::Effective;
use crate::conf::Loaded;
use crate::conf::schema::Change;

/// One change, with the name of its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Add(String),
    Remove(String),
    /// It is drained and begins anew, for the sake of these keys.
    Restart(String, Vec<&'static str>),
    /// These keys change while it runs.
    Live(String, Vec<&'static str>),
    /// A key of the process keeps its value until a restart.
    Refuse(&'static str),
}

/// Stands for the projects' files among the keys.
const SETTINGS: &str = "the settings files";
/// Stands for a list file's content among the keys.
const LIST: &str = "the list file";

/// What leads from `old`, which is in force, to `new`. A task that is the same in both needs no step.
pub fn steps(old: &Loaded, new: &Loaded) -> Vec<Step> {
    let process = old.config.process.effective.changed(&new.config.process.effective);
    let mut steps: Vec<Step> = process.into_iter().map(|(name, _)| Step::Refuse(name)).collect();
    let find = |all: &'_ Loaded, name: &str| all.config.deliver.iter().find(|task| task.name == name).cloned();
    let gone = old.config.deliver.iter().filter(|task| find(new, &task.name).is_none());
    steps.extend(gone.map(|task| Step::Remove(task.name.clone())));
    for task in &new.config.deliver {
        let name = task.name.clone();
        match find(old, &name) {
            None => steps.push(Step::Add(name)),
            Some(before) => {
                let other = (old.programs.get(&name) != new.programs.get(&name)).then_some(SETTINGS);
                steps.extend(change(name, &before.effective, &task.effective, other));
            }
        }
    }
    steps.extend(collect_steps(old, new));
    steps
}

/// The same for the other road.
fn collect_steps(old: &Loaded, new: &Loaded) -> Vec<Step> {
    let find = |all: &'_ Loaded, name: &str| all.config.collect.iter().find(|task| task.name == name).cloned();
    let gone = old.config.collect.iter().filter(|task| find(new, &task.name).is_none());
    let mut steps: Vec<Step> = gone.map(|task| Step::Remove(task.name.clone())).collect();
    for task in &new.config.collect {
        let name = task.name.clone();
        match find(old, &name) {
            None => steps.push(Step::Add(name)),
            Some(before) => {
                // What its keys name stands among the keys.
                let same_keys = before.paths == task.paths && before.topic == task.topic && before.key == task.key;
                let other = same_keys && old.lists.get(&name) != new.lists.get(&name);
                steps.extend(change(name, &before.effective, &task.effective, other.then_some(LIST)));
            }
        }
    }
    steps
}

/// It cannot go on as it runs.
pub fn restarts(old: &Effective, new: &Effective) -> bool {
    old.changed(new).iter().any(|(_, change)| *change != Change::Live)
}

fn change(name: String, old: &Effective, new: &Effective, files: Option<&'static str>) -> Option<Step> {
    let mut keys: Vec<&'static str> = old.changed(new).into_iter().map(|(name, _)| name).collect();
    keys.extend(files);
    match keys.is_empty() {
        true => None,
        false if restarts(old, new) => Some(Step::Restart(name, keys)),
        false => Some(Step::Live(name, keys)),
    }
}

/// `generation 7: +1 task, ~2 changed, -0, 1 key needs a restart`
pub fn line(generation: u64, steps: &[Step]) -> String {
    let count = |is: fn(&Step) -> bool| steps.iter().filter(|step| is(step)).count();
    let added = count(|step| matches!(step, Step::Add(_)));
    let changed = count(|step| matches!(step, Step::Restart(..) | Step::Live(..)));
    let removed = count(|step| matches!(step, Step::Remove(_)));
    let mut line = format!("generation {generation}: +{}, ~{changed} changed, -{removed}", plural(added, "task"));
    match count(|step| matches!(step, Step::Refuse(_))) {
        0 => {}
        1 => line += ", 1 key needs a restart",
        more => line += &format!(", {more} keys need a restart"),
    }
    line
}

impl Step {
    /// For the log and for who asked.
    pub fn told(&self) -> String {
        match self {
            Step::Add(task) => format!("{task} is new"),
            Step::Remove(task) => format!("{task} drains and ends"),
            Step::Restart(task, keys) => format!("{task} drains and begins anew: {}", keys.join(", ")),
            Step::Live(task, keys) => format!("{task} changes as it runs: {}", keys.join(", ")),
            Step::Refuse(key) => format!("[process] {key} keeps its value until the program is restarted"),
        }
    }
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;
