//! The program as it is laid out on a machine by `tools/install`: what lies where with which mode, the init script below
//! `service` and `update-rc.d` with LSB's exit codes, the systemd unit.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::support::{
    self, Order, Part, Record, SOON, Seen, Site, eventually, expecting, kafka, left_out, signal, written,
};
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn text(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

/// Where cargo put the programs.
fn built() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_logmill")).parent().expect("a directory").to_path_buf()
}

fn install(destdir: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(format!("{ROOT}/tools/install"));
    command.arg("--from").arg(built()).args(arguments).env("DESTDIR", destdir).env_remove("PREFIX");
    let output = command.output().expect("tools/install");
    assert!(output.status.success(), "{}", words(&output));
    words(&output)
}

#[test]
fn an_installation_below_destdir_has_its_places_and_modes_and_keeps_what_was_edited() {
    let root = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let at = |path: &str| root.path().join(path);
    install(root.path(), &["--prefix", "/opt/mill", "--user", "mill", "--init", "sysv"]);
    for (path, mode) in [
        ("opt/mill/bin/logmill", 0o755),
        ("opt/mill/bin/millctl", 0o755),
        ("opt/mill/share/doc/logmill/README.md", 0o644),
        ("opt/mill/share/man/man1/logmill-start.1", 0o644),
        ("opt/mill/share/man/man1/millctl.1", 0o644),
        ("opt/mill/share/bash-completion/completions/millctl", 0o644),
        ("etc/logmill", 0o750),
        ("etc/logmill/logmill.toml", 0o640),
        ("etc/logmill/settings", 0o750),
        ("etc/logmill/settings/mthinkingdata:metadata.24.json", 0o640),
        ("etc/default/logmill", 0o640),
        ("etc/init.d/logmill", 0o755),
        ("var/lib/logmill", 0o750),
        ("var/log/logmill", 0o750),
    ] {
        let found = std::fs::metadata(at(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(found.permissions().mode() & 0o7777, mode, "{path}");
    }
    let script = text(at("etc/init.d/logmill"));
    assert!(script.contains("\nBIN=/opt/mill/bin/logmill\n") && script.contains("\nRUN_AS=mill\n"), "{script}");

    // What it says about places is true: the program itself takes it.
    let check = |config: &str| {
        let mut command = Command::new(at("opt/mill/bin/logmill"));
        command.args(["check", "--config"]).arg(at(config)).output().expect("logmill")
    };
    let config = text(at("etc/logmill/logmill.toml"));
    let places =
        ["data_dir = \"/var/lib/logmill/data\"", "dir = \"/var/lib/logmill/out/24\"", "\"/run/logmill/", "\"/var/log/"];
    places.iter().for_each(|place| assert!(config.contains(place), "no {place} in\n{config}"));
    let here = config.replace("\"/etc/logmill/settings\"", &format!("{:?}", at("etc/logmill/settings")));
    std::fs::write(at("here.toml"), here).expect("a configuration");
    let said = check("here.toml");
    assert!(said.status.success() && said.stderr.is_empty(), "{}", words(&said));

    // Once more: what was edited stays, and the newer one lies beside it; an older script goes.
    std::fs::write(at("etc/logmill/logmill.toml"), "# mine\n").expect("an edit");
    std::fs::write(at("etc/init.d/logmill"), "# old\n").expect("an old script");
    let said = install(root.path(), &["--prefix", "/opt/mill", "--user", "mill", "--init", "sysv"]);
    assert!(
        said.contains("/etc/logmill/logmill.toml is kept; the newer one is /etc/logmill/logmill.toml.new"),
        "{said}"
    );
    assert_eq!(said.matches("is kept").count(), 1, "{said}");
    assert_eq!(text(at("etc/logmill/logmill.toml")), "# mine\n");
    assert_eq!((text(at("etc/logmill/logmill.toml.new")), text(at("etc/init.d/logmill"))), (config, script));

    std::fs::write(at("var/lib/logmill/line"), "kept\n").expect("data");
    let said = install(root.path(), &["--prefix", "/opt/mill", "--uninstall"]);
    assert!(said.contains("Left: /etc/logmill"), "{said}");
    let gone = [
        "opt/mill/bin/logmill",
        "opt/mill/bin/millctl",
        "opt/mill/share/man/man1/millctl.1",
        "opt/mill/share/doc/logmill",
        "etc/init.d/logmill",
    ];
    gone.iter().for_each(|path| assert!(!at(path).exists(), "{path}"));
    assert_eq!(
        (text(at("var/lib/logmill/line")), text(at("etc/logmill/logmill.toml"))),
        ("kept\n".into(), "# mine\n".into())
    );
}

#[test]
fn wrong_words_for_the_installer_are_refused() {
    for (arguments, said) in [
        (&["--prefix"][..], "tools/install [--prefix DIR]"),
        (&["--init", "launchd"], "--init launchd: sysv, systemd or none"),
        (&["--prefix", "opt"], "--prefix opt is no absolute path"),
        (&["--user", "a b"], "--user a b is no name for a user"),
        (&["--from", "/nowhere"], "/nowhere/logmill is not there"),
    ] {
        let root = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let mut command = Command::new(format!("{ROOT}/tools/install"));
        let output = command.args(arguments).env("DESTDIR", root.path()).output().expect("tools/install");
        assert!(!output.status.success() && words(&output).contains(said), "{arguments:?}: {}", words(&output));
        assert_eq!(std::fs::read_dir(root.path()).expect("the directory").count(), 0, "{arguments:?}");
    }
}

#[test]
fn the_scripts_pass_shellcheck() {
    if left_out(&[Part::Shellcheck]) {
        return;
    }
    let mut command = Command::new("shellcheck");
    let output = command.current_dir(ROOT).args(["conf/init.d/logmill", "tools/install"]).output().expect("shellcheck");
    assert!(output.status.success(), "{}", words(&output));
}

#[test]
fn the_unit_is_sound_and_hardened() {
    if left_out(&[Part::Systemd]) {
        return;
    }
    let root = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    install(root.path(), &["--init", "systemd"]);
    // Where the program really lies, for `verify` looks at it.
    let unit = root.path().join("logmill.service");
    let installed = text(root.path().join("etc/systemd/system/logmill.service"));
    let program = built().join("logmill");
    std::fs::write(&unit, installed.replace("/usr/local/bin/logmill", program.to_str().expect("a path")))
        .expect("a unit");
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&unit).output().expect("systemd-analyze");
        assert!(output.status.success(), "{}", words(&output));
        words(&output)
    };
    assert_eq!(analyze(&["verify", "--man=no"]), "");
    // 0 is perfect, 10 wide open, what most services get 9.6; in tenths.
    analyze(&["security", "--offline=true", "--threshold=15"]);
}

