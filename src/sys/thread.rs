//! Threads: named, pinned, and never dying in silence.

use std::cell::Cell;
use std::io;
use std::thread::{Builder, JoinHandle};

/// Characters the kernel keeps of a thread's name.
const NAME_MAX: usize = 15;

/// The one way a thread is made. `core` pins it.
///
/// # Errors
/// The kernel has no room for another thread.
pub fn spawn(name: &str, core: Option<usize>, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(kept_name(name)).spawn(move || {
        if let Some(id) = core {
            core_affinity::set_for_current(core_affinity::CoreId { id });
        }
        body();
    })
}

/// What the kernel keeps of a thread's name.
pub fn kept_name(name: &str) -> String {
    name.chars().take(NAME_MAX).collect()
}

/// The cores this process may use.
pub fn cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|c| c.id).collect()
}

/// A panic ends the process at once, before anything is unwound: a half-done batch must not look like an orderly end
/// (a dropped channel is how threads hear "finish and go"). What is [`contained`] excepted.
pub fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        if !CONTAINED.get() {
            std::process::abort();
        }
    }));
}

/// A panic of this thread is its own affair.
pub fn is_contained() -> bool {
    CONTAINED.get()
}

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body`, which panics for itself alone: for work whose drop undoes what is half done.
///
/// # Errors
/// What the panic said.
pub fn contained<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    CONTAINED.set(true);
    let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    CONTAINED.set(false);
    end.map_err(|said| {
        let text = said.downcast_ref::<&str>().map(ToString::to_string);
        text.or_else(|| said.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// In a process of its own, for the hook holds for all of it.
    #[test]
    fn a_panic_ends_the_process_unless_it_is_contained() {
        const IS_CHILD: &str = "LOGMILL_TEST_CONTAINED";
        if let Ok(which) = std::env::var(IS_CHILD) {
            abort_on_panic();
            assert_eq!(contained(|| assert!(which.is_empty(), "said")).unwrap_err(), "said");
            assert!(which == "contained", "not contained");
            return;
        }
        let name = "sys::thread::tests::a_panic_ends_the_process_unless_it_is_contained";
        let end = |which| {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", name]).env(IS_CHILD, which).output().unwrap().status
        };
        assert!(end("contained").success());
        assert_eq!(end("not contained").signal(), Some(libc::SIGABRT));
    }
}
