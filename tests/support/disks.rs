//! Filesystems that can be taken away: ext4 in a file that loses what it has not synced, and a small tmpfs.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{SOON, eventually};

/// FS_IOC_SHUTDOWN, and its mode in which nothing more reaches the disk, not even the log.
const FS_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
static NO_LOG_FLUSH: u32 = 2;

/// ext4 in a file, mounted through a loop device until dropped.
pub struct LoopDisk {
    image: PathBuf,
    at: PathBuf,
}

impl LoopDisk {
    pub fn new(image: &Path, at: &Path, mib: u64) -> LoopDisk {
        std::fs::create_dir_all(at).expect("a mount point");
        File::create(image).and_then(|file| file.set_len(mib << 20)).expect("an image");
        let options = "lazy_itable_init=0,lazy_journal_init=0";
        command("mkfs.ext4", &["-q", "-F", "-E", options, text(image)]);
        let disk = LoopDisk { image: image.to_owned(), at: at.to_owned() };
        disk.mount();
        disk
    }

    fn mount(&self) {
        command("mount", &["-o", "loop", text(&self.image), text(&self.at)]);
    }

    /// The power goes: from now on nothing reaches the disk.
    pub fn lose_power(&self) {
        let root = File::open(&self.at).expect("the mount point");
        // SAFETY: an open descriptor, and a pointer to the integer that this ioctl reads.
        let done = unsafe { libc::ioctl(root.as_raw_fd(), FS_IOC_SHUTDOWN, &raw const NO_LOG_FLUSH) };
        assert_eq!(done, 0, "FS_IOC_SHUTDOWN: {}", std::io::Error::last_os_error());
    }

    /// The power is back: what was in memory only is gone. Nobody may have a file open.
    pub fn restore_power(&self) {
        self.unmount();
        self.mount();
    }

    fn unmount(&self) {
        let gone = || Command::new("umount").arg(&self.at).output().expect("umount").status.success().then_some(());
        eventually("the disk is unmounted", SOON, gone);
        // A namespace of somebody else's may hold it a little longer, and it would come back as it was.
        let device = || Command::new("losetup").arg("-j").arg(&self.image).output().expect("losetup").stdout;
        eventually("the disk is nobody's", SOON, || device().is_empty().then_some(()));
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.at).status().expect("umount");
    }
}

/// A small filesystem in memory, gone when dropped.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `options` as mount(8) takes them: `size=1m`.
    pub fn mount(at: &Path, options: &str) -> Tmpfs {
        std::fs::create_dir_all(at).expect("a mount point");
        command("mount", &["-t", "tmpfs", "-o", options, "logmill-test", text(at)]);
        Tmpfs(at.to_owned())
    }

    /// The same filesystem with other options.
    pub fn remount(&self, options: &str) {
        command("mount", &["-o", &format!("remount,{options}"), text(&self.0)]);
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().expect("umount");
    }
}

fn command(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output().expect("a program");
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}
