//! Which writer, and which set of files, a record's line goes to.

use std::borrow::Cow;

use crate::flow::name::{Field, Template};
use crate::flow::record::Record;
use crate::ledger::failures;
use crate::ring::publish::{Publisher, RouteId};
use crate::ring::slot::Kind;
use crate::transform::{LaneRule, Ready};
use crate::writer::route_key;

/// How a task's lines are spread.
#[derive(Debug, Clone)]
pub struct Rules {
    pub template: Template,
    pub lane: LaneRule,
    pub writers: usize,
}

/// A reader's memory of routes.
pub struct Router {
    rules: Rules,
    /// By lane, where the lane alone decides.
    fixed: Vec<Option<RouteId>>,
    /// The route's key in the making.
    key: String,
}

impl Router {
    pub fn new(rules: Rules) -> Router {
        Router { rules, fixed: Vec::new(), key: String::new() }
    }

    /// The route of a transformed record.
    pub fn of(&mut self, publisher: &mut Publisher, record: &Record<'_>, ready: &mut Ready<'_>) -> RouteId {
        let lane = ready.lane(&self.rules.lane);
        let ready = &*ready;
        self.find(publisher, lane, record, |field| match field {
            Field::AppId => ready.app_id().into(),
            Field::LogName => ready.log_name().into(),
            _ => ready.event_name().into(),
        })
    }

    /// The route of a value that stays as it is.
    pub fn of_value(&mut self, publisher: &mut Publisher, record: &Record<'_>, value: &[u8]) -> RouteId {
        let lane = self.rules.lane.of_value(record, value);
        self.find(publisher, lane, record, |_| "".into())
    }

    /// The failure queue; one writer keeps its order.
    pub fn failures(&self, publisher: &mut Publisher) -> RouteId {
        publisher.route(&route_key(Kind::Failures, failures::SEGMENT), 0)
    }

    fn find<'v>(
        &mut self,
        publisher: &mut Publisher,
        lane: u32,
        record: &Record<'_>,
        value: impl Fn(Field) -> Cow<'v, str>,
    ) -> RouteId {
        let at = lane as usize;
        let is_fixed = self.rules.template.is_fixed();
        if is_fixed && let Some(Some(known)) = self.fixed.get(at) {
            return *known;
        }
        self.key.clear();
        self.key.push(char::from(Kind::Lines as u8));
        let (topic, partition) = (record.topic, record.partition);
        self.rules.template.route(&mut self.key, |field| match field {
            Field::Topic => Cow::Owned(topic.to_string()),
            Field::Partition => Cow::Owned(partition.to_string()),
            Field::Lane => Cow::Owned(lane.to_string()),
            other => value(other),
        });
        let id = publisher.route(self.key.as_bytes(), at % self.rules.writers);
        if is_fixed {
            self.fixed.resize(self.fixed.len().max(at + 1), None);
            self.fixed[at] = Some(id);
        }
        id
    }
}
