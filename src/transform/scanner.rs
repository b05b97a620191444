//! RFC 8259 in one pass: is the text JSON, how deep is it, and where do the members stand that the transform works on.
//!
//! No recursion: the open objects and lists are bits on a stack, so that no input overflows the thread's own.

use super::decimal;
use super::json_text::{self, next_special};
use super::members::{Kind, Member, Members};
use super::scanner_index::Index;

/// Why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Byte offset in the text.
    pub at: usize,
    pub what: &'static str,
}

/// What the whole text turned out to be.
#[derive(Debug, Clone, Copy)]
pub struct Scan {
    pub root: Kind,
    pub headers: Option<Kind>,
    pub logs: Option<Kind>,
    /// Levels of objects and lists; a scalar has none.
    pub depth: usize,
}

/// One value: what it is, and the byte after it.
#[derive(Debug, Clone, Copy)]
pub struct Token {
    pub kind: Kind,
    pub end: usize,
}

/// Checks the whole text. If the root is an object, `headers` and `logs` are filled from its members of these names
/// (the last one counts) where those are objects.
///
/// An `index` of the text makes it faster.
pub fn scan(text: &[u8], headers: &mut Members, logs: &mut Members, index: Option<&mut Index>) -> Result<Scan, Fault> {
    let mut scanner = Scanner { text, deepest: 0, index };
    headers.clear();
    logs.clear();
    let at = scanner.blank(0);
    let mut scan = Scan { root: Kind::Object, headers: None, logs: None, depth: 0 };
    let end = if scanner.byte(at) == b'{' {
        scanner.root(at, &mut scan, headers, logs)?
    } else {
        let token = scanner.value(at, 0)?;
        scan.root = token.kind;
        token.end
    };
    let end = scanner.blank(end);
    if end < text.len() {
        return Err(Fault { at: end, what: "bytes after the value" });
    }
    scan.depth = scanner.deepest;
    Ok(scan)
}

/// The members of the object that begins at `at`; where it ends.
pub fn members(text: &[u8], at: usize, into: &mut Members) -> Result<usize, Fault> {
    Scanner { text, deepest: 0, index: None }.members(at, 1, into)
}

/// The value at `at`, white space before it skipped, and where it begins.
pub fn value(text: &[u8], at: usize) -> Result<(usize, Token), Fault> {
    let mut scanner = Scanner { text, deepest: 0, index: None };
    let at = scanner.blank(at);
    scanner.value(at, 0).map(|token| (at, token))
}

/// The value that begins right at `at`; `None` if it is not legal or has more than `levels` of objects and lists.
pub fn value_at(text: &[u8], at: usize, levels: usize) -> Option<Token> {
    let mut scanner = Scanner { text, deepest: 0, index: None };
    scanner.value(at, 0).ok().filter(|_| scanner.deepest <= levels)
}

/// The first byte at or after `at` that is no white space.
pub fn blank(text: &[u8], at: usize) -> usize {
    Scanner { text, deepest: 0, index: None }.blank(at)
}

struct Scanner<'t> {
    text: &'t [u8],
    deepest: usize,
    index: Option<&'t mut Index>,
}

