//! Random settings and options: chance goes in, files that are right go out, in all the ways comment-JSON can be
//! written.

use std::collections::BTreeSet;

use logmill::transform::{Options, UnknownLog, ValueCodec};

use super::dice::Dice;
use crate::reference::fast::Files;

/// The logs that settings and records speak of, some more often.
pub const LOG_NAMES: &str = "e e e log_item log_item log_item log_chat log_chat log_other log-bad 9log log_ünï";

/// Fields that settings name, most of them names that records use.
const FIELDS: &str = "id id id role_id role_id t t mtime ip ip v x y a.b o.x o.p.q o #account_id #time #ip #os abs \
    headers.log_name headers.extra headers.app_id kafka.offset kafka.topic kafka.partition kafka.timestamp null";

const TOP_LEVEL: &str = "#app_id #event_id #first_check_id #import_tool_id #transaction_property #uuid";

const PRESETS: &str = "#zone_offset #os #lib #device_id #duration";

const EVENT_TYPES: &str = "track track track track_update track_overwrite user_set user_setOnce user_add user_append \
    user_uniq_append user_unset user_del";

pub fn files(dice: &mut Dice) -> Vec<Files> {
    let app_ids: &[&str] = if dice.one_in(4) { &["7", "24"] } else { &["24"] };
    let mut all = Vec::new();
    for app_id in app_ids {
        let (metadata, filter) = (metadata(dice), filter(dice));
        let metadata = if dice.one_in(30) { String::new() } else { decorated(dice, &metadata) };
        let filter = if dice.one_in(3) { String::new() } else { decorated(dice, &filter) };
        all.push(Files::new(app_id, &metadata, &filter));
    }
    all
}

pub fn options(dice: &mut Dice) -> Options {
    let usual = Options::default();
    Options {
        timezone_s: if dice.one_in(3) { (dice.below(113) as i32 - 56) * 900 } else { usual.timezone_s },
        value_codec: if dice.one_in(8) { ValueCodec::Snappy } else { ValueCodec::None },
        max_record_bytes: if dice.one_in(10) { 200 + dice.below(3000) } else { usual.max_record_bytes },
        max_line_bytes: if dice.one_in(10) { 100 + dice.below(1000) } else { usual.max_line_bytes },
        unknown_log_name: match dice.below(8) {
            0 => UnknownLog::Park,
            1 => UnknownLog::Drop,
            _ => UnknownLog::Entry,
        },
        fail_bad_property: dice.one_in(6),
        truncate_long_string: dice.one_in(3),
        add_uuid: dice.one_in(4),
        time_fallback_now: dice.one_in(4),
    }
}

/// A lane's rule: the number of lanes and the field.
pub fn lane_rule(dice: &mut Dice) -> (u32, Option<String>) {
    let lanes = [1, 2, 7, 10, 64, 1000][dice.below(6)];
    let field = dice.word("id role_id id x y v t o.x o.p.q a.b app_id headers.app_id headers.log_name");
    (lanes, (!dice.one_in(6)).then(|| field.to_string()))
}

fn metadata(dice: &mut Dice) -> String {
    let names: BTreeSet<&str> = LOG_NAMES.split(' ').chain(["*"]).collect();
    let mut entries = Vec::new();
    for name in names {
        if !dice.one_in(10) {
            entries.push(entry(dice, name));
        }
    }
    format!("[{}]", entries.join(","))
}