/// All system calls of a set, those of the sets in it too.
fn system_calls(set: &str) -> BTreeSet<String> {
    let output = Command::new("systemd-analyze").args(["syscall-filter", set]).output().expect("systemd-analyze");
    assert!(output.status.success(), "{}", words(&output));
    let said = words(&output);
    let members = said.lines().skip(1).map(str::trim).filter(|word| !word.is_empty() && !word.starts_with('#'));
    members
        .flat_map(|word| if word.starts_with('@') { system_calls(word) } else { [word.to_string()].into() })
        .collect()
}

/// systemd does not run here: what the program asks of the kernel is held against what the unit allows.
#[test]
fn the_unit_allows_every_system_call_that_is_made() {
    if left_out(&[Part::Kafka, Part::Strace, Part::Systemd]) {
        return;
    }
    let unit = text(format!("{ROOT}/conf/logmill.service"));
    let mut filters = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter="));
    let (allowed, refused) = (filters.next().expect("what it allows"), filters.next().expect("what it refuses"));
    let mut calls = system_calls("@default");
    calls.extend(allowed.split(' ').flat_map(system_calls));
    let refused = refused.strip_prefix('~').expect("a refusal").split(' ').flat_map(system_calls);
    refused.for_each(|call| _ = calls.remove(&call));

    let topic = kafka().create_topic("calls", 2);
    let made = written(2, 2, 2_000);
    kafka().produce(&topic, made.iter().map(Record::from));
    let mut site = Site::new(kafka().bootstrap());
    // By default threads are pinned only where they are no more than the cores.
    site.process("cores = [0]");
    site.task("game", &[&topic], "rotate_size = \"64KiB\"\ncheckpoint_interval = \"100ms\"");
    let list = site.path("calls");
    let strace = ["strace", "-f", "-qq", "-c", "-o", list.to_str().expect("a path")];
    for _ in 0..2 {
        assert!(site.start_under(&strace, &["--exit-at-end"]).wait(SOON).success(), "{}", site.log());
        let text = text(&list);
        let rows = text.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()));
        let found: BTreeSet<_> =
            rows.filter_map(|row| row.split_whitespace().last()).filter(|n| *n != "total").collect();
        assert!(found.contains("fdatasync") && found.contains("sched_setaffinity"), "{found:?}");
        let more: Vec<_> = found.iter().filter(|call| !calls.contains(**call)).collect();
        assert!(more.is_empty(), "the unit refuses {more:?}");
    }
}

