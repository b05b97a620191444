//! `#time`: what a source says about a moment, and how the moment is written.

use super::decimal;

const DAY_S: i64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01.
const ERA_DAYS: i64 = 719_468;
/// How far a moment may lie from now before TE refuses it: 3 years back, 3 days ahead.
const BACK_MS: i64 = 3 * 365 * DAY_S * 1000;
const AHEAD_MS: i64 = 3 * DAY_S * 1000;

/// The numbers below 100 in two digits.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

/// A moment as the task's zone shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970-01-01 00:00:00 in the task's zone.
    local_ms: i64,
    /// Written with `.SSS`.
    with_ms: bool,
}

impl Moment {
    /// To the second; `None` where the year has not four digits.
    pub fn of_clock(epoch_ms: i64, zone_s: i32) -> Option<Moment> {
        Moment::new(epoch_ms.div_euclid(1000) * 1000, false, zone_s)
    }

    /// The clock, whatever it says: what four digits cannot show is written as the epoch.
    pub fn now(now_ms: i64, zone_s: i32) -> Moment {
        Moment::of_clock(now_ms, zone_s).unwrap_or(Moment { local_ms: 0, with_ms: false })
    }

    /// A JSON number's text.
    pub fn of_number(text: &[u8], zone_s: i32) -> Option<Moment> {
        if decimal::is_integer(text) {
            return integer(text, zone_s);
        }
        if text.iter().any(|b| matches!(b, b'e' | b'E')) { None } else { fractional(text, zone_s) }
    }

    /// A string's content.
    pub fn of_text(text: &[u8], zone_s: i32) -> Option<Moment> {
        match text {
            [_, _, _, _, b'-', ..] => civil(text, zone_s),
            [b'1'..=b'9', rest @ ..] if decimal::is_digits(rest) => integer(text, zone_s),
            _ => fractional(text, zone_s),
        }
    }

    pub fn is_far_from(&self, now_ms: i64, zone_s: i32) -> bool {
        let ahead = self.local_ms - i64::from(zone_s) * 1000 - now_ms;
        !(-BACK_MS..=AHEAD_MS).contains(&ahead)
    }

    /// `yyyy-MM-dd HH:mm:ss[.SSS]`, and how many of the bytes count.
    pub fn written(&self) -> ([u8; 23], usize) {
        // From the day on which the years of `date_of` begin: no moment lies before it.
        let ms = (self.local_ms + ERA_DAYS * DAY_S * 1000) as u64;
        let (seconds, ms) = (ms / 1000, (ms % 1000) as u32);
        let (year, month, day) = date_of((seconds / DAY_S as u64) as u32);
        let second = (seconds % DAY_S as u64) as u32;
        let mut text = *b"0000-00-00 00:00:00.000";
        let mut two = |at: usize, value: u32| text[at..at + 2].copy_from_slice(&PAIRS[value as usize % 100]);
        two(0, year / 100);
        two(2, year % 100);
        two(5, month);
        two(8, day);
        two(11, second / 3600);
        two(14, second / 60 % 60);
        two(17, second % 60);
        two(20, ms / 10);
        text[22] = b'0' + (ms % 10) as u8;
        (text, if self.with_ms { 23 } else { 19 })
    }

    fn new(epoch_ms: i64, with_ms: bool, zone_s: i32) -> Option<Moment> {
        Moment::local(epoch_ms.checked_add(i64::from(zone_s) * 1000)?, with_ms)
    }

    fn local(local_ms: i64, with_ms: bool) -> Option<Moment> {
        /// 0001-01-01 and 10000-01-01.
        const YEARS: std::ops::Range<i64> = -719_162 * DAY_S * 1000..2_932_897 * DAY_S * 1000;
        YEARS.contains(&local_ms).then_some(Moment { local_ms, with_ms })
    }
}

/// Seconds, milliseconds or microseconds, told apart by size.
fn integer(text: &[u8], zone_s: i32) -> Option<Moment> {
    if text.len() > 17 || text.first() == Some(&b'-') {
        return None;
    }
    let value = decimal::value_of(text);
    match value {
        1..100_000_000_000 => Moment::new(value * 1000, false, zone_s),
        100_000_000_000..100_000_000_000_000 => Moment::new(value, true, zone_s),
        100_000_000_000_000.. => Moment::new(value / 1000, true, zone_s),
        _ => None,
    }
}

