//! `logmill start|stop|restart|reload|status` through the binary: what each says and returns, who lives afterwards, and
//! what becomes of the records meanwhile.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Order, Part, Record, SOON, Seen, Site, eventually, expecting, kafka, left_out, signal, written};
use logmill::ring::layout::Work;
use logmill::ring::set::MapSet;
use logmill::sys::file::boot_id;

/// Ten deaths in a row, with the pauses between them: 51 s.
const GIVEN_UP: Duration = Duration::from_secs(120);
/// Nobody listens there.
const NO_BROKER: &str = "127.0.0.1:1";

/// The daemon of a site; what is left of it is killed when dropped.
struct Daemon<'s> {
    site: &'s Site,
}

/// What a command printed and returned.
struct Said {
    code: i32,
    words: String,
}

impl Said {
    #[track_caller]
    fn is(&self, code: i32, words: &str) {
        assert!(self.code == code && self.words.contains(words), "not {code} {words:?}: {} {}", self.code, self.words);
    }
}

impl<'s> Daemon<'s> {
    fn of(site: &'s Site) -> Daemon<'s> {
        site.write_config();
        Daemon { site }
    }

    /// `logmill WORDS`, in the directory of the site, whose configuration is named by a relative path.
    fn say(&self, words: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logmill"));
        command.args(words).current_dir(self.site.path("")).stdin(Stdio::null());
        let output = command.output().expect("logmill");
        let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Said { code: output.status.code().expect("an exit code"), words }
    }

    fn call(&self, verb: &str) -> Said {
        self.say(&[verb, "--config", "logmill.toml"])
    }

    fn pid_file(&self) -> PathBuf {
        self.site.path("data/logmill.pid")
    }

    fn pid(&self) -> i32 {
        let text = std::fs::read_to_string(self.pid_file()).expect("a pid file");
        text.lines().next().and_then(|line| line.parse().ok()).expect("a number")
    }

    /// The worker that is a child of the supervisor, once there is one other than `not`.
    fn worker(&self, not: i32) -> i32 {
        let pid = self.pid();
        eventually("a worker", SOON, || children(pid).into_iter().find(|child| *child != not))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.site.path("data/daemon.log")).unwrap_or_default()
    }

    fn await_log(&self, words: &str, count: usize) {
        eventually(&format!("{count} times {words:?} in the log"), GIVEN_UP, || {
            (self.log().matches(words).count() >= count).then_some(())
        });
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let text = std::fs::read_to_string(self.pid_file()).unwrap_or_default();
        // Only where it is the daemon's: a test may have put another's number there.
        if self.call("status").words.contains("is running: process")
            && let Some(pid) = text.lines().next().and_then(|line| line.parse().ok())
        {
            children(pid).into_iter().for_each(|child| _ = signal(child, libc::SIGCONT));
            signal(pid, libc::SIGKILL);
        }
        if std::thread::panicking() {
            eprintln!("daemon.log:\n{}", self.log());
        }
    }
}

