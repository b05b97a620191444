//! `tap`: samples of a task's records as they pass, what came in beside what went out.

use std::io::{self, IsTerminal, Write};
use std::thread::sleep;
use std::time::Duration;

use super::fault::Fault;
use crate::cli::millctl::Tap;
use crate::ctl::protocol::{Request, Sample, Tapped};
use crate::sys::terminal;

/// How often samples are fetched.
const EVERY: Duration = Duration::from_millis(300);
/// Between the two columns.
const GAP: &str = " | ";

/// # Errors
/// What `ask` says, or nobody reads any more.
pub fn run(tap: &Tap, ask: impl Fn(&Request) -> Result<Tapped, Fault>, out: &mut impl Write) -> Result<(), Fault> {
    let request = Request::Tap { task: tap.task.clone(), filter: tap.filter.clone() };
    let mut left = tap.count.unwrap_or(u64::MAX);
    // What was collected before for somebody else is not ours.
    ask(&request)?;
    while left > 0 {
        sleep(EVERY);
        for sample in ask(&request)? {
            if left == 0 {
                break;
            }
            left -= 1;
            if tap.json {
                super::json(out, &sample)?;
            } else {
                let columns = if io::stdout().is_terminal() { terminal::columns() } else { usize::MAX };
                out.write_all(draw(&sample, columns).as_bytes())?;
            }
        }
        out.flush()?;
    }
    Ok(())
}

/// Two columns where there is room for them, else one below the other.
fn draw(sample: &Sample, columns: usize) -> String {
    let Sample { topic, partition, offset, k, ended, value, line } = sample;
    let number = if *k == 0 { String::new() } else { format!(" number {k}") };
    let mut text = format!("{topic}/{partition}@{offset}{number}: {ended}\n");
    let width = columns.saturating_sub(GAP.len()) / 2;
    if columns == usize::MAX || width < 20 {
        text += &format!("  in   {value}\n");
        if !line.is_empty() {
            text += &format!("  out  {line}\n");
        }
        return text;
    }
    let (left, right) = (wrap(value, width), wrap(line, width));
    for row in 0..left.len().max(right.len()) {
        let cell = |side: &[String]| side.get(row).cloned().unwrap_or_default();
        text += format!("{:<width$}{GAP}{}", cell(&left), cell(&right)).trim_end();
        text.push('\n');
    }
    text
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let plain: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.chunks(width).map(|part| part.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_and_line_stand_side_by_side() {
        let sample = Sample {
            topic: "t".into(),
            partition: 3,
            offset: 7,
            k: 0,
            ended: "written".into(),
            value: "abcdefghijklmnopqrstuvwxyz".into(),
            line: "ABCDEFGHIJ\u{1b}LMNOPQRST".into(),
        };
        let wanted = "\
t/3@7: written
abcdefghijklmnopqrst | ABCDEFGHIJ LMNOPQRST
uvwxyz               |
";
        assert_eq!(draw(&sample, 44), wanted);
        let parked = Sample { k: 2, ended: "E05_JSON".into(), line: String::new(), ..sample };
        assert_eq!(draw(&parked, usize::MAX), "t/3@7 number 2: E05_JSON\n  in   abcdefghijklmnopqrstuvwxyz\n");
    }
}
