//! Arbitrary bytes: the first chooses the options, the rest is a value. The library and the reference must end it
//! alike.

#![no_main]

#[path = "../../reference/mod.rs"]
mod reference;

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use logmill::flow::record::Record;
use logmill::transform::{LaneRule, Options, ValueCodec};
use reference::fast::{Fast, Files};
use reference::lane::lane;
use reference::settings::Project;

const NOW_MS: i64 = 1_608_184_360_123;
const LANES: u32 = 10;
const FIELD: &str = "role_id";

/// The two implementations with one of the eight sets of options.
struct Pair {
    options: Options,
    projects: Vec<Project>,
    fast: Fast,
    rule: LaneRule,
}

thread_local! {
    static PAIRS: RefCell<Vec<Pair>> = RefCell::new((0..8).map(Pair::new).collect());
}

fuzz_target!(|bytes: &[u8]| {
    if let Some((choice, value)) = bytes.split_first() {
        PAIRS.with_borrow_mut(|pairs| pairs[usize::from(choice % 8)].compare(value));
    }
});

impl Pair {
    fn new(choice: u8) -> Pair {
        let options = Options {
            value_codec: if choice & 1 == 0 { ValueCodec::None } else { ValueCodec::Snappy },
            truncate_long_string: choice & 2 != 0,
            add_uuid: choice & 2 != 0,
            time_fallback_now: choice & 2 != 0,
            fail_bad_property: choice & 4 != 0,
            ..Options::default()
        };
        let files = [Files::new(
            "24",
            include_str!("../../golden/mthinkingdata:metadata.24.json"),
            include_str!("../../golden/mthinkingdata:filter.24.json"),
        )];
        Pair {
            projects: files.iter().map(Files::project).collect(),
            fast: Fast::new(&files, &options),
            options,
            rule: LaneRule::new(LANES, Some(FIELD.to_string())),
        }
    }

    fn compare(&mut self, value: &[u8]) {
        let record = Record {
            topic: "mulog_clean_24",
            partition: 0,
            offset: 6_197_511_494,
            timestamp_ms: 1_608_184_360_123,
            leader_epoch: 0,
            value: Some(value),
        };
        let wanted = reference::transform(&self.projects, &self.options, &record, NOW_MS);
        let found = self.fast.ends(&record, NOW_MS, std::slice::from_ref(&self.rule), 512);
        let ends: Vec<_> = found.iter().map(|(end, _)| end).collect();
        assert_eq!(ends, wanted.iter().collect::<Vec<_>>(), "library, then reference");
        let wanted = lane(LANES, Some(FIELD), &record, value);
        assert_eq!(self.rule.of_value(&record, value), wanted, "library, then reference: lane");
    }
}
