//! Problems as people read them: in the layout of rustc's messages, with the line that is meant and what to write
//! instead. The only file that names the library for it.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Padding, Renderer, Snippet};

use super::schema::is_secret;
use crate::flow::problem::Problem;

/// What the problems of a list are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// Errors, without colour.
pub fn explain(problems: &[Problem]) -> String {
    explain_as(Severity::Error, problems, false)
}

/// Message, place, the line with a caret, and what to write instead, for each problem. Lines are read from the files
/// anew; where that fails, and where a line names a password, they are left out.
pub fn explain_as(severity: Severity, problems: &[Problem], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
    let mut texts: HashMap<&Path, String> = HashMap::new();
    let mut shown = String::new();
    for problem in problems {
        let text = texts.entry(&problem.file).or_insert_with(|| super::read_text(&problem.file).unwrap_or_default());
        // Writing to a String cannot fail.
        let _ = writeln!(shown, "{}\n", renderer.render(&[group(severity, problem, text)]));
    }
    shown
}

fn group<'a>(severity: Severity, problem: &'a Problem, text: &'a str) -> Group<'a> {
    let level = if severity == Severity::Error { Level::ERROR } else { Level::WARNING };
    let path = problem.file.to_string_lossy();
    let line = problem.line.checked_sub(1).and_then(|index| text.lines().nth(index));
    let place: Element<'a> = match line.filter(|line| problem.column > 0 && !is_secret(line)) {
        Some(line) => {
            let start = line.char_indices().nth(problem.column - 1).map_or(line.len(), |(at, _)| at);
            let token = AnnotationKind::Primary.span(start..start + token_bytes(&line[start..]));
            Snippet::source(line).line_start(problem.line).path(path).annotation(token).into()
        }
        None if problem.line > 0 => Origin::path(path).line(problem.line).char_column(problem.column).into(),
        None => Origin::path(path).into(),
    };
    let mut group = level.primary_title(problem.message.as_str()).element(place);
    if line.is_some_and(is_secret) {
        group = group.element(Level::NOTE.message("the line is not shown, for it names a password"));
    }
    match problem.help.as_str() {
        "" => group,
        help => group.element(Padding).element(Level::HELP.message(help)),
    }
}

/// How much of the text is marked: a word, or a text in quotes.
fn token_bytes(text: &str) -> usize {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''));
    match quote {
        Some(quote) => text[1..].find(quote).map_or(1, |end| end + 2),
        None => text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').unwrap_or(text.len()),
    }
}
