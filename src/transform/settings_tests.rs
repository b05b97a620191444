//! What settings files say, and what is answered where they say it wrongly.

use std::fs;
use std::path::Path;

use super::Program;
use super::entry::{Cast, Entry, EventType, Fallback, Field, Part};
use super::settings;

/// The entries, or each problem as `line:column: message; help`.
fn metadata(text: &str) -> Result<Vec<Entry>, Vec<String>> {
    let mut problems = Vec::new();
    let entries = settings::metadata(Path::new("m"), text.as_bytes(), &mut problems);
    let shown = problems.iter().map(|problem| problem.to_string().split_off("m:".len())).collect();
    if problems.is_empty() { Ok(entries) } else { Err(shown) }
}

fn filter(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    settings::filter(Path::new("m"), text.as_bytes(), &mut problems);
    problems.iter().map(|problem| problem.to_string().split_off("m:".len())).collect()
}

#[test]
fn an_entry_says_where_each_key_comes_from() {
    let entries = metadata(
        r##"[ { "log_name": "a", "event_name": "null", "event_type": "user_setOnce", // c
            "metadata": { "#account_id": { "field": "null", "default": "x{a.b}{{}}" }, "#ip": {},
                          "#os": { "field": "o", "default": 1.50 } },
            "exclude": ["m"], "cast": { "#os": "string", "l": "list" }, }, ]"##,
    )
    .unwrap();
    let entry = &entries[0];
    assert_eq!((entry.event_name.as_deref(), entry.event_type), (None, EventType::UserSetOnce));
    let parts = vec![Part::Text("x".into()), Part::Field(Field::new("a.b")), Part::Text("{}".into())];
    assert_eq!((&entry.account_id.field, &entry.account_id.default), (&None, &Fallback::Template(parts)));
    assert_eq!(entry.properties[0].source.default, Fallback::Number("1.50".into()));
    assert_eq!(entry.properties[0].cast, Some(Cast::String));
    let rule = |name: &str| entry.rules.get(name.as_bytes(), super::members::name_hash(name.as_bytes())).copied();
    assert!(rule("m").unwrap().exclude && rule("l").unwrap().cast == Some(Cast::List) && rule("x").is_none());
}

#[test]
fn all_problems_of_a_file_come_at_once_with_place_and_cure() {
    let problems = metadata(
        r##"[
  { "log_nam": "a" },
  { "log_name": "b", "event_type": "tracks", "metadata": {
      "#type": {}, "#acount_id": { "field": "x" }, "server": {},
      "#ip": { "default": "{a" }, "#time": { "default": [] } } },
  { "log_name": "b", "cast": { "x": "int" }, "exclude": "x" },
  7
]"##,
    )
    .unwrap_err();
    let expected = [
        "2:5: unknown key \"log_nam\" in an entry; did you mean \"log_name\"?",
        "2:3: an entry without \"log_name\"",
        "3:36: unknown event_type \"tracks\"; write one of track track_update",
        "4:7: \"#type\" may not stand in \"metadata\"; use \"event_name\" and \"event_type\"",
        "4:20: \"#acount_id\" is no key that TE knows; did you mean \"#account_id\"?",
        "4:52: \"server\" is no key that TE knows",
        "5:27: unbalanced or empty braces in the template \"{a\"",
        "5:57: \"default\" is a list; write a string, a number or a bool",
        "6:37: unknown cast \"int\"; write one of string number list",
        "6:57: \"exclude\" is a string; write a list",
        "6:3: a second entry for the log_name \"b\"; keep one; the first stands at 3:3",
        "7:3: an entry is a number; write an object",
    ];
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}\n{expected}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
}

#[test]
fn templates_need_balanced_braces() {
    let good = ["", "x", "{a}", "{{", "}}", "{{{a}}}", "{{a}}", "a{b}{c}"];
    let bad = ["{", "}", "{a", "a}", "{}", "{{a}", "{a}}", "{a{b}}"];
    let entry = |template: &str| format!(r##"[{{"log_name":"a","metadata":{{"#ip":{{"default":"{template}"}}}}}}]"##);
    assert!(good.iter().all(|template| metadata(&entry(template)).is_ok()));
    for template in bad {
        assert!(metadata(&entry(template)).is_err(), "{template}");
    }
}

#[test]
fn filters_are_checked_whole() {
    assert_eq!(filter("[\"a\", \"b\",]"), [""; 0]);
    assert_eq!(filter("{}"), [""; 0]);
    let rule = |when: &str| filter(&format!("{{\"rules\":[{{\"when\":[{when}]}}]}}")).join("\n");
    assert_eq!(rule(r#"{"field":"f","op":"in","value":[1,"x",true]},{"field":"f","op":"exists"}"#), "");
    let bad = [
        (r#"{"op":"eq","value":1}"#, "without \"field\""),
        (r#"{"field":"f","value":1}"#, "without \"op\""),
        (r#"{"field":"f","op":"equals","value":1}"#, "unknown op \"equals\""),
        (r#"{"field":"f","op":"eq"}"#, "needs a \"value\""),
        (r#"{"field":"f","op":"eq","value":[1]}"#, "is a list"),
        (r#"{"field":"f","op":"in","value":1}"#, "is a number"),
        (r#"{"field":"f","op":"gt","value":"1"}"#, "write a number"),
        (r#"{"field":"f","op":"prefix","value":1}"#, "a string"),
        (r#"{"field":"f","op":"missing","value":1}"#, "takes no \"value\""),
        (r#"{"field":"","op":"exists"}"#, "is empty"),
        ("1", "is a number"),
    ];
    for (when, message) in bad {
        assert!(rule(when).contains(message), "{when}: {}", rule(when));
    }
    assert!(filter("{\"mode\":\"dropp\"}")[0].starts_with("1:9: unknown mode \"dropp\""));
    assert!(filter("{\"rules\":[{}]}")[0].starts_with("1:11: a rule without \"when\""));
}

#[test]
fn a_program_is_loaded_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let ids = ["24".to_string(), "25".to_string()];
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    assert_eq!(Program::load(&dir.path().join("absent"), &ids).unwrap_err().len(), 1);
    write("mthinkingdata:metadata.24.json", "[]");
    let program = Program::load(dir.path(), &ids).unwrap();
    assert_eq!(program.warnings.len(), 1);
    assert!(program.warnings[0].file.ends_with("mthinkingdata:metadata.25.json"));
    write("mthinkingdata.metadata.25.json", "[1,");
    write("mthinkingdata.filter.24.json", "{\"x\":1}");
    let files: Vec<_> = Program::load(dir.path(), &ids).unwrap_err().into_iter().map(|p| (p.file, p.line)).collect();
    let path = |name: &str| (dir.path().join(name), 1);
    assert_eq!(files, [path("mthinkingdata.filter.24.json"), path("mthinkingdata.metadata.25.json")]);
    write("mthinkingdata.metadata.25.json", "[]");
    write("mthinkingdata:metadata.25.json", "[]");
    fs::remove_file(dir.path().join("mthinkingdata.filter.24.json")).unwrap();
    assert!(Program::load(dir.path(), &ids).unwrap_err()[0].message.contains("both are for the same project"));
}