/// A machine of its own as far as this matters: the real one's /etc, empty /usr/local, /var/lib, /var/log and /run,
/// all of them seen and changed by nobody else.
struct Machine {
    /// Holds the mount namespace.
    child: Child,
}

impl Machine {
    fn new() -> Machine {
        let script = "set -e; mount --make-rprivate /; mount -t tmpfs none /mnt; cp -a /etc /mnt/etc; \
                      for d in usr/local var/lib var/log run; do mkdir -p /mnt/$d; mount --bind /mnt/$d /$d; done; \
                      mount --bind /mnt/etc /etc; echo ready; exec sleep 1000";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("unshare");
        let mut said = [0; 6];
        std::io::Read::read_exact(&mut child.stdout.take().expect("its words"), &mut said).expect("ready");
        Machine { child }
    }

    fn run(&self, command: &str) -> (i32, String) {
        let mut enter = Command::new("nsenter");
        enter.args(["--mount", "--target", &self.child.id().to_string(), "--", "sh", "-c", command]);
        let output = enter.current_dir("/").env_remove("PREFIX").env_remove("DESTDIR").output().expect("nsenter");
        (output.status.code().expect("an exit code"), words(&output))
    }

    #[track_caller]
    fn says(&self, command: &str, code: i32, expected: &str) -> String {
        let (found, said) = self.run(command);
        assert!(found == code && said.contains(expected), "{command}: not {code} {expected:?} but {found}: {said}");
        said
    }

    /// A path of that machine, as it is reached from here.
    fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.child.id()))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.run("service logmill stop");
        signal(self.child.id() as i32, libc::SIGKILL);
        self.child.wait().expect("its end");
    }
}

