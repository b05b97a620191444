//! The real program in a directory of its own: configuration, settings, output, log.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::records::write_settings;
use super::{SOON, eventually, signal};

/// A place on disk for one logmill: configuration, settings of project 24, data, output, log. Removed when dropped.
///
/// ```text
/// let mut site = Site::new(kafka.bootstrap());
/// site.task("game", &[&topic], "readers = 1");
/// let mut run = site.start(&["--exit-at-end"]);
/// assert!(run.wait(Duration::from_secs(30)).success(), "{}", site.log());
/// ```
pub struct Site {
    root: TempDir,
    bootstrap: String,
    process: String,
    tasks: String,
}

impl Site {
    pub fn new(bootstrap: &str) -> Site {
        let root = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        write_settings(&root.path().join("settings"));
        Site { root, bootstrap: bootstrap.to_owned(), process: String::new(), tasks: String::new() }
    }

    /// Adds lines of TOML to `[process]`.
    pub fn process(&mut self, lines: &str) -> &mut Site {
        self.process += &format!("{lines}\n");
        self
    }

    /// Forgets the lines of `[process]`.
    pub fn clear_process(&mut self) -> &mut Site {
        self.process.clear();
        self
    }

    /// Adds `[deliver.NAME]` from these topics into `out/NAME`, as group NAME of this site; `lines` is TOML for the
    /// other keys (project 24 in +08:00 from the earliest record unless they say otherwise; `LOGMILL_TEST_FETCH` may
    /// hold a client for the key `fetch`, so that every test can run with each).
    pub fn task(&mut self, name: &str, topics: &[&str], lines: &str) -> &mut Site {
        let defaults = [
            ("topics", format!("{topics:?}")),
            ("group_id", format!("{:?}", self.group(name))),
            ("app_ids", "[24]".to_owned()),
            ("settings_dir", format!("{:?}", self.path("settings"))),
            ("dir", format!("{:?}", self.out(name))),
            ("start", "\"earliest\"".to_owned()),
            ("timezone", "\"+08:00\"".to_owned()),
        ];
        let given = |key: &str| lines.lines().any(|line| line.split('=').next().is_some_and(|k| k.trim() == key));
        self.tasks += &format!("\n[deliver.{name}]\n{lines}\n");
        let fetch = std::env::var("LOGMILL_TEST_FETCH").map(|client| ("fetch", format!("{client:?}")));
        for (key, value) in defaults.into_iter().chain(fetch).filter(|(key, _)| !given(key)) {
            self.tasks += &format!("{key} = {value}\n");
        }
        self
    }

    /// Adds `[collect.NAME]`, or any other section of this heading, with these lines of TOML.
    pub fn section(&mut self, heading: &str, lines: &str) -> &mut Site {
        self.tasks += &format!("\n[{heading}]\n{lines}\n");
        self
    }

    /// Forgets the tasks, to write others for the same place.
    pub fn clear_tasks(&mut self) -> &mut Site {
        self.tasks.clear();
        self
    }

    /// Writes the configuration and starts `logmill run` with these further arguments.
    pub fn start(&self, arguments: &[&str]) -> Running {
        self.start_under(&[], arguments)
    }

    /// The same below another program, as in `["strace", "-f", "-o", "trace"]`; signals then go to that one.
    pub fn start_under(&self, wrapper: &[&str], arguments: &[&str]) -> Running {
        self.write_config();
        let program = OsStr::new(env!("CARGO_BIN_EXE_logmill"));
        let mut words = wrapper.iter().map(OsStr::new).chain([program]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).arg("run").arg("--config").arg(self.config()).args(arguments);
        let log = OpenOptions::new().append(true).create(true).open(self.path("logmill.log")).expect("log");
        let said = File::create(self.path("summary")).expect("summary");
        command.current_dir(self.root.path()).stdin(Stdio::null()).stdout(said).stderr(log);
        Running { child: command.process_group(0).spawn().expect("logmill starts"), log: self.path("logmill.log") }
    }

    /// Writes the configuration as it stands now (`start` does so too).
    pub fn write_config(&self) {
        std::fs::write(self.config(), self.config_text()).expect("configuration");
    }

    pub fn config_text(&self) -> String {
        let (data, bootstrap) = (self.path("data"), &self.bootstrap);
        format!(
            "[process]\ndata_dir = {data:?}\n{}\n[cluster.default]\nbrokers = {bootstrap:?}\n{}",
            self.process, self.tasks
        )
    }

    pub fn config(&self) -> PathBuf {
        self.path("logmill.toml")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The output directory of a task.
    pub fn out(&self, task: &str) -> PathBuf {
        self.path("out").join(task)
    }

    /// The consumer group of a task; no other site has the same.
    pub fn group(&self, task: &str) -> String {
        let site = self.root.path().file_name().map(|name| name.to_string_lossy().replace('.', ""));
        format!("{task}_{}", site.expect("a directory name"))
    }

    /// All that the program has written to stderr, over all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("logmill.log")).unwrap_or_default()
    }
}

/// One run of the program; killed when dropped.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Any run of the program, in a process group of its own; what it says is appended to `log`.
    pub fn start(mut command: Command, log: PathBuf) -> Running {
        let said = OpenOptions::new().append(true).create(true).open(&log).expect("log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        Running { child: command.process_group(0).spawn().expect("the program starts"), log }
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// SIGTERM: drain, checkpoint, end.
    pub fn term(&self) {
        self.signal(libc::SIGTERM);
    }

    pub fn signal(&self, number: i32) {
        assert!(signal(self.pid(), number), "logmill is gone; its log:\n{}", self.tail());
    }

    /// SIGKILL to it and all below it; returns when it is gone. Harmless when it has ended already.
    pub fn kill9(&mut self) {
        if self.ended().is_none() {
            signal(-self.pid(), libc::SIGKILL);
            self.child.wait().expect("the child's end");
            let empty = || (!signal(-self.pid(), 0)).then_some(());
            eventually("every process of the killed group is gone", SOON, empty);
        }
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child's state")
    }

    /// Waits for its end; panics with its log when it does not come in time.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let start = std::time::Instant::now();
        while start.elapsed() < deadline {
            if let Some(status) = self.ended() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("logmill has not ended within {deadline:?}; its log:\n{}", self.tail());
    }

    fn tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let from = log.lines().count().saturating_sub(30);
        log.lines().skip(from).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill9();
    }
}
