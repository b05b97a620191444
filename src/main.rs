//! The program `logmill`: arguments, one match, an exit code. 0 done, 1 refused or failed, 2 usage.

use std::process::ExitCode;

use logmill::cli::{Cli, Command, Config};
use logmill::daemon::Verb;
use logmill::sys::{file, thread};
use logmill::{commands, engine};

fn main() -> ExitCode {
    thread::abort_on_panic();
    file::set_umask();
    let result = match Cli::typed().command {
        Command::Run(run) => commands::run(&run),
        Command::Start(daemon) => return commands::daemon(Verb::Start, daemon),
        Command::Stop(daemon) => return commands::daemon(Verb::Stop, daemon),
        Command::Restart(daemon) => return commands::daemon(Verb::Restart, daemon),
        Command::Reload(daemon) => return commands::daemon(Verb::Reload, daemon),
        Command::Status(daemon) => return commands::daemon(Verb::Status, daemon),
        Command::Check(check) => commands::check(&check),
        Command::Transform(transform) => commands::transform(&transform),
        Command::Demo(demo) => commands::demo(demo),
        Command::Config(Config::Show(show)) => commands::show(&show),
        Command::Config(Config::Reference) => {
            commands::reference();
            Ok(())
        }
        Command::Verify(verify) => commands::verify(&verify),
        Command::Collect(collect) => commands::collect(&collect),
        Command::Completions(completions) => commands::completions(&completions),
        Command::Man(man) => commands::man(&man),
        Command::CheckLedger(check) => return engine::check_ledger(&check.dir),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            // At once: what threads still do is theirs to finish at the next start.
            std::process::exit(1);
        }
    }
}
