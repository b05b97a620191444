//! Lists and objects in byte form: no white space, strings in the one form, duplicate members resolved.

use super::Out;
use super::json_text::{self, put_string};
use super::lookup::Scratch;
use super::members::Kind;
use super::scanner::{self, Token};

/// What TE's limits look at in a list.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ListFacts {
    pub len: usize,
    /// Bytes of the longest string, decoded.
    pub longest: usize,
    /// Elements of unlike kinds, or lists or objects among them.
    pub mixed: bool,
}

/// Writes a list (its JSON text, known to be legal).
pub fn put_list(text: &[u8], out: &mut Out<'_>, scratch: &mut Scratch) -> ListFacts {
    let mut facts = ListFacts::default();
    let mut first_class = None;
    out.put(b"[");
    let mut at = scanner::blank(text, 1);
    while text.get(at) != Some(&b']') {
        let Ok((from, Token { kind, end })) = scanner::value(text, at) else { break };
        if facts.len > 0 {
            out.put(b",");
        }
        facts.len += 1;
        facts.longest = facts.longest.max(put_value(kind, &text[from..end], out, scratch));
        let class = class(kind);
        facts.mixed |= class == Class::Nested || *first_class.get_or_insert(class) != class;
        at = scanner::blank(text, end);
        if text.get(at) == Some(&b',') {
            at += 1;
        }
    }
    out.put(b"]");
    facts
}

/// Writes an object (its JSON text, known to be legal); how many members it has.
pub fn put_object(text: &[u8], out: &mut Out<'_>, scratch: &mut Scratch) -> usize {
    let mut members = scratch.spare.pop().unwrap_or_default();
    if scanner::members(text, 0, &mut members).is_err() {
        members.clear();
    }
    out.put(b"{");
    for (i, member) in members.list.iter().enumerate() {
        if i > 0 {
            out.put(b",");
        }
        if member.name_decoded {
            put_string(out, members.name(text, member));
        } else {
            out.put(&text[member.name_at as usize - 1..=member.name_end as usize]);
        }
        out.put(b":");
        put_value(member.kind, member.value(text), out, scratch);
    }
    out.put(b"}");
    let len = members.list.len();
    scratch.spare.push(members);
    len
}

/// Writes any value; a string's bytes, decoded, else 0.
fn put_value(kind: Kind, bytes: &[u8], out: &mut Out<'_>, scratch: &mut Scratch) -> usize {
    match kind {
        Kind::List => {
            put_list(bytes, out, scratch);
        }
        Kind::Object => {
            put_object(bytes, out, scratch);
        }
        Kind::Escaped => {
            let from = scratch.made.len();
            json_text::decode(&bytes[1..bytes.len() - 1], &mut scratch.made);
            put_string(out, &scratch.made[from..]);
            let len = scratch.made.len() - from;
            scratch.made.truncate(from);
            return len;
        }
        Kind::String => {
            out.put(bytes);
            return bytes.len() - 2;
        }
        _ => out.put(bytes),
    }
    0
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Null,
    Bool,
    Number,
    String,
    Nested,
}

fn class(kind: Kind) -> Class {
    match kind {
        Kind::Null => Class::Null,
        Kind::True | Kind::False => Class::Bool,
        Kind::Integer | Kind::Decimal | Kind::Exponent => Class::Number,
        Kind::String | Kind::Escaped => Class::String,
        Kind::List | Kind::Object => Class::Nested,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> (String, ListFacts) {
        let mut room = vec![0; text.len() * 2];
        let mut out = Out::new(&mut room);
        let facts = put_list(text.as_bytes(), &mut out, &mut Scratch::default());
        (String::from_utf8(out.written().to_vec()).unwrap(), facts)
    }

    #[test]
    fn the_byte_form_has_no_white_space_and_no_duplicates() {
        let given = "[ 1.50 ,\t{ \"a\\u0062\" : null, \"\" : [ ], \"b\\n\":{ \"x\":1 , \
            \"\\u0078\":[ true ] }, \"ab\": \"\\u0041\\/\" } ]";
        assert_eq!(list(given).0, "[1.50,{\"ab\":\"A/\",\"\":[],\"b\\n\":{\"x\":[true]}}]");
    }

    #[test]
    fn lists_are_measured() {
        let facts = |text: &str| list(text).1;
        assert_eq!(facts("[]"), ListFacts::default());
        assert_eq!(facts("[\"\\u4f60\",\"ab\"]"), ListFacts { len: 2, longest: 3, mixed: false });
        assert!(!facts("[1,2.5,1e3]").mixed && !facts("[true,false]").mixed && !facts("[null]").mixed);
        for mixed in ["[1,\"1\"]", "[null,1]", "[[]]", "[{}]", "[true,null]", "[\"a\",\"b\",{}]"] {
            assert!(facts(mixed).mixed, "{mixed}");
        }
    }
}