impl Scanner<'_> {
    fn root(&mut self, at: usize, scan: &mut Scan, headers: &mut Members, logs: &mut Members) -> Result<usize, Fault> {
        self.deepest = 1;
        let mut at = self.blank(at + 1);
        if self.byte(at) == b'}' {
            return Ok(at + 1);
        }
        let mut decoded = Vec::new();
        loop {
            let (name_at, name_end, escaped, value_at) = self.name(at)?;
            let mut name = &self.text[name_at..name_end];
            if escaped {
                decoded.clear();
                json_text::decode(name, &mut decoded);
                name = &decoded;
            }
            let object = self.byte(value_at) == b'{';
            let end = match name {
                b"headers" if object => {
                    scan.headers = Some(Kind::Object);
                    self.members(value_at, 2, headers)?
                }
                b"logs" if object => {
                    scan.logs = Some(Kind::Object);
                    self.members(value_at, 2, logs)?
                }
                other => {
                    let token = self.value(value_at, 1)?;
                    match other {
                        b"headers" => scan.headers = Some(token.kind),
                        b"logs" => scan.logs = Some(token.kind),
                        _ => {}
                    }
                    token.end
                }
            };
            match self.next(end, b'}')? {
                Some(next) => at = next,
                None => return Ok(self.blank(end) + 1),
            }
        }
    }

    fn members(&mut self, at: usize, depth: usize, into: &mut Members) -> Result<usize, Fault> {
        self.deepest = self.deepest.max(depth);
        into.clear();
        let mut at = self.blank(at + 1);
        if self.byte(at) == b'}' {
            return Ok(at + 1);
        }
        loop {
            if let Some(index) = &mut self.index {
                let (next, closed) = index.members(self.text, at, into);
                if closed {
                    into.finish(self.text);
                    return Ok(next);
                }
                at = self.blank(next);
            }
            let (name_at, name_end, escaped, value_at) = self.name(at)?;
            let Token { kind, end } = self.value(value_at, depth)?;
            let member = Member {
                name_at: name_at as u32,
                name_end: name_end as u32,
                at: value_at as u32,
                end: end as u32,
                hash: 0,
                kind,
                legal: false,
                name_decoded: false,
            };
            into.push(self.text, member, escaped);
            match self.next(end, b'}')? {
                Some(next) => at = next,
                None => {
                    into.finish(self.text);
                    return Ok(self.blank(end) + 1);
                }
            }
        }
    }

    /// A member's name and the way to its value: the name's first byte, its closing quote, whether it has escapes, the
    /// value's first byte.
    #[inline]
    fn name(&self, at: usize) -> Result<(usize, usize, bool, usize), Fault> {
        if self.byte(at) != b'"' {
            return Err(Fault { at, what: "expected a member's name in double quotes" });
        }
        let (end, escaped) = self.string(at + 1)?;
        let mut colon = end + 1;
        if self.byte(colon) != b':' {
            colon = self.blank(colon);
            if self.byte(colon) != b':' {
                return Err(Fault { at: colon, what: "expected ':'" });
            }
        }
        Ok((at + 1, end, escaped, self.blank(colon + 1)))
    }

    /// After a value: where the next one begins, or `None` at the closing bracket.
    #[inline]
    fn next(&self, end: usize, close: u8) -> Result<Option<usize>, Fault> {
        let at = self.blank(end);
        match self.byte(at) {
            b',' => Ok(Some(self.blank(at + 1))),
            byte if byte == close => Ok(None),
            _ => Err(Fault { at, what: "expected ',' or the closing bracket" }),
        }
    }

    /// The value that begins at `at` inside `depth` open objects and lists.
    #[inline]
    fn value(&mut self, at: usize, depth: usize) -> Result<Token, Fault> {
        match self.byte(at) {
            b'{' => Ok(Token { kind: Kind::Object, end: self.nested(at, depth)? }),
            b'[' => Ok(Token { kind: Kind::List, end: self.nested(at, depth)? }),
            _ => self.scalar(at),
        }
    }

    #[inline]
    fn scalar(&self, at: usize) -> Result<Token, Fault> {
        match self.byte(at) {
            b'"' => {
                let (end, escaped) = self.string(at + 1)?;
                Ok(Token { kind: if escaped { Kind::Escaped } else { Kind::String }, end: end + 1 })
            }
            b'0'..=b'9' | b'-' => self.number(at),
            b't' => self.word(at, b"true", Kind::True),
            b'f' => self.word(at, b"false", Kind::False),
            b'n' => self.word(at, b"null", Kind::Null),
            _ => Err(Fault { at, what: "expected a value" }),
        }
    }

    /// An object or list with all that stands in it.
    fn nested(&mut self, at: usize, depth: usize) -> Result<usize, Fault> {
        let mut open = Open::default();
        let mut at = at;
        loop {
            let mut end = match self.byte(at) {
                bracket @ (b'{' | b'[') => {
                    open.push(bracket == b'{');
                    self.deepest = self.deepest.max(depth + open.depth);
                    let inner = self.blank(at + 1);
                    if self.byte(inner) != bracket + 2 {
                        at = if bracket == b'{' { self.name(inner)?.3 } else { inner };
                        continue;
                    }
                    open.pop();
                    inner + 1
                }
                _ => self.scalar(at)?.end,
            };
            at = loop {
                if open.depth == 0 {
                    return Ok(end);
                }
                let object = open.object();
                match self.next(end, if object { b'}' } else { b']' })? {
                    Some(next) if object => break self.name(next)?.3,
                    Some(next) => break next,
                    None => {
                        open.pop();
                        end = self.blank(end) + 1;
                    }
                }
            };
        }
    }

    /// From after the opening quote to the closing one; true if a backslash stands between.
    #[inline]
    fn string(&self, at: usize) -> Result<(usize, bool), Fault> {
        let end = next_special(self.text, at);
        if self.byte(end) == b'"' { Ok((end, false)) } else { self.escaped_string(end) }
    }

    fn escaped_string(&self, mut at: usize) -> Result<(usize, bool), Fault> {
        loop {
            match self.text.get(at) {
                Some(b'"') => return Ok((at, true)),
                Some(b'\\') => at = next_special(self.text, self.escape(at)?),
                Some(_) => return Err(Fault { at, what: "control character in a string" }),
                None => return Err(Fault { at, what: "the string does not end" }),
            }
        }
    }

    fn escape(&self, at: usize) -> Result<usize, Fault> {
        match self.byte(at + 1) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 2),
            b'u' => {
                let bad = Fault { at, what: "\\u needs four hex digits" };
                let lone = Fault { at, what: "half of a surrogate pair" };
                let high = json_text::hex4(self.text.get(at + 2..).unwrap_or_default()).ok_or(bad)?;
                match high {
                    0xDC00..=0xDFFF => Err(lone),
                    0xD800..=0xDBFF => {
                        let rest = self.text.get(at + 6..).unwrap_or_default();
                        let low = rest.strip_prefix(b"\\u").and_then(json_text::hex4).ok_or(lone)?;
                        if (0xDC00..=0xDFFF).contains(&low) { Ok(at + 12) } else { Err(lone) }
                    }
                    _ => Ok(at + 6),
                }
            }
            _ => Err(Fault { at, what: "unknown escape" }),
        }
    }

    #[inline]
    fn number(&self, at: usize) -> Result<Token, Fault> {
        let bad = |at| Err(Fault { at, what: "expected a digit" });
        let first = if self.byte(at) == b'-' { at + 1 } else { at };
        let mut end = match self.byte(first) {
            b'0' => first + 1,
            b'1'..=b'9' => self.digits(first + 1),
            _ => return bad(first),
        };
        let mut kind = Kind::Integer;
        if self.byte(end) == b'.' {
            kind = Kind::Decimal;
            let fraction = end + 1;
            end = self.digits(fraction);
            if end == fraction {
                return bad(end);
            }
        }
        if matches!(self.byte(end), b'e' | b'E') {
            kind = Kind::Exponent;
            let exponent = end + 1 + usize::from(matches!(self.byte(end + 1), b'+' | b'-'));
            end = self.digits(exponent);
            if end == exponent {
                return bad(end);
            }
        }
        Ok(Token { kind, end })
    }

    #[inline]
    fn digits(&self, mut at: usize) -> usize {
        while let Some(chunk) = self.text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let others = decimal::other_marks(u64::from_le_bytes(*chunk));
            if others != 0 {
                return at + (others.trailing_zeros() / 8) as usize;
            }
            at += 8;
        }
        while self.byte(at).is_ascii_digit() {
            at += 1;
        }
        at
    }

    #[inline]
    fn word(&self, at: usize, word: &[u8], kind: Kind) -> Result<Token, Fault> {
        match self.text.get(at..at + word.len()) {
            Some(same) if same == word => Ok(Token { kind, end: at + word.len() }),
            _ => Err(Fault { at, what: "expected a value" }),
        }
    }

    #[inline]
    fn blank(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    /// 0 stands for the end: no rule accepts that byte.
    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }
}

/// Which brackets are open: one bit each, the innermost lowest; 64 of them need no allocation.
#[derive(Default)]
struct Open {
    bits: u64,
    depth: usize,
    outer: Vec<u64>,
}

impl Open {
    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.bits >>= 1;
        self.depth -= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits = self.outer.pop().unwrap_or(0);
        }
    }

    fn object(&self) -> bool {
        self.bits & 1 == 1
    }
}