#[test]
fn the_init_script_works_with_service_and_update_rc_d() {
    if left_out(&[Part::Kafka, Part::Service]) {
        return;
    }
    let topic = kafka().create_topic("service", 2);
    let made = written(1, 2, 2_000);
    kafka().produce(&topic, made[..1_000].iter().map(Record::from));
    let machine = Machine::new();
    let from = built();
    machine.says(
        &format!("{ROOT}/tools/install --init sysv --from {}", from.display()),
        0,
        "update-rc.d logmill defaults",
    );
    machine.says("update-rc.d logmill defaults && ls /etc/rc2.d /etc/rc0.d", 0, "logmill");
    machine.says("test -L /etc/rc2.d/S*logmill && test -L /etc/rc0.d/K*logmill && test -L /etc/rc6.d/K*logmill", 0, "");

    // The installed configuration, with this broker, this topic, and the settings that its records are made for.
    let config = machine.path("/etc/logmill/logmill.toml");
    let edited = text(&config).replace("localhost:9092", kafka().bootstrap()).replace("mulog_clean_24", &topic);
    std::fs::write(&config, edited).expect("the configuration");
    support::write_settings(&machine.path("/etc/logmill/settings"));
    machine.says("chmod 644 /etc/logmill/settings/*", 0, "");

    machine.says("service logmill status", 3, "logmill is not running");
    machine.says("service logmill reload", 7, "it is not running");
    machine.says("service logmill try-restart", 0, "");
    machine.says("service logmill status", 3, "logmill is not running");
    machine.says("service logmill stop", 0, "logmill is not running");
    machine.says("service logmill start", 0, "logmill is started");
    let pid = |machine: &Machine| text(machine.path("/var/lib/logmill/data/logmill.pid")).trim().to_string();
    let first = pid(&machine);
    machine.says("service logmill status", 0, &format!("logmill is running: process {first}"));
    machine.says("service logmill start", 0, &format!("logmill is running: process {first}"));
    assert_eq!(pid(&machine), first, "a second start starts nothing");

    // It runs as its user, and so does what it makes.
    let user = text(machine.path("/etc/passwd"));
    let user = user.lines().find(|line| line.starts_with("logmill:")).expect("the user");
    let uid: u32 = user.split(':').nth(2).and_then(|uid| uid.parse().ok()).expect("its number");
    let out = machine.path("/var/lib/logmill/out/24");
    for path in [PathBuf::from(format!("/proc/{first}")), out.clone(), machine.path("/run/logmill")] {
        assert_eq!(std::fs::metadata(&path).expect("its owner").uid(), uid, "{}", path.display());
    }

    // The tool finds the door by the configuration that lies where it looks.
    machine.says("millctl lag", 0, "");
    machine.says("service logmill reload", 0, "reads its configuration again");
    machine.says("service logmill force-reload", 0, "reads its configuration again");
    assert_eq!(pid(&machine), first, "a reload restarts nothing");
    machine.says("service logmill restart", 0, "logmill is started");
    assert_ne!(pid(&machine), first);
    kafka().produce(&topic, made[1_000..].iter().map(Record::from));
    eventually("all lines", SOON, || (Seen::at_rest(&out).lines().count() == made.len()).then_some(()));
    machine.says("service logmill stop", 0, "logmill is stopped");
    machine.says("service logmill status", 3, "logmill is not running");
    expecting(&made).check(&Seen::at_rest(&out), Order::PerPartition).assert_exact();

    // A pid file whose process died, and whose number another program has now.
    let mut other =
        Command::new("sleep").arg("300").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sleep");
    let pid_file = "/var/lib/logmill/data/logmill.pid";
    machine.says(&format!("echo {} > {pid_file} && chown logmill: {pid_file}", other.id()), 0, "");
    machine.says("service logmill status", 1, "logmill is dead");
    machine.says("service logmill start", 0, "logmill is started");
    machine.says("service logmill stop", 0, "logmill is stopped");
    assert!(other.try_wait().expect("its state").is_none(), "the other program was left alone");
    other.kill().and_then(|()| other.wait()).expect("its end");

    machine.says("service logmill", 2, "usage");
    machine.says("mv /etc/logmill /etc/elsewhere; service logmill start", 6, "/etc/logmill/logmill.toml is not there");
    machine.says("service logmill status", 4, "logmill.toml");
    machine.says("echo CONFIG=/etc/elsewhere/logmill.toml >> /etc/default/logmill; service logmill status", 3, "");
    let tool = format!("{ROOT}/tools/install");
    machine.says(
        "setpriv --reuid nobody --clear-groups /etc/init.d/logmill start",
        4,
        "only root and logmill may do that",
    );
    machine.says(&format!("{tool} --uninstall"), 0, "logmill is removed");
    machine.says("ls /etc/rc?.d", 0, "");
    assert!(!machine.run("ls /etc/rc2.d /etc/init.d /usr/local/bin").1.contains("logmill"));
    assert!(out.exists());
}
