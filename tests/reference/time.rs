//! `#time`: a source goes in, the written time goes out. Never fails.

use logmill::transform::Options;

use super::fields::{Place, Source};
use super::json::Json;
use super::number;
use super::{Remarks, remark};

const DAY_MS: i64 = 86_400_000;
/// Days from 0001-01-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_162;

/// A moment on the task's clock.
struct Moment {
    /// Milliseconds since 0001-01-01 00:00:00, local.
    local_ms: i64,
    shows_ms: bool,
}

/// Step 20.
pub fn time_text(
    source: Option<&Source>,
    place: &Place<'_>,
    options: &Options,
    now_ms: i64,
    remarks: &mut Remarks,
) -> String {
    let zone_ms = i64::from(options.timezone_s) * 1000;
    let from_field = source.and_then(|s| s.field_value(place)).and_then(|v| moment(&v, zone_ms));
    let from_default = || source.and_then(|s| s.default_value(place)).and_then(|v| moment(&v, zone_ms));
    let moment = from_field.or_else(from_default).unwrap_or_else(|| {
        remark(remarks, "time_fallback");
        let is_clock = options.time_fallback_now || place.record.timestamp_ms == -1;
        let epoch_ms = if is_clock { now_ms } else { place.record.timestamp_ms };
        Moment { local_ms: epoch_ms.div_euclid(1000) * 1000 + EPOCH_DAYS * DAY_MS + zone_ms, shows_ms: false }
    });
    let epoch_ms = moment.local_ms - EPOCH_DAYS * DAY_MS - zone_ms;
    if epoch_ms < now_ms - 3 * 365 * DAY_MS || epoch_ms > now_ms + 3 * DAY_MS {
        remark(remarks, "time_out_of_range");
    }
    moment.written()
}

fn moment(value: &Json, zone_ms: i64) -> Option<Moment> {
    match value {
        Json::Number(token) if token.contains(['e', 'E']) => None,
        Json::Number(token) if token.contains('.') => decimal_seconds(token, zone_ms),
        Json::Number(token) => integer(token, zone_ms),
        Json::Text(text) if number::is_json_number(text) && number::is_integer(text) => integer(text, zone_ms),
        Json::Text(text) => decimal_seconds(text, zone_ms).or_else(|| calendar(text, zone_ms)),
        _ => None,
    }
}

/// The length of the text decides: below 10^11 has at most 11 digits, and so on.
fn integer(digits: &str, zone_ms: i64) -> Option<Moment> {
    if digits.len() > 17 || digits.starts_with('-') {
        return None;
    }
    let value: i64 = digits.parse().ok()?;
    let epoch_ms = match digits.len() {
        _ if value == 0 => return None,
        ..=11 => value * 1000,
        12..=14 => value,
        _ => value / 1000,
    };
    Some(Moment { local_ms: epoch_ms + EPOCH_DAYS * DAY_MS + zone_ms, shows_ms: digits.len() > 11 })
}

/// `[0-9]{1,11}\.[0-9]+`
fn decimal_seconds(text: &str, zone_ms: i64) -> Option<Moment> {
    let (whole, fraction) = text.split_once('.')?;
    if whole.len() > 11 {
        return None;
    }
    let seconds = digits(whole)?;
    let epoch_ms = seconds * 1000 + milliseconds(fraction)?;
    (seconds >= 1).then_some(Moment { local_ms: epoch_ms + EPOCH_DAYS * DAY_MS + zone_ms, shows_ms: true })
}

/// `yyyy-MM-dd[ T]HH:mm:ss[.f…][Z or ±hh:mm]`
fn calendar(text: &str, zone_ms: i64) -> Option<Moment> {
    let clock = text.get(..19)?;
    let shape: String = clock.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    if shape != "9999-99-99 99:99:99" && shape != "9999-99-99T99:99:99" {
        return None;
    }
    let part = |from: usize, to: usize| digits(&clock[from..to]);
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    let is_date = year >= 1 && (1..=12).contains(&month) && day >= 1 && day <= month_days(year, month);
    if !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let zone_start = text[19..].find(['Z', '+', '-']).map_or(text.len(), |i| i + 19);
    let (fraction, zone) = (&text[19..zone_start], &text[zone_start..]);
    let fraction_ms = match fraction.strip_prefix('.') {
        Some(fraction) => milliseconds(fraction)?,
        None if fraction.is_empty() => 0,
        None => return None,
    };
    let days = days_before_year(year) + (1..month).map(|m| month_days(year, m)).sum::<i64>() + day - 1;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let mut local_ms = seconds * 1000 + fraction_ms;
    if !zone.is_empty() {
        local_ms += zone_ms - offset_ms(zone)?;
    }
    let is_written = local_ms >= 0 && local_ms < days_before_year(10_000) * DAY_MS;
    is_written.then_some(Moment { local_ms, shows_ms: !fraction.is_empty() })
}

fn offset_ms(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let (sign, rest) = match zone.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, zone.strip_prefix('+')?),
    };
    let (hours, minutes) = rest.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn digits(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The first three digits of a fraction, padded; `None` where it is not all digits.
fn milliseconds(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let padded = format!("{fraction}00");
    padded[..3].parse().ok()
}

fn month_days(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// From 0001-01-01.
fn days_before_year(year: i64) -> i64 {
    let past = year - 1;
    past * 365 + past / 4 - past / 100 + past / 400
}

impl Moment {
    fn written(&self) -> String {
        let (mut day, ms) = (self.local_ms.div_euclid(DAY_MS), self.local_ms.rem_euclid(DAY_MS));
        let mut year = day / 366 + 1;
        while days_before_year(year + 1) <= day {
            year += 1;
        }
        day -= days_before_year(year);
        let mut month = 1;
        while day >= month_days(year, month) {
            day -= month_days(year, month);
            month += 1;
        }
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        let clock = format!("{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}", day + 1);
        if self.shows_ms { format!("{clock}.{:03}", ms % 1000) } else { clock }
    }
}
