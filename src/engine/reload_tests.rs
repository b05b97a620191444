//! Every key by its row in the table: what a change of it does, alone and among others.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::restore::writer_live;
use super::super::wiring::reader_settings;
use super::*;
use crate::conf;
use crate::conf::schema::{CLUSTER, Key, PROCESS, TASK};
use crate::reader;

/// Two values of every key; `*` stands for the task's name, `@` for the directory.
const VALUES: [(&str, [&str; 2]); 36] = [
    ("topics", ["[\"a*\"]", "[\"b*\"]"]),
    ("group_id", ["\"g\"", "\"h\""]),
    ("cluster", ["\"one\"", "\"two\""]),
    ("assignment", ["\"static\"", "\"static\""]),
    ("start", ["\"earliest\"", "\"latest\""]),
    ("fetch", ["\"auto\"", "\"native\""]),
    ("transform", ["\"te\"", "\"none\""]),
    ("app_ids", ["[24]", "[24, 25]"]),
    ("settings_dir", ["\"@\"", "\"@/other\""]),
    ("timezone", ["\"+08:00\"", "\"-03:30\""]),
    ("value_codec", ["\"none\"", "\"snappy\""]),
    ("max_record_bytes", ["\"1MiB\"", "\"2MiB\""]),
    ("max_line_bytes", ["\"1MiB\"", "\"64KiB\""]),
    ("unknown_log_name", ["\"entry\"", "\"drop\""]),
    ("bad_property", ["\"drop\"", "\"fail\""]),
    ("long_string", ["\"keep\"", "\"truncate\""]),
    ("add_uuid", ["false", "true"]),
    ("time_fallback", ["\"kafka\"", "\"now\""]),
    ("sink", ["\"file\"", "\"file\""]),
    ("dir", ["\"@/out/*\"", "\"@/out/other.*\""]),
    ("file_name", ["\"{lane}_{seq}\"", "\"x{lane}_{seq}\""]),
    ("rotate", ["\"day\"", "\"hour\""]),
    ("rotate_size", ["0", "\"1GiB\""]),
    ("min_free", ["0", "\"1GiB\""]),
    ("lanes", ["3", "2"]),
    ("deliver_by", ["\"role_id\"", "\"account\""]),
    ("readers", ["2", "1"]),
    ("writers", ["1", "2"]),
    ("channel_capacity", ["1024", "1023"]),
    ("ring_size", ["\"16MiB\"", "\"32MiB\""]),
    ("checkpoint_interval", ["\"10s\"", "\"9s\""]),
    ("poll_timeout", ["\"100ms\"", "\"99ms\""]),
    ("rate_limit", ["0", "7"]),
    ("failures_max", ["1_000_000", "999_999"]),
    // Of the cluster.
    ("brokers", ["\"localhost:1\"", "\"localhost:2\""]),
    ("librdkafka", ["{ \"fetch.min.bytes\" = \"1\" }", "{ \"fetch.min.bytes\" = \"2\" }"]),
];

/// By place in [`VALUES`], which of the two values is written.
type Task = [bool; VALUES.len()];

fn row(name: &str) -> &'static Key {
    TASK.iter().chain(CLUSTER).find(|key| key.name == name).unwrap()
}

/// Tasks by name, in a directory with settings.
fn load(dir: &Path, process: &str, tasks: &[(&str, Task)]) -> Loaded {
    std::fs::create_dir_all(dir.join("other")).unwrap();
    // Other settings at the other place.
    std::fs::write(dir.join("other/mthinkingdata:metadata.24.json"), "[{\"log_name\":\"l\"}]").unwrap();
    let mut text = format!("[process]\ndata_dir = \"{}/data\"\n{process}\n", dir.display());
    for (name, chosen) in tasks {
        let value = |key: &str| {
            let at = VALUES.iter().position(|(name, _)| *name == key).unwrap();
            let value = VALUES[at].1[usize::from(chosen[at])];
            value.replace('*', name).replace('@', &dir.display().to_string())
        };
        text += &format!("[deliver.{name}]\n");
        for key in TASK.iter().filter(|key| key.is_available()) {
            let cluster = format!("\"{}_{name}\"", value("cluster").trim_matches('"'));
            let written = if key.name == "cluster" { cluster } else { value(key.name) };
            text += &format!("{} = {written}\n", key.name);
        }
        for cluster in ["one", "two"] {
            let (brokers, pairs) = (value("brokers"), value("librdkafka"));
            text += &format!("[cluster.{cluster}_{name}]\nbrokers = {brokers}\nlibrdkafka = {pairs}\n");
        }
    }
    let path = dir.join("logmill.toml");
    std::fs::write(&path, &text).unwrap();
    conf::load(&path, None).unwrap_or_else(|problems| panic!("{}\n{text}", conf::explain(&problems)))
}

