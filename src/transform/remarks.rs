//! What is remarked on a line in the making: it counts only if the line is written.

use crate::flow::tally::{Remark, Tally};

/// Remarks of one record, until it is sure that it is written.
#[derive(Default)]
pub struct Remarks {
    counts: [u64; Remark::COUNT],
    any: bool,
}

impl Remarks {
    #[inline]
    pub fn add(&mut self, remark: Remark, n: u64) {
        self.counts[remark as usize] += n;
        self.any |= n > 0;
    }

    pub fn count_into(&self, tally: &mut Tally) {
        if !self.any {
            return;
        }
        for (remark, n) in Remark::ALL.iter().zip(self.counts) {
            (0..n).for_each(|_| tally.remark(*remark));
        }
    }
}
