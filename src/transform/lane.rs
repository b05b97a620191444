//! `deliver_by`: which lane a record takes.

use crate::flow::record::Record;

/// `lanes = N` with the field that chooses among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneRule {
    lanes: u32,
    /// The dotted path; `None`: the partition chooses.
    field: Option<String>,
}

impl LaneRule {
    pub fn new(lanes: u32, field: Option<String>) -> LaneRule {
        LaneRule { lanes, field }
    }

    /// The lane of a value that is not transformed (`transform = "none"`).
    pub fn of_value(&self, record: &Record<'_>, _value: &[u8]) -> u32 {
        let _ = &self.field;
        record.partition.rem_euclid(self.lanes as i32) as u32
    }
}
