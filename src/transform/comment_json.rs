//! Comment-JSON, the form of settings and lists: RFC 8259 JSON plus `#`, `//` and `/* */` comments, one trailing comma
//! before a closing bracket, and a BOM. In comes a file's bytes, out a tree whose every part knows its place.

use std::path::Path;

use crate::flow::problem::Problem;

/// Levels of nesting that a file may have.
const DEPTH_MAX: usize = 64;

/// A parsed file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document<'t> {
    text: &'t str,
    pub root: Node,
}

/// A value and the byte at which it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub at: usize,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// The text as it stands in the file.
    Number(String),
    String(String),
    List(Vec<Node>),
    Object(Vec<Member>),
}

/// A member of an object; names are unique.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub name: String,
    /// The byte at which the name's quote stands.
    pub at: usize,
    pub value: Node,
}

/// Parses a whole file.
///
/// # Errors
/// The first fault with its line and column.
pub fn parse<'t>(file: &Path, bytes: &'t [u8]) -> Result<Document<'t>, Problem> {
    let problem = |text: &str, at: usize, message: String, help: String| {
        let (line, column) = place(text, at);
        Problem { file: file.to_path_buf(), line, column, message, help }
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        let text = good.strip_prefix('\u{feff}').unwrap_or(good);
        problem(text, text.len(), "a byte that is not UTF-8".into(), "save the file as UTF-8".into())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser { text, at: 0 };
    match parser.document() {
        Ok(root) => Ok(Document { text, root }),
        Err(Fault { at, message, help }) => Err(problem(text, at, message, help)),
    }
}

impl Document<'_> {
    /// Line and column of a byte, both 1-based, the column in code points.
    pub fn place(&self, at: usize) -> (usize, usize) {
        place(self.text, at)
    }
}

impl Value {
    /// How a message calls such a value.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a bool",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}

fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line_at = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_at..].chars().count() + 1)
}

struct Fault {
    at: usize,
    message: String,
    help: String,
}

