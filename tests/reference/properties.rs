//! `properties`: the members of `logs` and the settings' own keys go in, what stands in the line goes out.

use std::collections::HashSet;
use std::mem::discriminant;

use logmill::transform::Options;

use super::fields::Place;
use super::json::Json;
use super::number;
use super::settings::Entry;
use super::{Remarks, remark};

const TOP_LEVEL: &[&str] = &[
    "#account_id",
    "#app_id",
    "#distinct_id",
    "#event_id",
    "#event_name",
    "#first_check_id",
    "#import_tool_id",
    "#ip",
    "#time",
    "#transaction_property",
    "#type",
    "#uuid",
];

const PRESETS: &str = "#lib #lib_version #zone_offset #country #country_code #province #city #os #os_version \
    #device_id #device_model #device_type #manufacturer #carrier #network_type #app_version #bundle_id #screen_width \
    #screen_height #system_language #browser #browser_version #ua #install_time #simulator #ram #disk #fps #duration";

/// Step 21, all but the check for emptiness: the members in their order, or `E19_BAD_PROPERTY`.
pub fn properties(
    entry: &Entry,
    place: &Place<'_>,
    options: &Options,
    remarks: &mut Remarks,
) -> Result<Vec<(String, Json)>, &'static str> {
    let event_type = entry.event_type.as_str();
    if event_type == "user_del" {
        return Ok(Vec::new());
    }
    let mut kept = Vec::new();
    for (name, value) in candidates(entry, place) {
        if value == Json::Null && event_type != "user_unset" {
            remark(remarks, "prop_null");
            continue;
        }
        if TOP_LEVEL.contains(&name.as_str()) {
            continue;
        }
        if !is_good_name(&name) && !PRESETS.split_whitespace().any(|preset| preset == name) {
            if options.fail_bad_property {
                return Err("E19_BAD_PROPERTY");
            }
            remark(remarks, "prop_bad_name");
            continue;
        }
        let kind = entry.cast.iter().find(|(of, _)| *of == name).map(|(_, kind)| kind.as_str());
        let Some(value) = cast(value, kind) else {
            remark(remarks, "prop_bad_cast");
            continue;
        };
        let is_fit = match event_type {
            "user_add" => matches!(value, Json::Number(_)),
            "user_append" | "user_uniq_append" => matches!(value, Json::List(_)),
            _ => true,
        };
        if !is_fit {
            remark(remarks, "prop_bad_type");
            continue;
        }
        let value = if event_type == "user_unset" { Json::Number("0".to_string()) } else { value };
        kept.push((name, value));
    }
    let mut seen = HashSet::new();
    for (name, value) in &mut kept {
        if !seen.insert(name.to_lowercase()) {
            remark(remarks, "prop_case_clash");
        }
        look_at(value, options, remarks);
    }
    Ok(kept)
}

/// `^[A-Za-z][A-Za-z0-9_]{0,49}$`
pub fn is_good_name(name: &str) -> bool {
    name.len() <= 50
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The members of `logs` that are not excluded, then the settings' keys that have a value; the same name replaces in
/// place.
fn candidates(entry: &Entry, place: &Place<'_>) -> Vec<(String, Json)> {
    let mut members = place.logs.to_vec();
    members.retain(|(name, _)| !entry.exclude.contains(name));
    for (key, source) in &entry.metadata {
        if TOP_LEVEL.contains(&key.as_str()) {
            continue;
        }
        let Some(value) = source.value(place) else { continue };
        match members.iter_mut().find(|(name, _)| name == key) {
            Some(member) => member.1 = value,
            None => members.push((key.clone(), value)),
        }
    }
    members
}

fn cast(value: Json, kind: Option<&str>) -> Option<Json> {
    let Some(kind) = kind else { return Some(value) };
    match (kind, value) {
        // Only user_unset brings it this far: null says unset, whatever the kind.
        (_, Json::Null) => Some(Json::Null),
        ("string", value @ Json::Text(_)) => Some(value),
        ("string", Json::Number(text)) => Some(Json::Text(text)),
        ("string", Json::Bool(value)) => Some(Json::Text(value.to_string())),
        ("number", value @ Json::Number(_)) => Some(value),
        ("number", Json::Text(text)) if number::is_json_number(&text) => Some(Json::Number(text)),
        ("list", value @ Json::List(_)) => Some(value),
        ("list", value @ (Json::Text(_) | Json::Number(_) | Json::Bool(_))) => Some(Json::List(vec![value])),
        _ => None,
    }
}

/// The remarks on a value that stands in the line.
fn look_at(value: &mut Json, options: &Options, remarks: &mut Remarks) {
    match value {
        Json::Number(token) if number::is_out_of_range(token) => remark(remarks, "num_out_of_range"),
        Json::Text(text) if text.len() > 2048 => {
            remark(remarks, "str_over_2kb");
            if options.truncate_long_string {
                let end = (0..=2048).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
                text.truncate(end);
            }
        }
        Json::List(items) => {
            if items.len() > 500 {
                remark(remarks, "list_over_500");
            }
            if items.iter().any(|item| item.as_text().is_some_and(|text| text.len() > 255)) {
                remark(remarks, "list_elem_over_255");
            }
            let is_nested = |item: &Json| matches!(item, Json::List(_) | Json::Object(_));
            let is_unlike = |pair: &[Json]| discriminant(&pair[0]) != discriminant(&pair[1]);
            if items.iter().any(is_nested) || items.windows(2).any(is_unlike) {
                remark(remarks, "list_mixed");
            }
        }
        Json::Object(members) if members.len() > 100 => remark(remarks, "obj_over_100"),
        _ => {}
    }
}