/// What must become of a task, by the table alone.
fn wanted(name: &str, old: &Task, new: &Task) -> Option<Step> {
    let differs = |at: &usize| old[*at] != new[*at] && VALUES[*at].1[0] != VALUES[*at].1[1];
    let changed: Vec<&Key> = (0..VALUES.len()).filter(differs).map(|at| row(VALUES[at].0)).collect();
    let mut keys: Vec<&'static str> = changed.iter().map(|key| key.name).collect();
    keys.sort_unstable();
    if changed.iter().any(|key| key.change == Change::Task) {
        return Some(Step::Restart(name.into(), keys));
    }
    (!keys.is_empty()).then(|| Step::Live(name.into(), keys))
}

/// Without the settings files, which no key names.
fn plain(step: Step) -> Step {
    let keys = |keys: Vec<&'static str>| keys.into_iter().filter(|key| *key != SETTINGS).collect();
    match step {
        Step::Restart(name, all) => Step::Restart(name, keys(all)),
        Step::Live(name, all) => Step::Live(name, keys(all)),
        other => other,
    }
}

/// The same whatever the task says.
fn nothing() -> reader::Live {
    let options = crate::transform::Options::default();
    reader::Live { program: Arc::default(), options, poll_timeout: Default::default(), rate_limit: 0 }
}

#[test]
fn every_key_has_two_values_here_and_none_of_a_task_needs_another_process() {
    let mut known: Vec<_> = TASK.iter().chain(CLUSTER).filter(|key| key.is_available()).map(|key| key.name).collect();
    let mut here: Vec<_> = VALUES.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    here.sort_unstable();
    assert_eq!(known, here);
    assert!(here.iter().all(|name| row(name).change != Change::Process));
    assert!(PROCESS.iter().all(|key| key.change == Change::Process), "the engine applies no such key");
}

/// Each key alone: its step, and that a live one reaches the running threads by what is live in them, and only so.
#[test]
fn a_key_costs_what_its_row_says() {
    let dir = tempfile::tempdir().unwrap();
    let before = [false; VALUES.len()];
    for at in 0..VALUES.len() {
        let mut after = before;
        after[at] = true;
        let old = load(dir.path(), "", &[("t", before)]);
        let new = load(dir.path(), "", &[("t", after)]);
        let name = VALUES[at].0;
        let steps: Vec<Step> = steps(&old, &new).into_iter().map(plain).collect();
        assert_eq!(steps, Vec::from_iter(wanted("t", &before, &after)), "{name}");
        let parts = [&old, &new].map(|loaded| {
            let task = &loaded.config.deliver[0];
            let program = loaded.programs.get("t").cloned().unwrap_or_default();
            let reader = reader_settings(task, 0, &task.topics, &program).unwrap();
            let live = format!("{:?} {:?}", reader.live, writer_live(task));
            let others = (task.checkpoint_interval, task.failures_max);
            let fixed = reader::Settings { live: nothing(), ..reader };
            (format!("{live} {others:?}"), format!("{fixed:?}"))
        });
        if row(name).change == Change::Live {
            assert_ne!(parts[0].0, parts[1].0, "{name} has no effect");
            assert_eq!(parts[0].1, parts[1].1, "{name} is fixed in a running reader");
        }
    }
}

#[test]
fn rotate_restarts_a_task_whose_file_names_follow_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = |rotate: &str| {
        let text = format!(
            "[process]\ndata_dir = \"{0}/data\"\n[cluster.default]\nbrokers = \"localhost:1\"\n[deliver.t]\n\
             topics = [\"a\"]\ngroup_id = \"g\"\ntransform = \"none\"\ndir = \"{0}/out\"\nrotate = \"{rotate}\"\n",
            dir.path().display()
        );
        let path = dir.path().join("logmill.toml");
        std::fs::write(&path, text).unwrap();
        conf::load(&path, None).map_err(|problems| conf::explain(&problems)).unwrap()
    };
    let (day, hour, none) = (config("day"), config("hour"), config("none"));
    assert_eq!(steps(&day, &hour), [Step::Restart("t".into(), vec!["file_name", "rotate"])]);
    assert_eq!(steps(&day, &none), [Step::Live("t".into(), vec!["rotate"])]);
}

