//! Quantities as people write them: durations, sizes, time zones, points in time. Text in, numbers out, and back.

use std::time::Duration;

use crate::flow::cluster::Start;

/// Longest first, so that a number is shown with the largest unit that divides it.
const DURATION_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Milliseconds below this are taken for seconds by mistake: they lie before March 1973.
const START_MS_MIN: i64 = 100_000_000_000;

/// # Errors
/// What is wrong with the text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    Ok(Duration::from_millis(parse_quantity(text, &DURATION_UNITS)?))
}

/// Bytes.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_size(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    parse_quantity(text, &SIZE_UNITS)
}

pub fn show_duration(duration: Duration) -> String {
    show_quantity(duration.as_millis() as u64, &DURATION_UNITS)
}

pub fn show_size(bytes: u64) -> String {
    if bytes == 0 { "0".into() } else { show_quantity(bytes, &SIZE_UNITS) }
}

fn parse_quantity(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = (&text[..digits_end], text[digits_end..].trim_start());
    let names = units.iter().rev().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if digits.is_empty() {
        return Err("does not begin with a whole number".into());
    }
    if unit.is_empty() {
        return Err(format!("has no unit ({names})"));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("has the unit {unit:?}, which is none of {names}"));
    };
    let number = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor));
    number.ok_or_else(|| "is out of range".into())
}

fn show_quantity(number: u64, units: &[(&str, u64)]) -> String {
    let fits = units.iter().find(|(_, factor)| number > 0 && number.is_multiple_of(*factor));
    let (name, factor) = fits.unwrap_or(&units[units.len() - 1]);
    format!("{}{name}", number / factor)
}

pub fn show_timezone(seconds: i32) -> String {
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// As [`parse_start`] reads it.
pub fn show_start(start: Start) -> String {
    match start {
        Start::Earliest => "earliest".into(),
        Start::Latest => "latest".into(),
        Start::Timestamp(ms) => {
            jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
        }
    }
}

/// A fixed offset `+08:00` (or `Z`), as seconds east of UTC; at most 23:59 either way.
///
/// # Errors
/// What to write instead.
pub fn parse_timezone(text: &str) -> Result<i32, String> {
    let wrong = || "write a fixed offset from UTC such as +08:00, -05:30 or Z".to_string();
    if text == "Z" {
        return Ok(0);
    }
    let digit = |i: usize| text.as_bytes().get(i).filter(|b| b.is_ascii_digit()).map(|b| i32::from(b - b'0'));
    let sign = match text.as_bytes() {
        [b'+', _, _, b':', _, _] => 1,
        [b'-', _, _, b':', _, _] => -1,
        _ => return Err(wrong()),
    };
    let two = |i: usize| Some(digit(i)? * 10 + digit(i + 1)?);
    match (two(1), two(4)) {
        (Some(hours @ 0..=23), Some(minutes @ 0..=59)) => Ok(sign * (hours * 3600 + minutes * 60)),
        _ => Err(wrong()),
    }
}

/// `earliest`, `latest`, or an RFC 3339 timestamp.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_start(text: &str) -> Result<Start, String> {
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        _ => match text.parse::<jiff::Timestamp>() {
            Ok(time) => start_at_ms(time.as_millisecond()),
            Err(_) => Err("is neither earliest, latest nor a time with its zone".into()),
        },
    }
}

/// # Errors
/// What is wrong with the number.
pub fn start_at_ms(ms: i64) -> Result<Start, String> {
    if ms < START_MS_MIN {
        return Err("is before 1973 in milliseconds (are these seconds?)".into());
    }
    Ok(Start::Timestamp(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_shown() {
        let durations = [("1500ms", 1500), ("10s", 10_000), ("5m", 300_000), ("2 h", 7_200_000), ("0s", 0)];
        for (text, ms) in durations {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for (text, bytes) in [("0", 0), ("7B", 7), ("64KiB", 65_536), ("3MiB", 3 << 20), ("1TiB", 1 << 40)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(show_size(bytes), text);
        }
        assert_eq!(show_size(1_048_577), "1048577B");
        assert_eq!(show_duration(Duration::from_millis(90_000)), "90s");
        assert_eq!(show_duration(Duration::from_millis(1_500)), "1500ms");
    }

    #[test]
    fn quantities_without_sense_are_refused() {
        assert!(parse_size("64MB").is_err_and(|e| e.contains("\"MB\"") && e.contains("MiB")));
        assert!(parse_duration("10").is_err_and(|e| e.contains("no unit")));
        assert!(parse_duration("-1s").is_err_and(|e| e.contains("whole number")));
        assert!(parse_duration("1.5s").is_err());
        assert!(parse_duration("10 S").is_err());
        assert!(parse_size("99999999999TiB").is_err_and(|e| e.contains("range")));
    }

    #[test]
    fn time_zones_and_starts() {
        assert_eq!(parse_timezone("+08:00"), Ok(28_800));
        assert_eq!(parse_timezone("-05:30"), Ok(-19_800));
        assert_eq!(parse_timezone("Z"), Ok(0));
        for zone in ["+08:00", "-05:30", "+00:00", "-00:01", "+23:59"] {
            assert_eq!(parse_timezone(zone).map(show_timezone), Ok(zone.into()));
        }
        for start in ["earliest", "latest", "2020-12-17T05:50:43Z", "2020-12-17T05:50:43.123Z"] {
            assert_eq!(parse_start(start).map(show_start), Ok(start.into()));
        }
        for wrong in ["", "8", "+8:00", "+24:00", "+08:60", "08:00", "+0800", "Asia/Shanghai", "+08:0é"] {
            assert!(parse_timezone(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_start("2020-12-17T13:50:43+08:00"), Ok(Start::Timestamp(1_608_184_243_000)));
        assert!(parse_start("2020-12-17").is_err());
        assert!(start_at_ms(1_608_184_243).is_err_and(|e| e.contains("seconds")));
    }
}
