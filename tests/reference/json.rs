//! JSON by way of `RawValue`: bytes come in, a tree that keeps every number's text goes out, or the code of the step
//! that failed.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A value with numbers as written, strings decoded, duplicates resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Steps 4 to 6: `E04_UTF8`, `E05_JSON` or `E06_DEPTH` where the text is not good.
pub fn parse(bytes: &[u8]) -> Result<Json, &'static str> {
    let text = valid_text(bytes)?;
    if depth(text) > 64 {
        return Err("E06_DEPTH");
    }
    Ok(tree(text))
}

/// Steps 4 and 5: the text without its BOM.
pub fn valid_text(bytes: &[u8]) -> Result<&str, &'static str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| "E04_UTF8")?;
    // A raw value is walked without recursion; it checks everything but the surrogates.
    serde_json::from_str::<&RawValue>(text).map_err(|_| "E05_JSON")?;
    for literal in string_literals(text) {
        serde_json::from_str::<String>(literal).map_err(|_| "E05_JSON")?;
    }
    Ok(text)
}

/// Every string of a valid text, with its quotes.
fn string_literals(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let mut literals = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == b'"' {
            let start = i;
            i += 1;
            while bytes[i] != b'"' {
                i += if bytes[i] == b'\\' { 2 } else { 1 };
            }
            literals.push(&text[start..=i]);
        }
        i += 1;
    }
    literals
}

/// The deepest nesting of lists and objects in a valid text.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'"' => {
                i += 1;
                while bytes[i] != b'"' {
                    i += if bytes[i] == b'\\' { 2 } else { 1 };
                }
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
        i += 1;
    }
    deepest
}

/// The tree of a valid text of bounded depth.
pub fn tree(text: &str) -> Json {
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    match text.as_bytes()[0] {
        b'n' => Json::Null,
        b't' => Json::Bool(true),
        b'f' => Json::Bool(false),
        b'"' => Json::Text(serde_json::from_str(text).unwrap()),
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).unwrap();
            Json::List(items.into_iter().map(|item| tree(item.get())).collect())
        }
        b'{' => Json::Object(members(text).into_iter().map(|(name, raw)| (name, tree(raw))).collect()),
        _ => Json::Number(text.to_string()),
    }
}

/// The members of a valid object: of duplicates the last value, at the place of the first.
pub fn members(text: &str) -> Vec<(String, &str)> {
    let Members(all) = serde_json::from_str(text).unwrap();
    let mut place_of = std::collections::HashMap::new();
    let mut unique: Vec<(String, &str)> = Vec::new();
    for (name, raw) in all {
        match place_of.get(&name) {
            Some(&place) => {
                let slot: &mut (String, &str) = &mut unique[place];
                slot.1 = raw.get();
            }
            None => {
                place_of.insert(name.clone(), unique.len());
                unique.push((name, raw.get()));
            }
        }
    }
    unique
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = map.next_entry()? {
                    all.push(member);
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(All).map(Members)
    }
}

pub fn get<'a>(members: &'a [(String, Json)], name: &str) -> Option<&'a Json> {
    members.iter().find(|(n, _)| n == name).map(|(_, value)| value)
}

impl Json {
    /// Null or "".
    pub fn is_missing(&self) -> bool {
        *self == Json::Null || *self == Json::Text(String::new())
    }

    pub fn as_text(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }

    /// The one form in which a value is written.
    pub fn byte_form(&self) -> String {
        match self {
            Json::Null => "null".to_string(),
            Json::Bool(value) => value.to_string(),
            Json::Number(text) => text.clone(),
            Json::Text(text) => quoted(text),
            Json::List(items) => {
                let items: Vec<String> = items.iter().map(Json::byte_form).collect();
                format!("[{}]", items.join(","))
            }
            Json::Object(members) => {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("{}:{}", quoted(name), value.byte_form())).collect();
                format!("{{{}}}", members.join(","))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\u{8}' => out += "\\b",
            '\u{c}' => out += "\\f",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            c if c < ' ' => out += &format!("\\u{:04x}", c as u32),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
