//! Collect tasks of the configuration: beside deliver tasks in one process, with lists that change, and ruled file by
//! file.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use crate::support::{EtcdServer, Order, Part, Record, Running, SOON, Seen, Site, expecting, kafka, left_out, written};
use serde_json::Value;

/// A value that differs from its default, for a task that is to start anew.
const OTHER: &str = "close_delay = \"9s\"";

/// A site with logs and a topic for their lines.
struct Place {
    site: Site,
    topic: String,
}

impl Place {
    fn new() -> Place {
        let mut site = Site::new(kafka().bootstrap());
        site.process("metrics_listen = \"127.0.0.1:0\"");
        std::fs::create_dir(site.path("logs")).expect("a directory");
        Place { site, topic: kafka().create_topic("collected", 1) }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.site.path("logs").join(name)
    }

    fn write(&self, name: &str, lines: &str) {
        let file = OpenOptions::new().append(true).create(true).open(self.log(name));
        file.expect("a file").write_all(lines.as_bytes()).expect("written");
    }

    /// The one task, from now on; `lines` beside a topic and the beginning.
    fn task(&mut self, lines: &str) -> &mut Place {
        let common = format!("topic = {:?}\nstart_from = \"beginning\"\n{lines}", self.topic);
        self.site.clear_tasks().section("collect.web", &common);
        self
    }

    /// It follows these logs.
    fn paths(&mut self, pattern: &str, lines: &str) -> &mut Place {
        let paths = format!("paths = [{:?}]\n{lines}", self.log(pattern));
        self.task(&paths)
    }

    /// Writes the list file anew, as editors do.
    fn list(&self, text: &str) {
        std::fs::write(self.site.path("new"), text).expect("a list");
        std::fs::rename(self.site.path("new"), self.site.path("list.json")).expect("renamed");
    }

    fn entry(&self, name: &str) -> String {
        format!("{{\"path\": {:?}}}", self.log(name))
    }

    fn start(&self) -> Running {
        let run = self.site.start(&[]);
        self.site.await_socket(SOON);
        run
    }

    /// Until the topic holds these lines and nothing else, each file's in order.
    fn await_topic(&self, wanted: &[&str]) {
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        self.site.awaited(&format!("{wanted:?} in the topic"), SOON, || (self.sorted() == wanted).then_some(()));
    }

    fn sorted(&self) -> Vec<String> {
        let values = kafka().values(&self.topic).concat();
        let mut lines: Vec<String> = values.into_iter().map(|v| String::from_utf8(v).expect("text")).collect();
        lines.sort_unstable();
        lines
    }

    fn files(&self) -> Vec<Value> {
        self.site.millctl(&["files", "--json"]).json().as_array().expect("a list").clone()
    }

    /// Until exactly these are followed.
    fn await_files(&self, wanted: &[&str]) {
        let mut paths: Vec<_> = wanted.iter().map(|name| self.log(name).display().to_string()).collect();
        paths.sort_unstable();
        let found = || {
            let mut found: Vec<_> =
                self.files().iter().map(|f| f["path"].as_str().expect("a path").to_owned()).collect();
            found.sort_unstable();
            found
        };
        self.site.awaited(&format!("{paths:?} are followed"), SOON, || (found() == paths).then_some(()));
    }

    fn file(&self, name: &str) -> Value {
        let path = self.log(name).display().to_string();
        let found = self.files().into_iter().find(|file| file["path"] == path.as_str());
        found.unwrap_or_else(|| panic!("{path} is not followed"))
    }

    fn status(&self) -> Value {
        self.site.millctl(&["status", "--json"]).json()["collect"][0].clone()
    }
}

#[test]
fn both_roads_run_in_one_process_to_their_ends() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut place = Place::new();
    let source = kafka().create_topic("source", 2);
    let made = written(11, 2, 500);
    kafka().produce(&source, made.iter().map(Record::from));
    place.paths("*.log", "").site.task("game", &[&source], "");
    place.write("a.log", "1\n2\nno newline");
    place.write("b.log", "3\n");
    let mut run = place.site.start(&["--exit-at-end"]);
    assert!(run.wait(SOON).success(), "{}", place.site.log());
    place.await_topic(&["1", "2", "3", "no newline"]);
    expecting(&made).check(&Seen::at_rest(&place.site.out("game")), Order::PerPartition).assert_exact();
    let summary = std::fs::read_to_string(place.site.path("summary")).expect("the summary");
    assert!(summary.contains("web: sent 4 lines, 16 bytes in "), "{summary}");
    assert!(summary.contains(", all confirmed\n") && summary.contains("game: consumed 500 = "), "{summary}");
}

