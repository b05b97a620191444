//! What is counted beside the four ends of a record: reasons for parking, and remarks on what was written.

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(non_camel_case_types)]
        pub enum $name { $($variant),+ }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant),+];
            pub const COUNT: usize = Self::ALL.len();

            /// The stable name, as it stands in logs, metrics and the failure queue.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }
    };
}

named! {
    /// Why a record was parked. The order is the order of the checks; numbers never change meaning.
    Code {
        E01_EMPTY = "E01_EMPTY",
        E02_TOO_LARGE_IN = "E02_TOO_LARGE_IN",
        E03_CODEC = "E03_CODEC",
        E04_UTF8 = "E04_UTF8",
        E05_JSON = "E05_JSON",
        E06_DEPTH = "E06_DEPTH",
        E07_ROOT = "E07_ROOT",
        E08_HEADERS = "E08_HEADERS",
        E09_LOG_NAME = "E09_LOG_NAME",
        E10_APP_ID = "E10_APP_ID",
        E11_LOGS = "E11_LOGS",
        E12_ID_TYPE = "E12_ID_TYPE",
        E13_ID_LEN = "E13_ID_LEN",
        E14_NO_ID = "E14_NO_ID",
        E15_EVENT_NAME = "E15_EVENT_NAME",
        E16_EVENT_ID = "E16_EVENT_ID",
        E17_EMPTY_PROPS = "E17_EMPTY_PROPS",
        E18_TOO_LARGE_OUT = "E18_TOO_LARGE_OUT",
        E19_BAD_PROPERTY = "E19_BAD_PROPERTY",
        E20_UNKNOWN_LOG = "E20_UNKNOWN_LOG",
        E21_CRASH = "E21_CRASH",
    }
}

named! {
    /// Remarks on written lines; they rise only with a written record.
    Remark {
        BadIp = "bad_ip",
        TimeFallback = "time_fallback",
        TimeOutOfRange = "time_out_of_range",
        PropNull = "prop_null",
        PropBadName = "prop_bad_name",
        PropBadCast = "prop_bad_cast",
        PropBadType = "prop_bad_type",
        PropCaseClash = "prop_case_clash",
        NumOutOfRange = "num_out_of_range",
        StrOver2kb = "str_over_2kb",
        ListOver500 = "list_over_500",
        ListElemOver255 = "list_elem_over_255",
        ListMixed = "list_mixed",
        ObjOver100 = "obj_over_100",
    }
}

/// Counts of both kinds, additive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Tally {
    codes: [u64; Code::COUNT],
    remarks: [u64; Remark::COUNT],
}

impl Tally {
    pub const WORDS: usize = Code::COUNT + Remark::COUNT;

    pub fn park(&mut self, code: Code) {
        self.codes[code as usize] += 1;
    }

    pub fn remark(&mut self, remark: Remark) {
        self.remarks[remark as usize] += 1;
    }

    pub fn code(&self, code: Code) -> u64 {
        self.codes[code as usize]
    }

    pub fn count(&self, remark: Remark) -> u64 {
        self.remarks[remark as usize]
    }

    pub fn add(&mut self, other: &Tally) {
        self.codes.iter_mut().zip(other.codes).for_each(|(a, b)| *a += b);
        self.remarks.iter_mut().zip(other.remarks).for_each(|(a, b)| *a += b);
    }

    /// All counts in a fixed order, codes first: the form that maps and checkpoints keep.
    pub fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.codes.iter().chain(&self.remarks).copied()
    }

    /// The inverse of [`Tally::words`]; words that are missing count as 0.
    pub fn from_words(words: impl IntoIterator<Item = u64>) -> Tally {
        let mut tally = Tally::default();
        tally.codes.iter_mut().chain(&mut tally.remarks).zip(words).for_each(|(slot, word)| *slot = word);
        tally
    }

    /// Every count that is not zero, with its stable name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let names = Code::ALL.iter().map(|c| c.name()).chain(Remark::ALL.iter().map(|r| r.name()));
        names.zip(self.words()).filter(|(_, n)| *n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_every_count_in_its_place() {
        let tally = Tally::from_words(1..=Tally::WORDS as u64);
        assert!(tally.words().eq(1..=Tally::WORDS as u64));
        assert_eq!((tally.code(Code::E01_EMPTY), tally.code(Code::E21_CRASH)), (1, 21));
        assert_eq!(tally.count(Remark::BadIp), 22);
        assert_eq!(tally.count(Remark::ObjOver100), Tally::WORDS as u64);
    }

    #[test]
    fn missing_words_count_nothing_and_surplus_words_go() {
        assert_eq!(Tally::from_words([]), Tally::default());
        assert_eq!(Tally::from_words([5; 100]).words().sum::<u64>(), 5 * Tally::WORDS as u64);
        assert_eq!(Tally::from_words([0, 3]).code(Code::E02_TOO_LARGE_IN), 3);
    }

    #[test]
    fn sums_are_named_by_their_stable_names() {
        let mut tally = Tally::default();
        tally.park(Code::E05_JSON);
        tally.remark(Remark::ListMixed);
        tally.add(&tally.clone());
        tally.park(Code::E05_JSON);
        assert_eq!(tally.named().collect::<Vec<_>>(), [("E05_JSON", 3), ("list_mixed", 2)]);
    }

    #[test]
    fn a_code_s_name_begins_with_its_number() {
        for (at, code) in Code::ALL.iter().enumerate() {
            assert!(code.name().starts_with(&format!("E{:02}_", at + 1)), "{}", code.name());
        }
    }
}
