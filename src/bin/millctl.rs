//! The program `millctl`: arguments, one call, an exit code. 0 done, 1 refused or failed, 2 usage, 3 not running,
//! 4 no answer in time.

use clap::Parser;
use logmill::cli::millctl::Millctl;
use logmill::console;

fn main() -> ! {
    let code = console::run(Millctl::parse());
    // At once: what may still wait for a broker is not waited for.
    std::process::exit(code.into())
}
