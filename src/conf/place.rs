//! Where something stands in a file: byte offsets in, `file:line:column` out, and the problems of a list shown with
//! their lines.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use crate::flow::problem::Problem;

/// Longest stretch of a line that is shown below a problem, in code points.
const SHOWN_LINE_MAX: usize = 160;

/// The text of one file, for turning byte offsets into places.
pub struct Source<'t> {
    file: Arc<Path>,
    pub text: &'t str,
}

/// A place in a file; line and column are 1-based, the column counts Unicode code points, 0 means the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<Path>,
    pub line: usize,
    pub column: usize,
}

impl<'t> Source<'t> {
    pub fn new(file: &Path, text: &'t str) -> Source<'t> {
        Source { file: file.into(), text }
    }

    /// The place of a byte offset; one beyond the text or inside a character counts as the end of the text.
    pub fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    pub fn whole(&self) -> Place {
        Place { file: self.file.clone(), line: 0, column: 0 }
    }
}

impl Place {
    pub fn problem(&self, message: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem {
            file: self.file.to_path_buf(),
            line: self.line,
            column: self.column,
            message: message.into(),
            help: help.into(),
        }
    }
}

/// The problems for a terminal: message, place, the line with a caret, and what to write instead. Lines are read from
/// the files anew; where that fails they are left out.
pub fn explain(problems: &[Problem]) -> String {
    let mut texts: HashMap<&Path, String> = HashMap::new();
    let mut shown = String::new();
    for problem in problems {
        let text = texts.entry(&problem.file).or_insert_with(|| super::read_text(&problem.file).unwrap_or_default());
        // Writing to a String cannot fail.
        let _ = explain_one(&mut shown, problem, text);
    }
    shown
}

fn explain_one(out: &mut String, problem: &Problem, text: &str) -> std::fmt::Result {
    let Problem { file, line, column, message, help } = problem;
    writeln!(out, "{message}")?;
    let margin = " ".repeat(line.to_string().len());
    write!(out, "{margin}--> {}", file.display())?;
    let position = [line, column].into_iter().take_while(|n| **n > 0);
    position.for_each(|n| out.extend([":", &n.to_string()]));
    out.push('\n');
    if let Some(written) = text.lines().nth(line.wrapping_sub(1)).filter(|_| (1..=SHOWN_LINE_MAX).contains(column)) {
        let written: String = written.chars().take(SHOWN_LINE_MAX).collect();
        let blank: String = written.chars().chain(" ".chars()).take(column - 1).map(keep_tab).collect();
        writeln!(out, "{margin} |\n{line} | {written}\n{margin} | {blank}^")?;
    }
    if !help.is_empty() {
        writeln!(out, "{margin} = {help}")?;
    }
    out.push('\n');
    Ok(())
}

/// A blank as wide as `c`.
fn keep_tab(c: char) -> char {
    if c == '\t' { '\t' } else { ' ' }
}
