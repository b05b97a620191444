//! What follows from a shape and its settings alone, found out once: where the fields stand that the settings name,
//! which rules can drop a record, and what is written alike in every line.

use super::Options;
use super::entry::{Entry, Fallback, Field, Source};
use super::filter::{Filter, Test};
use super::lookup::Facts;
use super::program::ChosenNames;

/// Where a field's value is to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// This member of `logs`, by its place in the list.
    Member(usize),
    /// No record of the shape has it.
    Absent,
    /// It is to be looked for.
    Asked,
}

/// All that is known of a record beforehand.
#[derive(Debug)]
pub struct Plan {
    pub account_id: Known,
    pub distinct_id: Known,
    pub ip: Known,
    pub time: Known,
    /// The rules that may fire, by their place in the filter, with the fields of their conditions.
    pub rules: Option<Vec<(usize, Vec<Known>)>>,
    pub head: Option<Head>,
}

/// The parts of a line that are alike in all, where it has no other keys before its properties than those that every
/// line has.
#[derive(Debug)]
pub struct Head {
    /// From the end of the `#distinct_id` to the `#ip`; that included where it is always "".
    pub named: Vec<u8>,
    pub has_ip: bool,
    /// From the end of the `#time` to the properties.
    pub typed: Vec<u8>,
}

impl Plan {
    /// A plan in which everything is still to be looked for.
    pub const NONE: &Plan = &Plan {
        account_id: Known::Asked,
        distinct_id: Known::Asked,
        ip: Known::Asked,
        time: Known::Asked,
        rules: None,
        head: None,
    };

    /// For records that have the members of this one in this order.
    pub fn of(facts: &Facts<'_>, entry: &Entry, filter: &Filter, log_name: &str, names: &ChosenNames) -> Plan {
        let known = |source: &Source| source.field.as_ref().map_or(Known::Absent, |field| Known::of(field, facts));
        let nothing = |source: &Source| known(source) == Known::Absent && source.default == Fallback::Nothing;
        let others = [&entry.app_id, &entry.event_id, &entry.first_check_id, &entry.import_tool_id];
        let plain = others.into_iter().chain([&entry.transaction_property, &entry.uuid]).all(nothing);
        let kind = entry.event_type;
        let plain = plain && !kind.needs_event_id() && (names.legal || !kind.is_track());
        let rules = filter.rules.iter().enumerate().filter(|(_, rule)| rule.is_for(log_name));
        let rules = rules.filter_map(|(i, rule)| {
            let fields: Vec<Known> = rule.when.iter().map(|condition| Known::of(&condition.field, facts)).collect();
            let mut both = rule.when.iter().zip(&fields);
            let may_fire = both.all(|(condition, known)| *known != Known::Absent || condition.test == Test::Missing);
            may_fire.then_some((i, fields))
        });
        Plan {
            account_id: known(&entry.account_id),
            distinct_id: known(&entry.distinct_id),
            ip: known(&entry.ip),
            time: known(&entry.time),
            rules: Some(rules.collect()),
            head: plain.then(|| Head::of(entry, names, !nothing(&entry.ip))),
        }
    }

    /// The head, where this task writes none but the usual keys.
    pub fn head(&self, options: &Options) -> Option<&Head> {
        self.head.as_ref().filter(|_| !options.add_uuid)
    }
}

impl Head {
    fn of(entry: &Entry, names: &ChosenNames, has_ip: bool) -> Head {
        let kind = entry.event_type;
        let mut named = b"\"".to_vec();
        if kind.is_track() {
            named.extend([b",\"#event_name\":\"", names.event_name.as_bytes(), b"\""].concat());
            if !has_ip {
                named.extend(b",\"#ip\":\"\"");
            }
        }
        let typed = [b",\"#type\":\"", kind.name().as_bytes(), b"\",\"properties\":"].concat();
        Head { named, has_ip, typed }
    }
}

impl Known {
    fn of(field: &Field, facts: &Facts<'_>) -> Known {
        let Field { name, path, header, kafka } = field;
        match facts.logs.place(facts.text, name.text.as_bytes(), name.hash) {
            Some(i) => Known::Member(i),
            None if path.is_empty() && header.is_none() && kafka.is_none() => Known::Absent,
            None => Known::Asked,
        }
    }
}