#[test]
fn a_restart_goes_on_at_the_place_and_what_was_kept_is_shown_without_the_program() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut place = Place::new();
    place.paths("*.log", "");
    place.write("a.log", "1\n");
    let mut run = place.start();
    place.await_topic(&["1"]);
    run.term();
    assert!(run.wait(SOON).success(), "{}", place.site.log());
    place.write("a.log", "2\n");
    let kept = place.file("a.log");
    assert_eq!((&kept["position"], &kept["size"], &kept["state"]), (&2.into(), &4.into(), &"stored".into()), "{kept}");
    let mut run = place.start();
    place.await_topic(&["1", "2"]);
    // Once more, with a key that the task has to start anew for.
    place.paths("*.log", OTHER).site.write_config();
    place.site.await_log("generation 2: +0 tasks, ~1 changed, -0\n", SOON);
    place.site.await_log("web drains and begins anew: close_delay\n", SOON);
    place.write("a.log", "3\n");
    place.await_topic(&["1", "2", "3"]);
    run.kill9();
}

#[test]
fn a_list_file_changes_while_it_is_followed() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut place = Place::new();
    let list = format!("entries = {:?}", place.site.path("list.json"));
    place.task(&list);
    let (a, b) = (place.entry("a.log"), place.entry("b.log"));
    place.list(&format!("[{a}]"));
    place.write("a.log", "a1\n");
    place.write("b.log", "b1\n");
    let _run = place.start();
    place.await_topic(&["a1"]);

    place.list(&format!("[{a}, // both\n{b}]"));
    place.await_files(&["a.log", "b.log"]);
    place.write("a.log", "a2\n");
    place.await_topic(&["a1", "a2", "b1"]);

    place.list(&format!("[{a},\n {{\"path\": 7}}]"));
    place.site.await_log("list.json:2:11\n", SOON);
    assert!(place.site.log().contains("nothing is applied, generation 2 stays"), "{}", place.site.log());
    place.write("b.log", "b2\n");
    place.await_topic(&["a1", "a2", "b1", "b2"]);
    assert_eq!(place.status()["restarts"], 0);

    place.list("[]");
    place.await_files(&[]);
    place.write("a.log", "a3\n");
    place.list(&format!("[{a}]"));
    place.await_topic(&["a1", "a2", "a3", "b1", "b2"]);
}

#[test]
fn a_list_in_etcd_changes_while_it_is_followed() {
    if left_out(&[Part::Kafka, Part::Etcd]) {
        return;
    }
    let (mut place, mut etcd) = (Place::new(), EtcdServer::start());
    let endpoints = format!("endpoints = [{:?}]\ncollect_key = \"/logmill/%s/collect\"", etcd.endpoint);
    place.task("from_etcd = true").site.section("etcd", &endpoints);
    let (a, b) = (place.entry("a.log"), place.entry("b.log"));
    place.write("a.log", "a1\n");
    place.write("b.log", "b1\n");
    let _run = place.start();
    let key = place.site.awaited("the key", SOON, || {
        let log = place.site.log();
        Some(log.split_once("follows the list under ")?.1.split_once(" in etcd")?.0.to_owned())
    });
    assert!(key.starts_with("/logmill/") && key.ends_with("/collect") && !key.contains('%'), "{key}");
    // There is no such key: nothing is followed.
    place.site.awaited("the task", SOON, || (place.status()["state"] == "running").then_some(()));
    assert_eq!(place.files(), [] as [Value; 0]);

    etcd.put(&key, &format!("[{a}]"));
    place.await_topic(&["a1"]);
    etcd.put(&key, &format!("[{a}, {b}]"));
    place.await_topic(&["a1", "b1"]);

    etcd.put(&key, "[7]");
    let alert = place.site.await_alert("S12_LIST_DOWN", "web", "ERROR");
    let why = alert["msg"].as_str().expect("a text");
    assert!(why.contains(&format!("etcd:{key}:1:2: a number where an entry")), "{why}");
    place.write("b.log", "b2\n");
    place.await_topic(&["a1", "b1", "b2"]);
    etcd.put(&key, &format!("[{a}]"));
    place.await_files(&["a.log"]);
    assert_eq!(place.status()["list"], Value::Null);

    etcd.kill();
    let away = || place.status()["list"].as_str().filter(|why| why.contains(&etcd.endpoint)).map(drop);
    place.site.awaited("etcd away in the status", SOON, away);
    place.write("a.log", "a2\n");
    place.await_topic(&["a1", "a2", "b1", "b2"]);
    etcd.run();
    place.site.awaited("etcd back in the status", SOON, || place.status()["list"].is_null().then_some(()));
    etcd.delete(&key);
    place.await_files(&[]);
}

#[test]
fn a_reload_that_names_more_files_does_not_touch_the_others() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut place = Place::new();
    place.paths("a.log", "");
    place.write("a.log", "a1\n");
    place.write("b.log", "b1\n");
    let run = place.start();
    place.await_topic(&["a1"]);
    let before = place.status();
    place.paths("{a,b}.log", "").site.write_config();
    run.signal(libc::SIGHUP);
    place.site.await_log("web changes as it runs: paths", SOON);
    place.write("a.log", "a2\n");
    place.await_topic(&["a1", "a2", "b1"]);
    // The same station: it counts on.
    assert_eq!((place.status()["lines"].as_u64(), &place.status()["restarts"]), (Some(3), &before["restarts"]));
    place.site.clear_tasks().section("collect.other", &format!("paths = [\"/nowhere\"]\ntopic = {:?}", place.topic));
    place.site.write_config();
    place.site.await_log("web drains and ends\n", SOON);
    place.site.awaited("the other task", SOON, || (place.status()["name"] == "other").then_some(()));
}

