//! The program `millctl`: arguments, one call, an exit code. 0 done, 1 refused or failed, 2 usage, 3 not running,
//! 4 no answer in time.

use std::process::ExitCode;

use clap::Parser;
use logmill::cli::millctl::Millctl;
use logmill::console;
use logmill::sys::file;

fn main() -> ExitCode {
    file::set_umask();
    // What is retried without the running program is told as that one tells it.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error")).init();
    console::run(Millctl::parse())
}
