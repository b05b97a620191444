//! Which records a project does not want: by name, before their content is looked at, and by rules on their fields.

use std::cmp::Ordering;

use super::decimal;
use super::entry::{Field, Names};
use super::lookup::{Digits, Facts, Scratch, Value};
use super::members::same;
use super::plan::{Known, Plan};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// The names are kept, all others dropped.
    pub keep: bool,
    pub names: Names<()>,
    pub rules: Vec<DropRule>,
}

/// Drops a record for which all conditions hold.
#[derive(Debug, Clone, PartialEq)]
pub struct DropRule {
    /// `None`: any.
    pub log_name: Option<String>,
    pub when: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub field: Field,
    pub test: Test,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Exists,
    Missing,
    /// `eq` and `in`.
    In(Vec<Literal>),
    /// `ne` and `not_in`.
    NotIn(Vec<Literal>),
    /// `gt ge lt le`: the field's order against the number is one of these.
    Order(&'static [Ordering], String),
    Prefix(String),
}

/// A scalar that a condition compares with.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    Bool(bool),
    /// The number's text.
    Number(String),
    Text(String),
}

impl Filter {
    pub fn drops_name(&self, log_name: &str, event_name: &str) -> bool {
        let named = self.names.contains(log_name.as_bytes()) || self.names.contains(event_name.as_bytes());
        named != self.keep
    }

    pub fn drops_fields(&self, log_name: &str, plan: &Plan, facts: &Facts<'_>, scratch: &mut Scratch) -> bool {
        match &plan.rules {
            Some(rules) => rules.iter().any(|(rule, fields)| {
                let mut conditions = self.rules[*rule].when.iter().zip(fields);
                conditions.all(|(condition, known)| condition.holds(*known, facts, scratch))
            }),
            None => self
                .rules
                .iter()
                .any(|rule| rule.is_for(log_name) && rule.when.iter().all(|c| c.holds(Known::Asked, facts, scratch))),
        }
    }
}

impl DropRule {
    pub fn is_for(&self, log_name: &str) -> bool {
        self.log_name.as_ref().is_none_or(|name| same(name.as_bytes(), log_name.as_bytes()))
    }
}

impl Condition {
    #[inline]
    fn holds(&self, known: Known, facts: &Facts<'_>, scratch: &mut Scratch) -> bool {
        // What a condition decodes is used at once: the next one may have the space again.
        let made = scratch.made.len();
        let value = scratch.known(facts, &self.field, known);
        let value = scratch.decoded(value);
        let holds = self.test.holds(&value, scratch);
        scratch.made.truncate(made);
        holds
    }
}

impl Test {
    #[inline]
    fn holds(&self, value: &Value<'_>, scratch: &Scratch) -> bool {
        if value.is_missing() {
            return matches!(self, Test::Missing);
        }
        match self {
            Test::Exists => true,
            Test::Missing => false,
            Test::In(literals) => literals.iter().any(|literal| literal.equals(value, scratch)),
            Test::NotIn(literals) => !literals.iter().any(|literal| literal.equals(value, scratch)),
            Test::Order(orders, number) => compared(value, number).is_some_and(|order| orders.contains(&order)),
            Test::Prefix(prefix) => scratch.text(value).is_some_and(|text| text.starts_with(prefix.as_bytes())),
        }
    }
}

impl Literal {
    #[inline]
    fn equals(&self, value: &Value<'_>, scratch: &Scratch) -> bool {
        match self {
            Literal::Bool(literal) => *value == Value::Bool(*literal),
            Literal::Number(literal) => match value {
                Value::Number(text) => decimal::equal(text, literal.as_bytes()),
                value => compared(value, literal) == Some(Ordering::Equal),
            },
            Literal::Text(literal) => scratch.text(value) == Some(literal.as_bytes()),
        }
    }
}

/// `None` where the value is no number.
fn compared(value: &Value<'_>, number: &str) -> Option<Ordering> {
    match value {
        Value::Number(text) => Some(decimal::compare(text, number.as_bytes())),
        Value::Whole(whole) => Some(decimal::compare(Digits::of(*whole).as_bytes(), number.as_bytes())),
        _ => None,
    }
}
