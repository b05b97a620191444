//! What is made of the definitions of both programs: scripts that complete words in a shell, and manual pages.

use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::millctl::Millctl;

/// # Errors
/// The script cannot be written.
pub fn complete_logmill(shell: Shell, out: &mut impl Write) -> io::Result<()> {
    complete(Cli::command(), shell, out)
}

/// # Errors
/// The script cannot be written.
pub fn complete_millctl(shell: Shell, out: &mut impl Write) -> io::Result<()> {
    complete(Millctl::command(), shell, out)
}

fn complete(mut command: Command, shell: Shell, out: &mut impl Write) -> io::Result<()> {
    let name = command.get_name().to_string();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    out.write_all(&script)
}

/// Writes a page for each program and each of its commands into `dir`.
///
/// # Errors
/// The kernel's.
pub fn write_man(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    [Cli::command(), Millctl::command()].into_iter().try_for_each(|command| clap_mangen::generate_to(command, dir))
}
