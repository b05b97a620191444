//! Where a value comes from: a field's name and a record go in, the value goes out, or the default's.

use logmill::flow::record::Record;

use super::json::{Json, get};

/// All that a field can name.
pub struct Place<'a> {
    pub logs: &'a [(String, Json)],
    pub headers: &'a [(String, Json)],
    pub record: &'a Record<'a>,
}

impl Place<'_> {
    /// The value of a field that is there: neither absent nor null nor "".
    pub fn field(&self, name: &str) -> Option<Json> {
        self.find(name).filter(|value| !value.is_missing())
    }

    fn find(&self, name: &str) -> Option<Json> {
        if let Some(value) = get(self.logs, name).or_else(|| below(self.logs, name)) {
            return Some(value.clone());
        }
        if let Some(rest) = name.strip_prefix("headers.") {
            return get(self.headers, rest).or_else(|| below(self.headers, rest)).cloned();
        }
        match name {
            "kafka.topic" => Some(Json::Text(self.record.topic.to_string())),
            "kafka.partition" => Some(Json::Number(self.record.partition.to_string())),
            "kafka.offset" => Some(Json::Number(self.record.offset.to_string())),
            "kafka.timestamp" if self.record.timestamp_ms != -1 => {
                Some(Json::Number(self.record.timestamp_ms.to_string()))
            }
            _ => None,
        }
    }
}

fn below<'a>(members: &'a [(String, Json)], path: &str) -> Option<&'a Json> {
    let (first, rest) = path.split_once('.')?;
    let Some(Json::Object(inner)) = get(members, first) else { return None };
    if rest.contains('.') { below(inner, rest) } else { get(inner, rest) }
}

/// One `#` key of an entry.
#[derive(Debug, Clone)]
pub struct Source {
    pub field: Option<String>,
    pub default: Default,
}

#[derive(Debug, Clone)]
pub enum Default {
    None,
    Template(Vec<Part>),
    Fixed(Json),
}

#[derive(Debug, Clone)]
pub enum Part {
    Text(String),
    Field(String),
}

impl Source {
    pub fn value(&self, place: &Place<'_>) -> Option<Json> {
        self.field_value(place).or_else(|| self.default_value(place))
    }

    pub fn field_value(&self, place: &Place<'_>) -> Option<Json> {
        self.field.as_ref().and_then(|field| place.field(field))
    }

    pub fn default_value(&self, place: &Place<'_>) -> Option<Json> {
        match &self.default {
            Default::None => None,
            Default::Fixed(value) => Some(value.clone()),
            Default::Template(parts) => {
                let texts: Option<Vec<String>> = parts.iter().map(|part| part.text(place)).collect();
                texts.map(|t| t.concat()).filter(|text| !text.is_empty()).map(Json::Text)
            }
        }
    }
}

impl Part {
    fn text(&self, place: &Place<'_>) -> Option<String> {
        let field = match self {
            Part::Text(text) => return Some(text.clone()),
            Part::Field(field) => field,
        };
        match place.field(field)? {
            Json::Text(text) | Json::Number(text) => Some(text),
            Json::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }
}

/// `{x}` names a field, `{{` and `}}` are braces.
pub fn template(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("{{") || rest.starts_with("}}") {
            parts.push(Part::Text(c.to_string()));
            rest = &rest[2..];
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = inner.find('}').expect("settings with balanced braces");
            parts.push(Part::Field(inner[..end].to_string()));
            rest = &inner[end + 1..];
        } else {
            parts.push(Part::Text(c.to_string()));
            rest = &rest[c.len_utf8()..];
        }
    }
    parts
}