#[test]
fn keys_of_the_process_are_refused_by_name_and_the_line_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let task = [false; VALUES.len()];
    let mut other = task;
    other[VALUES.iter().position(|(name, _)| *name == "rate_limit").unwrap()] = true;
    let old = load(dir.path(), "", &[("a", task), ("b", task), ("c", task)]);
    let new = load(dir.path(), "stop_timeout = \"9s\"", &[("d", task), ("b", other), ("a", task)]);
    let found = steps(&old, &new);
    let rate_limit = Step::Live("b".into(), vec!["rate_limit"]);
    let expected = [Step::Refuse("stop_timeout"), Step::Remove("c".into()), Step::Add("d".into()), rate_limit];
    assert_eq!(found, expected);
    assert_eq!(line(7, &found), "generation 7: +1 task, ~1 changed, -1, 1 key needs a restart");
    let twice = [found, vec![Step::Refuse("cores"), Step::Add("e".into())]].concat();
    assert_eq!(line(8, &twice), "generation 8: +2 tasks, ~1 changed, -1, 2 keys need a restart");
    assert_eq!(line(9, &[]), "generation 9: +0 tasks, ~0 changed, -0");
}

#[test]
fn a_collect_task_begins_anew_for_no_change_of_what_it_follows() {
    let dir = tempfile::tempdir().unwrap();
    let (path, list) = (dir.path().join("logmill.toml"), dir.path().join("list.json"));
    let load = |keys: &str, entries: &str| {
        std::fs::write(&list, entries).unwrap();
        let text = format!("[cluster.default]\nbrokers = \"h\"\n[collect.web]\nentries = {list:?}\n{keys}\n");
        std::fs::write(&path, text).unwrap();
        conf::load(&path, None).map_err(|problems| conf::explain(&problems)).unwrap()
    };
    let old = load("topic = \"t\"", "[{\"path\": \"/a\"}]");
    let web = || "web".to_string();
    let of = |keys: &str, entries: &str| steps(&old, &load(keys, entries));
    assert_eq!(of("topic = \"t\"", "[{\"path\": \"/a\"} /* the same */]"), []);
    assert_eq!(of("topic = \"t\"", "[]"), [Step::Live(web(), vec![LIST])]);
    assert_eq!(of("topic = \"u\"", "[{\"path\": \"/a\"}]"), [Step::Live(web(), vec!["topic"])]);
    let both = of("topic = \"t\"\npaths = [\"/b\"]\ncompression = \"none\"", "[]");
    assert_eq!(both, [Step::Restart(web(), vec!["compression", "paths"])]);
    let none = load("topic = \"t\"", "[]");
    let other = "[cluster.default]\nbrokers = \"h\"\n[collect.other]\npaths = [\"/a\"]\ntopic = \"t\"\n";
    std::fs::write(&path, other).unwrap();
    let other = conf::load(&path, None).map_err(|problems| conf::explain(&problems)).unwrap();
    assert_eq!(steps(&none, &other), [Step::Remove(web()), Step::Add("other".into())]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn steps_lead_from_any_configuration_to_any_other(
        old in proptest::collection::btree_map("[a-e]", any::<Task>(), 1..4),
        new in proptest::collection::btree_map("[a-e]", any::<Task>(), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let list = |all: &std::collections::BTreeMap<String, Task>| {
            all.iter().map(|(name, task)| (name.clone(), *task)).collect::<Vec<_>>()
        };
        let text = |all: &[(String, Task)]| {
            load(dir.path(), "", &all.iter().map(|(name, task)| (name.as_str(), *task)).collect::<Vec<_>>())
        };
        let (before, after) = (text(&list(&old)), text(&list(&new)));
        let mut expected: Vec<Step> =
            old.keys().filter(|name| !new.contains_key(*name)).map(|name| Step::Remove(name.clone())).collect();
        expected.extend(new.iter().filter_map(|(name, task)| match old.get(name) {
            None => Some(Step::Add(name.clone())),
            Some(known) => wanted(name, known, task),
        }));
        let found: Vec<Step> = steps(&before, &after).into_iter().map(plain).collect();
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(steps(&after, &after), []);
        // Whoever has no step is the same in every part.
        for task in &before.config.deliver {
            let touched = found.iter().any(|step| step.told().starts_with(&format!("{} ", task.name)));
            let same = after.config.deliver.iter().find(|other| other.name == task.name);
            prop_assert!(touched || same == Some(task));
        }
    }
}