fn children(pid: i32) -> Vec<i32> {
    let all = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    all.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

fn is_gone(pid: i32) -> bool {
    // A zombie is whoever's child it was; here nobody's that waits.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z'))
}

/// A site with one task and no broker.
fn alone() -> Site {
    let mut site = Site::new(NO_BROKER);
    site.task("game", &["nothing"], "readers = 1\nring_size = \"8MiB\"");
    site
}

#[test]
fn it_delivers_behind_the_terminals_back_and_stops_in_order() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("daemon", 2);
    let made = written(1, 2, 4_000);
    kafka().produce(&topic, made[..2_000].iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.task("game", &[&topic], "");
    let daemon = Daemon::of(&site);
    daemon.call("status").is(3, "logmill is not running");
    daemon.call("start").is(0, "logmill is started: process");
    let pid = daemon.pid();
    daemon.call("status").is(0, &format!("logmill is running: process {pid}"));
    daemon.call("start").is(1, &format!("error: logmill runs already: process {pid}"));

    // In a session that it does not lead, without a terminal, a child of nobody who started it; the directory stays.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the daemon");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    let (parent, session, terminal) = (fields[1], fields[3], fields[4]);
    assert_ne!(parent, std::process::id().to_string());
    assert!(session != pid.to_string() && session != own_session(), "session {session}");
    assert_eq!(terminal, "0");
    let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).expect("its directory");
    assert_eq!(directory, site.path("").canonicalize().expect("the site"));

    site.await_lines("game", 2_000, SOON);
    kafka().produce(&topic, made[2_000..].iter().map(Record::from));
    site.await_lines("game", 4_000, SOON);
    daemon.call("stop").is(0, "logmill is stopped");
    assert!(is_gone(pid) && !daemon.pid_file().exists());
    daemon.call("status").is(3, "logmill is not running");
    daemon.call("stop").is(0, "logmill is not running");
    assert_eq!(kafka().committed(&site.group("game"), &topic).iter().flatten().sum::<i64>(), 4_000);
    expecting(&made).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
}

fn own_session() -> String {
    // SAFETY: getsid has no preconditions.
    unsafe { libc::getsid(0) }.to_string()
}

#[test]
fn a_worker_that_is_killed_is_started_again_and_nothing_is_lost_or_doubled() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("again", 2);
    let made = written(2, 2, 60_000);
    let mut site = Site::new(kafka().bootstrap());
    // The log is the worker's; the supervisor says of its death in there what it could not say itself.
    site.process("log_file = \"a.log\"\nreport_to = \"cat >> reports\"").task(
        "game",
        &[&topic],
        "ring_size = \"8MiB\"",
    );
    let daemon = Daemon::of(&site);
    daemon.call("start").is(0, "started");
    let (pid, mut worker) = (daemon.pid(), daemon.worker(0));
    for (nth, part) in (1..).zip(made.chunks(20_000)) {
        let lines = site.lines("game");
        kafka().produce(&topic, part.iter().map(Record::from));
        site.awaited("lines come", SOON, || (site.lines("game") > lines).then_some(()));
        assert!(signal(worker, libc::SIGKILL));
        worker = daemon.worker(worker);
        daemon.await_log(&format!("the worker died, {nth} of at most 10 times in a row: signal: 9 (SIGKILL)"), 1);
    }
    assert_eq!(daemon.pid(), pid);
    site.await_lines("game", made.len(), SOON);
    // Three deaths in one minute are one alert.
    let read = |name: &str| std::fs::read_to_string(site.path(name)).unwrap_or_default();
    let deaths = |name: &str| read(name).lines().filter(|line| line.contains("\"code\":\"S08_DIED\"")).count();
    eventually("the death is told", GIVEN_UP, || (deaths("a.log") + deaths("reports") == 2).then_some(()));
    assert!(read("reports").contains("signal: 9 (SIGKILL)"), "{}", read("reports"));
    daemon.call("stop").is(0, "stopped");
    expecting(&made).check(&Seen::at_rest(&site.out("game")), Order::PerPartition).assert_exact();
}