#[test]
fn files_are_shown_paused_and_moved_one_by_one() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let mut place = Place::new();
    place.paths("*", "");
    place.write("a.log", "a1\n");
    place.write("b.log", "b1\n");
    std::fs::create_dir(place.site.path("elsewhere")).expect("a directory");
    std::fs::write(place.site.path("elsewhere/x"), "x\n").expect("a file");
    std::os::unix::fs::symlink(place.site.path("elsewhere/x"), place.log("x")).expect("a link");
    let _run = place.start();
    place.await_topic(&["a1", "b1"]);
    let link = place.file("x");
    assert!(link["state"] == "refused" && link["reason"].as_str().is_some_and(|why| !why.is_empty()), "{link}");
    let table = place.site.millctl(&["files"]).line().to_owned();
    let heads = table.lines().nth(1).expect("heads").replace(' ', "");
    assert_eq!((heads.as_str(), table.lines().count()), ("|Task|File|Topic|Position|Size|Behind|State|Reason|", 7));

    let a = place.log("a.log").display().to_string();
    assert!(
        place.site.millctl(&["pause", "web", &a]).line().ends_with("is paused: it is not read until it is resumed")
    );
    place.write("a.log", "a2\n");
    place.write("b.log", "b2\n");
    place.await_topic(&["a1", "b1", "b2"]);
    assert_eq!((&place.file("a.log")["state"], &place.file("a.log")["position"]), (&"paused".into(), &3.into()));
    assert!(place.site.millctl(&["resume", "web", &a]).line().ends_with("is read"));
    place.await_topic(&["a1", "a2", "b1", "b2"]);
    assert!(place.site.millctl(&["seek", "web", &a, "0"]).line().ends_with("goes on at byte 0"));
    place.await_topic(&["a1", "a1", "a2", "a2", "b1", "b2"]);
    for (words, why) in [
        (["seek", "web", &a, "99"], "the file has 6 bytes"),
        (["seek", "web", "/nowhere", "0"], "no file that is followed"),
        (["seek", "game", &a, "0"], "no task game collects"),
    ] {
        let said = place.site.millctl(&words);
        assert!(said.code == 1 && said.err.contains(why), "{said:?}");
    }

    place.site.millctl(&["pause", "web"]).line();
    assert_eq!(place.status()["state"], "paused");
    place.write("b.log", "b3\n");
    // It lies there when the file is looked at, and stays there.
    let unread = || (place.file("b.log")["behind"] == 3).then_some(());
    place.site.awaited("an unread line", SOON, unread);
    place.site.millctl(&["resume", "web"]).line();
    place.await_topic(&["a1", "a1", "a2", "a2", "b1", "b2", "b3"]);
    let lines = "logmill_collect_lines_total{task=\"web\"}";
    place
        .site
        .awaited("all lines in the numbers", SOON, || (place.site.web().number(lines) == Some(7.0)).then_some(()));
}

#[test]
fn two_tasks_share_a_topic_of_places_and_a_second_instance_fences_the_first() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let places = kafka().create_topic_with("places", 1, &[("cleanup.policy", "compact")]);
    let task = |place: &mut Place| {
        let exact = format!("exactly_once = true\npositions_topic = {places:?}");
        let other =
            format!("paths = [{:?}]\ntopic = {:?}\nstart_from = \"beginning\"", place.log("b.log"), place.topic);
        place.paths("a.log", &exact).site.section("collect.other", &format!("{other}\n{exact}"));
    };
    let mut place = Place::new();
    task(&mut place);
    place.write("a.log", "a1\n");
    place.write("b.log", "b1\n");
    let _run = place.start();
    place.await_topic(&["a1", "b1"]);
    let mut second = Place::new();
    task(&mut second);
    second.write("a.log", "x\n");
    let mut run = second.start();
    second.await_topic(&["x"]);
    // The other task hears of the second instance with its next line.
    place.write("a.log", "a2\n");
    let states = || {
        let status = place.site.millctl(&["status", "--json"]).json();
        let tasks = status["collect"].as_array().expect("a list").clone();
        tasks.iter().map(|task| format!("{} {}", task["name"], task["state"]).replace('"', "")).collect::<Vec<_>>()
    };
    let fenced = ["other running", "web fenced"];
    place.site.awaited("the fence", SOON, || (states() == fenced).then_some(()));
    place.site.await_alert("S11_COLLECT_DOWN", "web", "ERROR");
    // What is kept is shown without the program, from the topic.
    run.term();
    assert!(run.wait(SOON).success(), "{}", second.site.log());
    second.write("a.log", "y\n");
    let kept = second.file("a.log");
    assert_eq!((&kept["position"], &kept["size"], &kept["state"]), (&2.into(), &4.into(), &"stored".into()), "{kept}");
}