fn fault<T>(at: usize, message: impl Into<String>, help: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { at, message: message.into(), help: help.into() })
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<Node, Fault> {
        self.blank()?;
        if self.at == self.text.len() {
            return fault(self.at, "the file holds no value", "write an object or a list");
        }
        let root = self.value(0)?;
        self.blank()?;
        if self.at < self.text.len() {
            return fault(self.at, format!("{} after the value", self.found()), "remove it: a file holds one value");
        }
        Ok(root)
    }

    fn value(&mut self, depth: usize) -> Result<Node, Fault> {
        let at = self.at;
        let value = match self.byte() {
            b'{' | b'[' if depth == DEPTH_MAX => {
                return fault(at, format!("nested deeper than {DEPTH_MAX} levels"), "flatten it");
            }
            b'{' => Value::Object(self.object(depth + 1)?),
            b'[' => Value::List(self.list(depth + 1)?),
            b'"' => Value::String(self.string()?),
            b'-' | b'0'..=b'9' => Value::Number(self.number()?),
            _ => self.word()?,
        };
        Ok(Node { at, value })
    }

    fn object(&mut self, depth: usize) -> Result<Vec<Member>, Fault> {
        let mut members: Vec<Member> = Vec::new();
        let mut names = std::collections::HashSet::new();
        let open = self.at;
        self.at += 1;
        self.blank()?;
        while self.byte() != b'}' {
            let at = self.at;
            if self.byte() != b'"' {
                return self.unexpected(open, "a member's name in double quotes or '}'");
            }
            let name = self.string()?;
            if !names.insert(name.clone()) {
                return fault(at, format!("the member \"{name}\" stands here twice"), "keep one of them");
            }
            self.blank()?;
            if self.byte() != b':' {
                return self.unexpected(open, "':'");
            }
            self.at += 1;
            self.blank()?;
            members.push(Member { name, at, value: self.value(depth)? });
            self.comma(open, b'}')?;
        }
        self.at += 1;
        Ok(members)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Fault> {
        let mut nodes = Vec::new();
        let open = self.at;
        self.at += 1;
        self.blank()?;
        while self.byte() != b']' {
            nodes.push(self.value(depth)?);
            self.comma(open, b']')?;
        }
        self.at += 1;
        Ok(nodes)
    }

    /// After a member or element: a comma, or the closing bracket that stays for the caller.
    fn comma(&mut self, open: usize, close: u8) -> Result<(), Fault> {
        self.blank()?;
        match self.byte() {
            b',' => {
                self.at += 1;
                self.blank()
            }
            byte if byte == close => Ok(()),
            _ => self.unexpected(open, &format!("',' or '{}'", char::from(close))),
        }
    }

    fn unexpected<T>(&self, open: usize, wanted: &str) -> Result<T, Fault> {
        let (line, column) = place(self.text, open);
        let help = format!("the bracket it belongs to opens at {line}:{column}");
        fault(self.at, format!("expected {wanted}, found {}", self.found()), help)
    }

    fn string(&mut self) -> Result<String, Fault> {
        let open = self.at;
        let bytes = self.text.as_bytes();
        let mut content = String::new();
        let mut from = open + 1;
        loop {
            let at = super::json_text::next_special(bytes, from);
            content.push_str(&self.text[from..at]);
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(content);
                }
                Some(b'\\') => from = self.escape(at, &mut content)?,
                Some(b'\n') | None => return fault(open, "the string does not end on its line", "close it with '\"'"),
                Some(byte) => {
                    let help = format!("write \\u{byte:04x}");
                    return fault(at, "a control character in a string", help);
                }
            }
        }
    }

    /// Appends what the escape at `at` stands for; where the string goes on.
    fn escape(&mut self, at: usize, content: &mut String) -> Result<usize, Fault> {
        let bytes = self.text.as_bytes();
        let letter = match bytes.get(at + 1) {
            Some(&letter @ (b'"' | b'\\' | b'/')) => char::from(letter),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let hex = |at: usize| super::json_text::hex4(bytes.get(at..).unwrap_or_default());
                let Some(high) = hex(at + 2) else {
                    return fault(at, "\\u without four hex digits", "write for example \\u4f60");
                };
                let low = if bytes.get(at + 6..at + 8) == Some(b"\\u") { hex(at + 8) } else { None };
                let (code, used) = match (high, low) {
                    (0xD800..=0xDBFF, Some(low @ 0xDC00..=0xDFFF)) => {
                        (0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), 12)
                    }
                    _ => (high, 6),
                };
                let Some(letter) = char::from_u32(code) else {
                    return fault(at, "half of a surrogate pair", "write both halves, or the character itself");
                };
                content.push(letter);
                return Ok(at + used);
            }
            _ => return fault(at, "an unknown escape in a string", "write \\\\ for a backslash"),
        };
        content.push(letter);
        Ok(at + 2)
    }

    fn number(&mut self) -> Result<String, Fault> {
        let at = self.at;
        match super::scanner::value(self.text.as_bytes(), at) {
            Ok((_, token)) if !self.word_byte(token.end) => {
                self.at = token.end;
                Ok(self.text[at..token.end].to_string())
            }
            _ => fault(at, format!("{} is no number", self.found()), "write it as JSON does: 24, -1, 1.5, 1e3"),
        }
    }

    fn word(&mut self) -> Result<Value, Fault> {
        for (word, value) in [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))] {
            if self.text[self.at..].starts_with(word) && !self.word_byte(self.at + word.len()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        let help = match self.byte() {
            b'\'' => "use double quotes",
            b',' | b'}' | b']' | 0 => "write a value",
            _ => "text stands in double quotes",
        };
        fault(self.at, format!("expected a value, found {}", self.found()), help)
    }

    /// White space and comments.
    fn blank(&mut self) -> Result<(), Fault> {
        loop {
            let rest = &self.text[self.at..];
            self.at += match rest.as_bytes() {
                [b' ' | b'\t' | b'\n' | b'\r', ..] => 1,
                [b'#', ..] | [b'/', b'/', ..] => rest.find('\n').unwrap_or(rest.len()),
                [b'/', b'*', ..] => match rest[2..].find("*/") {
                    Some(end) => end + 4,
                    None => return fault(self.at, "the comment does not end", "close it with '*/'"),
                },
                _ => return Ok(()),
            };
        }
    }

    /// What stands here, for a message.
    fn found(&self) -> String {
        let rest = &self.text[self.at..];
        let end = (self.at..).take_while(|&at| self.word_byte(at)).count();
        match (rest.get(..end), rest.chars().next()) {
            (_, None) => "the end of the file".into(),
            (Some(word), _) if !word.is_empty() => format!("'{word}'"),
            (_, Some(letter)) => format!("'{letter}'"),
        }
    }

    fn word_byte(&self, at: usize) -> bool {
        self.text.as_bytes().get(at).is_some_and(|b| b.is_ascii_alphanumeric() || b"_+-.".contains(b))
    }

    /// 0 stands for the end.
    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str) -> Value {
        parse(Path::new("f.json"), text.as_bytes()).unwrap().root.value
    }
    fn refusal(text: &[u8]) -> (usize, usize, String) {
        let problem = parse(Path::new("f.json"), text).unwrap_err();
        (problem.line, problem.column, problem.message)
    }

    #[test]
    fn comments_and_one_trailing_comma_are_white_space() {
        let text = "\u{feff}# one\n// two \"x\"\n/* three\n { */ { \"#a\" /**/ : 24 # c\n, \
            \"u\":\"http://x /* y */ # z\",} // end";
        let Value::Object(members) = root(text) else { panic!() };
        assert_eq!(members[0].name, "#a");
        assert_eq!(members[0].value.value, Value::Number("24".into()));
        assert_eq!(members[1].value.value, Value::String("http://x /* y */ # z".into()));
        assert_eq!(root("[1.50,]"), Value::List(vec![Node { at: 1, value: Value::Number("1.50".into()) }]));
        assert_eq!(root("24#"), Value::Number("24".into()));
        assert_eq!(root(r#""\u4f60\ud83d\ude00\n\/""#), Value::String("你😀\n/".into()));
    }

    #[test]
    fn every_part_knows_its_place() {
        let text = "{\r\n  \"é\": [ 1,\n\t\"x\" ] }";
        let document = parse(Path::new("f.json"), text.as_bytes()).unwrap();
        let Value::Object(members) = &document.root.value else { panic!() };
        let Value::List(nodes) = &members[0].value.value else { panic!() };
        assert_eq!(document.place(members[0].at), (2, 3));
        assert_eq!(document.place(members[0].value.at), (2, 8));
        assert_eq!(document.place(nodes[1].at), (3, 2));
    }

    #[test]
    fn all_else_is_refused_with_its_place() {
        let cases: &[(&str, usize, usize)] = &[
            ("", 1, 1),
            ("# only\n", 2, 1),
            ("{\n  \"a\": foo }", 2, 8),
            ("['x']", 1, 2),
            ("[1\n 2]", 2, 2),
            ("{\"a\":1 \"b\":2}", 1, 8),
            ("[1 /* x", 1, 4),
            ("{\"a\":1,\n\"a\":2}", 2, 1),
            ("{} x", 1, 4),
            ("{}\n[]", 2, 1),
            ("[1,,]", 1, 4),
            ("[,]", 1, 2),
            ("{,}", 1, 2),
            ("[01]", 1, 2),
            ("[1.]", 1, 2),
            ("[NaN]", 1, 2),
            ("[truex]", 1, 2),
            ("{a:1}", 1, 2),
            ("[\"a\nb\"]", 1, 2),
            ("[\"\\x\"]", 1, 3),
            ("[\"\\ud800\"]", 1, 3),
            ("[\"é\", /]", 1, 7),
            ("[\"a\tb\"]", 1, 4),
            ("[1", 1, 3),
            ("{\"a\"", 1, 5),
            ("[-]", 1, 2),
            ("[+1]", 1, 2),
            ("{\"a\" 1}", 1, 6),
        ];
        for (text, line, column) in cases {
            let (l, c, message) = refusal(text.as_bytes());
            assert_eq!((l, c), (*line, *column), "{text:?}: {message}");
        }
        assert_eq!(refusal(b"{\n \"a\": \"\xff\"}"), (2, 8, "a byte that is not UTF-8".into()));
        assert!(refusal("[".repeat(1 << 20).as_bytes()).2.contains("nested"));
        assert_eq!(refusal("{\"\\u0061\":1,\"a\":2}".as_bytes()).2, "the member \"a\" stands here twice");
    }
}