fn entry(dice: &mut Dice, name: &str) -> String {
    let mut members = vec![format!(r#""log_name":"{name}""#)];
    if dice.one_in(2) {
        let long = format!("E{}", "x".repeat(48 + dice.below(4)));
        let event_name = dice
            .pick(&["", "null", "Ev_1", "Ev_1", "t_log_item", "t_log_item", "ev", "ev", "bad-name", &long])
            .to_string();
        members.push(format!(r#""event_name":"{event_name}""#));
    }
    if !dice.one_in(4) {
        members.push(format!(r#""event_type":"{}""#, dice.word(EVENT_TYPES)));
    }
    let mut keys = Vec::new();
    for (key, odds) in [("#account_id", 20), ("#distinct_id", 2), ("#time", 10), ("#ip", 3)] {
        if !dice.one_in(odds) {
            keys.push(key);
        }
    }
    for pool in [TOP_LEVEL, PRESETS] {
        for key in pool.split_whitespace() {
            if dice.one_in(5) {
                let place = dice.below(keys.len() + 1);
                keys.insert(place, key);
            }
        }
    }
    let sources: Vec<String> = keys.iter().map(|key| format!(r#""{key}":{}"#, source(dice, key))).collect();
    members.push(format!(r#""metadata":{{{}}}"#, sources.join(",")));
    let mut names = |odds: usize| -> Vec<&str> {
        let pool = "id role_id t mtime ip x y v o l a.b Ab ab _bad #os #zone_offset #lib abs";
        pool.split(' ').filter(|_| dice.one_in(odds)).collect()
    };
    let excluded: Vec<String> = names(5).iter().map(|name| format!("{name:?}")).collect();
    let cast = names(5);
    members.push(format!(r#""exclude":[{}]"#, excluded.join(",")));
    let cast: Vec<String> =
        cast.iter().map(|name| format!(r#""{name}":"{}""#, dice.word("string number list"))).collect();
    members.push(format!(r#""cast":{{{}}}"#, cast.join(",")));
    format!("{{{}}}", members.join(","))
}

fn source(dice: &mut Dice, key: &str) -> String {
    let field = match (key, dice.below(4)) {
        ("#account_id", 1..) => "id",
        ("#distinct_id", 1..) => dice.pick(&["id", "role_id", "x"]),
        ("#time", 1..) => dice.pick(&["t", "mtime", "t", "x"]),
        ("#ip", 1..) => dice.pick(&["ip", "x", "ip"]),
        _ => dice.word(FIELDS),
    };
    let is_plain = key.ends_with("t_id") && !dice.one_in(5);
    let default = if is_plain { r#","default":"{role_id}""# } else { any_default(dice) };
    if field == "id" && dice.one_in(20) {
        format!("{{{}}}", default.trim_start_matches(','))
    } else {
        format!(r#"{{"field":"{field}"{default}}}"#)
    }
}

fn any_default(dice: &mut Dice) -> &'static str {
    dice.pick(&[
        "",
        r#","default":"""#,
        r#","default":"""#,
        r#","default":8"#,
        r#","default":-1.50E3"#,
        r#","default":true"#,
        r#","default":1608184243"#,
        r#","default":"2020-12-17 13:51:44.5""#,
        r#","default":"10.0.0.1""#,
        r#","default":"{id}""#,
        r#","default":"dev_{role_id}_{x}""#,
        r#","default":"{{{o.x}}}""#,
        r#","default":"{t}""#,
        r#","default":"{headers.log_name}/{kafka.offset}""#,
        r#","default":"\u0041\"\n{y}""#,
    ])
}

fn filter(dice: &mut Dice) -> String {
    let names = |dice: &mut Dice, n: usize| -> String {
        let pool = "e log_item log_chat t_log_item t_e ev Ev_1 log_other unseen t_9log";
        let names: Vec<String> = (0..dice.below(n)).map(|_| format!("{:?}", dice.word(pool))).collect();
        format!("[{}]", names.join(","))
    };
    if dice.one_in(3) {
        return names(dice, 3);
    }
    let mut members = Vec::new();
    if dice.one_in(3) {
        members.push(r#""mode":"keep""#.to_string());
        members.push(format!(r#""names":{}"#, names(dice, 15)));
    } else {
        members.push(format!(r#""names":{}"#, names(dice, 3)));
    }
    let rules: Vec<String> = (0..dice.below(3)).map(|_| rule(dice)).collect();
    members.push(format!(r#""rules":[{}]"#, rules.join(",")));
    format!("{{{}}}", members.join(","))
}

fn rule(dice: &mut Dice) -> String {
    let conditions: Vec<String> = (0..1 + dice.below(2)).map(|_| condition(dice)).collect();
    let log_name =
        if dice.one_in(2) { format!(r#""log_name":"{}","#, dice.word("e log_item * log_chat")) } else { String::new() };
    format!(r#"{{{log_name}"when":[{}]}}"#, conditions.join(","))
}

fn condition(dice: &mut Dice) -> String {
    let field = dice.word("x y v t o.x o.p.q abs id headers.extra kafka.partition a.b");
    let scalar = |dice: &mut Dice| -> String {
        let pool = r#"1 0 -1 1.0 1e3 9007199254740993 1608184243 -0 true false "a" "x" "1" "" 1e400 0.1"#;
        dice.word(pool).to_string()
    };
    let op = dice.word("eq ne in not_in gt ge lt le prefix exists missing");
    let value = match op {
        "in" | "not_in" => {
            let values: Vec<String> = (0..dice.below(4)).map(|_| scalar(dice)).collect();
            format!(r#","value":[{}]"#, values.join(","))
        }
        "gt" | "ge" | "lt" | "le" => {
            format!(r#","value":{}"#, dice.word("1 0 -1 1.0 1e3 9007199254740993 1608184243 -0 1e400 -1e-400 0.1"))
        }
        "prefix" => format!(r#","value":{}"#, dice.word(r#""a" "x" "1" "ab""#)),
        "exists" | "missing" => String::new(),
        _ => format!(r#","value":{}"#, scalar(dice)),
    };
    format!(r#"{{"field":"{field}","op":"{op}"{value}}}"#)
}

/// The same JSON with comments, white space and trailing commas where they may stand.
fn decorated(dice: &mut Dice, json: &str) -> String {
    let mut out = String::from(if dice.one_in(10) { "\u{feff}" } else { "" });
    let (mut is_string, mut is_escaped, mut before) = (false, false, ' ');
    for c in json.chars() {
        if !is_string && "[]{},:".contains(c) {
            if "]}".contains(c) && !"[{".contains(before) && dice.one_in(4) {
                out.push(',');
            }
            if dice.one_in(12) {
                out += dice.pick(&[" ", "\n", " # c , } \" \n", "// c\n", "/* , ] ' \" # // */", "\t/**/", "##\n"]);
            }
        }
        out.push(c);
        match (is_string, is_escaped, c) {
            (true, true, _) => is_escaped = false,
            (true, false, '\\') => is_escaped = true,
            (_, _, '"') => is_string = !is_string,
            _ => {}
        }
        before = c;
    }
    out
}