/// `[0-9]{1,11}\.[0-9]+`: seconds.
fn fractional(text: &[u8], zone_s: i32) -> Option<Moment> {
    let dot = text.iter().take(12).position(|&b| b == b'.')?;
    let (whole, fraction) = (&text[..dot], &text[dot + 1..]);
    if whole.is_empty() || !decimal::is_digits(whole) {
        return None;
    }
    let seconds = decimal::value_of(whole);
    let ms = fraction_ms(fraction)?;
    if seconds < 1 { None } else { Moment::new(seconds * 1000 + ms, true, zone_s) }
}

/// `yyyy-MM-dd[ T]HH:mm:ss[.f…][Z or ±hh:mm]`
fn civil(text: &[u8], zone_s: i32) -> Option<Moment> {
    let (stamp, rest) = text.split_at_checked(19)?;
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = &stamp[from..to];
        digits.iter().all(u8::is_ascii_digit).then(|| digits.iter().fold(0, |v, d| v * 10 + i64::from(d - b'0')))
    };
    let marks = (stamp[4], stamp[7], stamp[10], stamp[13], stamp[16]);
    if !matches!(marks, (b'-', b'-', b' ' | b'T', b':', b':')) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1 || !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (ms, zone) = match rest.strip_prefix(b".") {
        None => (None, rest),
        Some(rest) => {
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            (Some(fraction_ms(&rest[..digits])?), &rest[digits..])
        }
    };
    let local_s = days_of(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second;
    let local_ms = local_s * 1000 + ms.unwrap_or(0);
    match zone {
        [] => Moment::local(local_ms, ms.is_some()),
        _ => Moment::new(local_ms - zone_offset_s(zone)? * 1000, ms.is_some(), zone_s),
    }
}

/// `Z` or `±hh:mm`.
fn zone_offset_s(zone: &[u8]) -> Option<i64> {
    let digit = |b: u8| b.is_ascii_digit().then(|| i64::from(b - b'0'));
    match zone {
        b"Z" => Some(0),
        &[sign @ (b'+' | b'-'), a, b, b':', c, d] => {
            let (hour, minute) = (digit(a)? * 10 + digit(b)?, digit(c)? * 10 + digit(d)?);
            let offset = hour * 3600 + minute * 60;
            if hour > 23 || minute > 59 { None } else { Some(if sign == b'-' { -offset } else { offset }) }
        }
        _ => None,
    }
}

