//! Where something stands: byte offsets of a text in, `file:line:column` out.

use std::path::Path;
use std::sync::Arc;

use crate::flow::problem::Problem;

/// The text of one file, for turning byte offsets into places; or of an environment variable, which has one place.
pub struct Source<'t> {
    file: Arc<Path>,
    pub text: &'t str,
    has_lines: bool,
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
        Source { file: file.into(), text, has_lines: true }
    }

    pub fn variable(name: &str, value: &'t str) -> Source<'t> {
        Source { file: Path::new(&format!("environment variable {name}")).into(), text: value, has_lines: false }
    }

    /// The place of a byte offset; one beyond the text or inside a character counts as the end of the text.
    pub fn place(&self, offset: usize) -> Place {
        if !self.has_lines {
            return self.whole();
        }
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// The line that holds a byte offset.
    pub fn line(&self, offset: usize) -> &'t str {
        let start = self.text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        self.text[start..].lines().next().unwrap_or_default()
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