/// The worker cannot be made to die over a record for good: the maps are left as one leaves them that did, while the
/// broker is away, so that the next one dies before it comes to the record.
#[test]
fn a_deadly_record_is_parked_after_three_deaths_and_the_flow_goes_on() {
    if left_out(&[Part::Kafka]) {
        return;
    }
    let topic = kafka().create_topic("deadly", 1);
    let made = written(3, 1, 3);
    kafka().produce(&topic, made[..1].iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    site.process("[cluster.away]\nbrokers = \"127.0.0.1:1\"").task("game", &[&topic], "readers = 1");
    assert!(site.start(&["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
    kafka().produce(&topic, made[1..].iter().map(Record::from));
    site.clear_tasks().task("game", &[&topic], "readers = 1\ncluster = \"away\"");
    site.write_config();
    let mut away = Site::config(&site);
    away.set_extension("away");
    std::fs::copy(site.config(), &away).expect("a copy");
    site.clear_tasks().task("game", &[&topic], "readers = 1");

    let daemon = Daemon::of(&site);
    std::fs::copy(&away, site.config()).expect("no broker yet");
    daemon.call("start").is(0, "started");
    let mut worker = daemon.worker(0);
    for death in 1..=3 {
        let states = std::fs::read_dir(site.path("data")).expect("data").map(|item| item.expect("an entry").path());
        let state = states.into_iter().find(|path| path.to_string_lossy().contains("/state.")).expect("a state");
        let maps = MapSet::open(&state, boot_id().expect("a boot id")).expect("maps");
        maps.rings[0].begin_work(Work { topic: 0, partition: 0, offset: 1 });
        if death == 3 {
            site.write_config();
        }
        assert!(signal(worker, libc::SIGKILL));
        worker = daemon.worker(worker);
        daemon.await_log("the process died over", death);
    }
    let parked = site.awaited("a parked record", SOON, || Some(site.failures()).filter(|f| !f.is_empty()));
    site.await_lines("game", 2, SOON);
    daemon.call("stop").is(0, "stopped");
    assert!(parked.len() == 1 && parked[0].code == "E21_CRASH" && parked[0].offset == 1, "{parked:?}");
    assert_eq!(site.lines("game"), 2);
}

#[test]
fn a_start_that_fails_says_why_and_leaves_nothing_running() {
    let site = alone();
    let daemon = Daemon::of(&site);
    std::fs::create_dir_all(site.out("game")).expect("a directory");
    std::fs::write(site.path("out/game/.logmill-id"), "garbage").expect("a file");
    let said = daemon.call("start");
    said.is(1, "error: task game: ");
    said.is(1, "holds no directory id");
    assert_eq!(said.words.lines().count(), 1, "{}", said.words);
    daemon.call("status").is(3, "not running");
    assert!(!daemon.pid_file().exists());
    std::fs::remove_file(site.path("out/game/.logmill-id")).expect("removed");

    // What the front itself can see is not left to a worker.
    std::fs::write(site.config(), "[deliver.game]\n").expect("a configuration");
    daemon.call("start").is(1, "[deliver.game] has no topics");
    site.write_config();
    daemon.call("start").is(0, "started");
    // A configuration that was broken meanwhile keeps nobody from stopping.
    std::fs::write(site.config(), "[process]\ndata_dir = \"data\"\n[deliver.game]\n").expect("a configuration");
    daemon.call("restart").is(1, "[deliver.game] has no topics");
    daemon.call("status").is(0, "is running");
    daemon.call("stop").is(0, "is stopped");
    std::fs::write(site.config(), "[process").expect("no configuration");
    daemon.call("status").is(4, "logmill.toml");
    site.write_config();
}

#[test]
fn restart_is_a_stop_and_a_start() {
    let site = alone();
    let daemon = Daemon::of(&site);
    daemon.call("restart").is(0, "started");
    let pid = daemon.pid();
    daemon.call("restart").is(0, "started");
    assert!(daemon.pid() != pid && is_gone(pid));
    daemon.call("stop").is(0, "stopped");
}

#[test]
fn reload_reaches_the_worker() {
    let site = alone();
    let daemon = Daemon::of(&site);
    daemon.call("reload").is(1, "error: logmill is not running");
    daemon.call("start").is(0, "started");
    let worker = daemon.worker(0);
    daemon.call("reload").is(0, "reads its configuration again");
    // Nothing has changed, so it was not the change of a file that it heard of.
    daemon.await_log("generation 1: ", 1);
    assert_eq!(daemon.worker(0), worker);
    daemon.call("stop").is(0, "stopped");
}

#[test]
fn of_many_starts_at_once_one_wins() {
    let site = alone();
    let daemon = Daemon::of(&site);
    let codes: Vec<i32> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| daemon.call("start").code)).collect();
        starts.into_iter().map(|start| start.join().expect("a start")).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    daemon.call("stop").is(0, "stopped");
}

#[test]
fn a_pid_file_that_nobody_holds_is_stale_whatever_its_number() {
    let site = alone();
    let daemon = Daemon::of(&site);
    let mut other =
        Command::new("sleep").arg("300").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sleep");
    for number in [other.id().to_string(), "4194304".into(), "1".into(), "no number".into(), String::new()] {
        std::fs::create_dir_all(site.path("data")).expect("data");
        std::fs::write(daemon.pid_file(), format!("{number}\n")).expect("a pid file");
        daemon.call("status").is(1, "logmill is dead");
        daemon.call("reload").is(1, "not running");
        daemon.call("stop").is(0, "not running; the pid file of one that died is removed");
        assert!(!daemon.pid_file().exists());
    }
    std::fs::write(daemon.pid_file(), format!("{}\n", other.id())).expect("a pid file");
    daemon.call("start").is(0, "started");
    assert_ne!(daemon.pid(), other.id() as i32);
    daemon.call("stop").is(0, "stopped");
    assert!(other.try_wait().expect("its state").is_none(), "the other program was left alone");
    other.kill().and_then(|()| other.wait()).expect("its end");
}

#[test]
fn a_supervisor_that_is_killed_takes_its_worker_with_it_in_order() {
    let site = alone();
    let daemon = Daemon::of(&site);
    daemon.call("start").is(0, "started");
    let worker = daemon.worker(0);
    assert!(signal(daemon.pid(), libc::SIGKILL));
    eventually("the worker is gone", SOON, || is_gone(worker).then_some(()));
    daemon.await_log("told to stop", 1);
    daemon.call("status").is(1, "it was killed, and left its pid file");
    daemon.call("start").is(0, "started");
    daemon.call("stop").is(0, "stopped");
}

#[test]
fn a_worker_that_is_told_to_stop_by_somebody_else_ends_the_daemon() {
    let site = alone();
    let daemon = Daemon::of(&site);
    daemon.call("start").is(0, "started");
    let pid = daemon.pid();
    assert!(signal(daemon.worker(0), libc::SIGTERM));
    eventually("the supervisor is gone", SOON, || is_gone(pid).then_some(()));
    daemon.call("status").is(3, "not running");

    daemon.call("start").is(0, "started");
    let mut command = Command::new(env!("CARGO_BIN_EXE_millctl"));
    let said = command.args(["--config", "logmill.toml", "stop"]).current_dir(site.path("")).output().expect("millctl");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    eventually("the daemon is gone", SOON, || (daemon.call("status").code == 3).then_some(()));
}

#[test]
fn one_that_dies_again_and_again_is_given_up_loudly() {
    let site = alone();
    let daemon = Daemon::of(&site);
    daemon.call("start").is(0, "started");
    let (pid, worker) = (daemon.pid(), daemon.worker(0));
    // From now on none can start.
    std::fs::write(site.path("out/game/.logmill-id"), "garbage").expect("a file");
    assert!(signal(worker, libc::SIGKILL));
    eventually("the supervisor has given up", GIVEN_UP, || is_gone(pid).then_some(()));
    let log = daemon.log();
    assert_eq!(log.matches("the worker is process").count(), 10, "{log}");
    assert!(log.contains("ERROR") && log.contains("given up: it died 10 times in a row"), "{log}");
    let said = daemon.call("status");
    said.is(1, "given up: it died 10 times in a row");
    said.is(1, "holds no directory id");
    std::fs::remove_file(site.path("out/game/.logmill-id")).expect("removed");
    daemon.call("start").is(0, "started");
    daemon.call("stop").is(0, "stopped");
}

#[test]
fn a_worker_that_stands_still_is_ended_after_stop_timeout() {
    let mut site = alone();
    site.process("stop_timeout = \"3s\"");
    let daemon = Daemon::of(&site);
    daemon.call("start").is(0, "started");
    let worker = daemon.worker(0);
    assert!(signal(worker, libc::SIGSTOP));
    daemon.call("stop").is(1, "error: logmill has ended, not in order: signal: 9 (SIGKILL)");
    assert!(is_gone(worker));
    daemon.call("status").is(3, "not running");
    daemon.call("start").is(0, "started");
    daemon.call("stop").is(0, "stopped");
}

#[test]
fn a_run_in_the_foreground_is_seen_and_left_alone() {
    let site = alone();
    let mut run = site.start(&[]);
    let daemon = Daemon { site: &site };
    site.await_log("started:", SOON);
    daemon.call("status").is(0, &format!("logmill is running in the foreground: logmill, process {}", run.pid()));
    daemon.call("start").is(1, "is in use by logmill, process");
    daemon.call("stop").is(1, "is no daemon");
    assert!(run.ended().is_none());
    run.term();
    assert!(run.wait(SOON).success(), "{}", site.log());
    daemon.call("status").is(3, "not running");
}

#[test]
fn the_forms_of_the_service_this_one_replaces_work() {
    let site = alone();
    let daemon = Daemon::of(&site);
    std::fs::create_dir(site.path("conf")).expect("a directory");
    std::fs::copy(site.config(), site.path("conf/logmill.toml")).expect("the default configuration");
    std::fs::write(site.path("conf/logmill.prod.toml"), "[process]\nstop_timeout = \"20s\"\n").expect("an overlay");
    daemon
        .say(&["--start", "prod", "other"])
        .is(1, "there is no task \"other\" in the configuration; its tasks are game");
    daemon.say(&["--start", "nowhere", "game"]).is(1, "overlay");
    daemon.say(&["--start"]).is(2, "--start takes two words, ENV and TASK");
    daemon.say(&["--start", "prod", "game"]).is(0, "started");
    let pid = daemon.pid();
    daemon.say(&["--start", "prod", "game"]).is(0, &format!("running: process {pid}"));
    daemon.say(&["--update", "prod", "game"]).is(0, "reads its configuration again");
    daemon.say(&["--restart", "prod", "game"]).is(0, "started");
    assert_ne!(daemon.pid(), pid);
    daemon.say(&["--stop", "prod", "game"]).is(0, "stopped");

    let mut command = Command::new(env!("CARGO_BIN_EXE_logmill"));
    command.args(["start_not_daemon", "prod", "game"]).current_dir(site.path("")).stderr(Stdio::null());
    let mut run = command.stdout(Stdio::null()).spawn().expect("logmill");
    let seen = format!("in the foreground: logmill, process {}", run.id());
    eventually("it runs", SOON, || daemon.call("status").words.contains(&seen).then_some(()));
    eventually("its end", SOON, || {
        signal(run.id() as i32, libc::SIGTERM);
        run.try_wait().expect("its state")
    });
}

#[test]
fn a_service_manager_hears_of_start_life_and_stop() {
    let site = alone();
    let path = site.path("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(SOON)).expect("a time-out");
    let hear = || {
        let mut words = [0; 1024];
        let length = socket.recv(&mut words).expect("a datagram");
        String::from_utf8_lossy(&words[..length]).into_owned()
    };
    let wrapper = ["env".to_string(), format!("NOTIFY_SOCKET={}", path.display()), "WATCHDOG_USEC=200000".into()];
    let mut run = site.start_under(&wrapper.each_ref().map(String::as_str), &[]);
    assert_eq!(hear(), "READY=1");
    assert!(site.log().contains("started:"), "{}", site.log());
    (0..5).for_each(|_| assert_eq!(hear(), "WATCHDOG=1"));
    run.term();
    let last = std::iter::repeat_with(hear).find(|words| words != "WATCHDOG=1").expect("endless");
    assert_eq!(last, "STOPPING=1\nEXTEND_TIMEOUT_USEC=35000000");
    assert!(run.wait(SOON).success(), "{}", site.log());
}