/// The first three digits of a fraction of at least one, padded; nothing but digits may stand there.
fn fraction_ms(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((0..3).fold(0, |ms, i| ms * 10 + i64::from(digits.get(i).copied().unwrap_or(b'0') - b'0')))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar (Howard Hinnant's algorithm).
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - ERA_DAYS
}

/// The inverse of [`days_of`] for days since 0000-03-01 (Neri and Schneider, "Euclidean affine functions and their
/// application to calendar algorithms").
fn date_of(days: u32) -> (u32, u32, u32) {
    let quarters = 4 * days + 3;
    let (century, of_century) = (quarters / 146_097, quarters % 146_097 / 4);
    let product = 2_939_745 * u64::from(4 * of_century + 3);
    let (year, of_year) = ((product >> 32) as u32, product as u32 / 2_939_745 / 4);
    let months = 2141 * of_year + 197_913;
    let (month, day) = (months >> 16, (months & 0xFFFF) / 2141 + 1);
    // The years of the algorithm begin in March.
    let next = u32::from(of_year >= 306);
    (100 * century + year + next, month - 12 * next, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EAST_8: i32 = 8 * 3600;

    fn show(moment: Option<Moment>) -> Option<String> {
        moment.map(|m| {
            let (text, len) = m.written();
            String::from_utf8(text[..len].to_vec()).unwrap()
        })
    }
    fn number(text: &str) -> Option<String> {
        show(Moment::of_number(text.as_bytes(), EAST_8))
    }
    fn text(text: &str) -> Option<String> {
        show(Moment::of_text(text.as_bytes(), EAST_8))
    }

    #[test]
    fn integers_are_told_apart_by_size() {
        for read in [number, text] {
            assert_eq!(read("1608184243").unwrap(), "2020-12-17 13:50:43");
            assert_eq!(read("1").unwrap(), "1970-01-01 08:00:01");
            assert_eq!(read("99999999999").unwrap(), "5138-11-16 17:46:39");
            assert_eq!(read("100000000000").unwrap(), "1973-03-03 17:46:40.000");
            assert_eq!(read("1608184302045").unwrap(), "2020-12-17 13:51:42.045");
            assert_eq!(read("1608184302045999").unwrap(), "2020-12-17 13:51:42.045");
            assert_eq!(read("99999999999999999").unwrap(), "5138-11-16 17:46:39.999");
            for unusable in ["0", "-0", "-1", "100000000000000000", "99999999999999999999999"] {
                assert_eq!(read(unusable), None, "{unusable}");
            }
        }
        for unusable in ["", "01608184243", "+1608184243", " 1608184243", "1608184243 ", "16081842x3", "１"] {
            assert_eq!(text(unusable), None, "{unusable}");
        }
    }

    #[test]
    fn fractions_are_cut_to_milliseconds() {
        for read in [number, text] {
            assert_eq!(read("1608184243.5").unwrap(), "2020-12-17 13:50:43.500");
            assert_eq!(read("1608184243.99999").unwrap(), "2020-12-17 13:50:43.999");
            assert_eq!(read("1.0").unwrap(), "1970-01-01 08:00:01.000");
            for unusable in ["0.9", "-1.5", "123456789012.5", "1.6e9", "1e9", "1.5E3"] {
                assert_eq!(read(unusable), None, "{unusable}");
            }
        }
        assert_eq!(text("0001.25").unwrap(), "1970-01-01 08:00:01.250");
        assert!(["1.", ".5", "1.2.3", "1,5", "000000000001.5"].iter().all(|t| text(t).is_none()));
    }

    #[test]
    fn civil_times_are_kept_or_moved_to_the_zone() {
        let kept = [
            ("2020-12-17 13:51:44", "2020-12-17 13:51:44"),
            ("2020-12-17T13:51:44", "2020-12-17 13:51:44"),
            ("2020-12-17 13:51:44.5", "2020-12-17 13:51:44.500"),
            ("2020-12-17 13:51:44.123999", "2020-12-17 13:51:44.123"),
            ("2020-12-17T05:51:44Z", "2020-12-17 13:51:44"),
            ("2020-12-31T23:00:00.25-01:30", "2021-01-01 08:30:00.250"),
            ("2020-12-17 13:51:44+08:00", "2020-12-17 13:51:44"),
            ("2020-02-29 00:00:00", "2020-02-29 00:00:00"),
            ("2000-02-29 00:00:00", "2000-02-29 00:00:00"),
            ("0001-01-01 00:00:00", "0001-01-01 00:00:00"),
            ("9999-12-31 23:59:59.999", "9999-12-31 23:59:59.999"),
            ("0001-01-01 00:00:00-23:59", "0001-01-02 07:59:00"),
        ];
        for (given, written) in kept {
            assert_eq!(text(given).as_deref(), Some(written), "{given}");
        }
        let unusable = [
            "2020-12-17",
            "2020-12-17 13:51",
            "2020-12-17t13:51:44",
            "2020-12-17 13:51:44z",
            "2020-12-17 13:51:60",
            "2020-12-17 24:00:00",
            "2021-02-29 00:00:00",
            "1900-02-29 00:00:00",
            "2020-13-01 00:00:00",
            "2020-00-01 00:00:00",
            "2020-04-31 00:00:00",
            "0000-01-01 00:00:00",
            "2020-12-17 13:51:44.",
            "2020-12-17 13:51:44+24:00",
            "2020-12-17 13:51:44+08:60",
            "2020-12-17 13:51:44+0800",
            "2020-12-17 13:51:44 ",
            "2020/12/17 13:51:44",
            "2020-12-17 13:51:44.Z",
            "９020-12-17 13:51:44",
            "9999-12-31 20:00:00Z",
            "0001-01-01 00:00:00+09:00",
            "2020-1-17 13:51:44",
        ];
        for given in unusable {
            assert_eq!(text(given), None, "{given}");
        }
    }

    #[test]
    fn every_day_survives_the_way_there_and_back() {
        for days in -719_162..2_932_897 {
            let (year, month, day) = date_of((days + ERA_DAYS) as u32);
            assert_eq!(days_of(year.into(), month.into(), day.into()), days);
        }
    }

    #[test]
    fn far_is_three_years_back_and_three_days_ahead() {
        let now = 1_608_184_243_000;
        let far = |ms: i64| Moment::new(ms, true, EAST_8).unwrap().is_far_from(now, EAST_8);
        assert!(!far(now) && !far(now - BACK_MS) && !far(now + AHEAD_MS));
        assert!(far(now - BACK_MS - 1) && far(now + AHEAD_MS + 1));
    }
}
