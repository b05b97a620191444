//! The table of `#time`.

use logmill::transform::Options;

use super::bench::Bench;

const FALLBACK: &[(&str, u64)] = &[("time_fallback", 1)];
const FAR: &[(&str, u64)] = &[("time_out_of_range", 1)];

/// What stands where no source is usable: the Kafka timestamp, to the second.
const KAFKA: &str = "2020-12-17 13:52:41";

fn bench(options: Options) -> Bench {
    let mut bench = Bench::entry("track", "", options);
    bench.timestamp_ms = 1_608_184_361_999;
    bench
}

/// A source, the time it gives, the remarks.
type Case<'a> = (&'a str, &'a str, &'a [(&'static str, u64)]);

fn check_all(cases: &[Case<'_>]) {
    let mut bench = bench(Options::default());
    for (source, time, remarks) in cases {
        bench.check_time(source, time, remarks);
    }
}

#[test]
fn integers_are_seconds_milliseconds_or_microseconds() {
    check_all(&[
        ("1608184243", "2020-12-17 13:50:43", &[]),
        (r#""1608184243""#, "2020-12-17 13:50:43", &[]),
        ("1608184243045", "2020-12-17 13:50:43.045", &[]),
        (r#""1608184243000""#, "2020-12-17 13:50:43.000", &[]),
        ("1608184243045999", "2020-12-17 13:50:43.045", &[]),
        ("1", "1970-01-01 08:00:01", FAR),
        ("99999999999", "5138-11-16 17:46:39", FAR),
        ("100000000000", "1973-03-03 17:46:40.000", FAR),
        ("99999999999999", "5138-11-16 17:46:39.999", FAR),
        ("100000000000000", "1973-03-03 17:46:40.000", FAR),
        ("99999999999999999", "5138-11-16 17:46:39.999", FAR),
    ]);
}

#[test]
fn other_integers_are_unusable() {
    for source in ["0", "-0", "-1608184243", "100000000000000000", "160818424300000000000000", r#""01608184243""#] {
        bench(Options::default()).check_time(source, KAFKA, FALLBACK);
    }
    for source in [r#""-1608184243""#, r#""+1608184243""#, r#"" 1608184243""#, r#""0""#] {
        bench(Options::default()).check_time(source, KAFKA, FALLBACK);
    }
}

#[test]
fn decimal_numbers_are_seconds() {
    check_all(&[
        ("1608184243.5", "2020-12-17 13:50:43.500", &[]),
        ("1608184243.0459", "2020-12-17 13:50:43.045", &[]),
        (r#""1608184243.00""#, "2020-12-17 13:50:43.000", &[]),
        (r#""01608184243.25""#, "2020-12-17 13:50:43.250", &[]),
        ("1.999999", "1970-01-01 08:00:01.999", FAR),
        ("99999999999.9", "5138-11-16 17:46:39.900", FAR),
        ("0.999", KAFKA, FALLBACK),
        ("-5.5", KAFKA, FALLBACK),
        ("100000000000.5", KAFKA, FALLBACK),
        ("1608184243.5e0", KAFKA, FALLBACK),
        ("1.608184243E9", KAFKA, FALLBACK),
        ("1608184243e0", KAFKA, FALLBACK),
        (r#""1608184243.""#, KAFKA, FALLBACK),
        (r#"".5""#, KAFKA, FALLBACK),
        (r#""000000000001.5""#, KAFKA, FALLBACK),
        (r#""1608184243.5e0""#, KAFKA, FALLBACK),
    ]);
}

#[test]
fn calendar_times_are_kept() {
    check_all(&[
        (r#""2020-12-17 13:51:44""#, "2020-12-17 13:51:44", &[]),
        (r#""2020-12-17T13:51:44""#, "2020-12-17 13:51:44", &[]),
        (r#""2020-12-17 13:51:44.5""#, "2020-12-17 13:51:44.500", &[]),
        (r#""2020-12-17 13:51:44.123999""#, "2020-12-17 13:51:44.123", &[]),
        (r#""2020-02-29 23:59:59""#, "2020-02-29 23:59:59", &[]),
        (r#""0001-01-01 00:00:00""#, "0001-01-01 00:00:00", FAR),
        (r#""9999-12-31 23:59:59.999""#, "9999-12-31 23:59:59.999", FAR),
        (r#""2000-02-29 00:00:00""#, "2000-02-29 00:00:00", FAR),
    ]);
}

#[test]
fn calendar_times_with_a_zone_are_converted() {
    check_all(&[
        (r#""2020-12-17T05:51:44Z""#, "2020-12-17 13:51:44", &[]),
        (r#""2020-12-17 05:51:44.12Z""#, "2020-12-17 13:51:44.120", &[]),
        (r#""2020-12-17 13:51:44+08:00""#, "2020-12-17 13:51:44", &[]),
        (r#""2020-12-16 22:21:44-07:30""#, "2020-12-17 13:51:44", &[]),
        (r#""2020-12-17 20:00:00-00:00""#, "2020-12-18 04:00:00", &[]),
        (r#""2020-12-17 23:59:00+23:59""#, "2020-12-17 08:00:00", &[]),
    ]);
}

#[test]
fn other_texts_are_unusable() {
    let texts = "2020-13-01 00:00:00|2020-00-01 00:00:00|2020-04-31 00:00:00|2019-02-29 00:00:00|1900-02-29 00:00:00|\
        2020-12-17 24:00:00|2020-12-17 13:60:00|2020-12-17 13:51:60|2020-12-17t13:51:44|2020-12-17 13:51:44z|\
        2020-12-17 13:51:44+24:00|2020-12-17 13:51:44+08:60|2020-12-17 13:51:44+0800|2020-12-17 13:51:44+08|\
        2020-12-17 13:51:44.|2020-12-17 13:51:44.Z|2020-12-17 13:51:44 |\
        2020-12-17  13:51:44|2020-12-17|2020-12-17 13:51|\
        0000-01-01 00:00:00|02020-12-17 13:51:44|+2020-12-17 13:51:44|20-12-17 13:51:44|2020/12/17 13:51:44|\
        2020-12-17 13:51:44 Z|2020-12-17 13:51:44,5|2020-12-17 13:51:4४|yesterday|2020-12-00 00:00:00";
    for text in texts.split('|') {
        bench(Options::default()).check_time(&format!("{text:?}"), KAFKA, FALLBACK);
    }
}

#[test]
fn other_kinds_are_unusable() {
    for source in ["", "null", r#""""#, "true", "[1608184243]", r#"{"a":1608184243}"#] {
        bench(Options::default()).check_time(source, KAFKA, FALLBACK);
    }
}

#[test]
fn an_unusable_or_missing_time_takes_the_default() {
    let defaulted = |default: &str| {
        let metadata = format!(
            r##"[{{"log_name":"e","exclude":["id","t","m"],"metadata":{{"#account_id":{{"field":"id"}},
            "#time":{{"field":"t","default":{default}}}}}}}]"##
        );
        let mut bench = Bench::new(&metadata, "", Options::default());
        bench.timestamp_ms = 1_608_184_361_999;
        bench
    };
    for source in ["", "0", r#""soon""#, "null", "[]"] {
        defaulted("1608184243").check_time(source, "2020-12-17 13:50:43", &[]);
        defaulted(r#""2020-12-17 01:02:03""#).check_time(source, "2020-12-17 01:02:03", &[]);
        defaulted(r#""later""#).check_time(source, KAFKA, FALLBACK);
        defaulted("true").check_time(source, KAFKA, FALLBACK);
    }
    defaulted(r#""{m}""#).check_time(r#"0,"m":1608184243"#, "2020-12-17 13:50:43", &[]);
    defaulted(r#""{m}""#).check_time("0", KAFKA, FALLBACK);
}

#[test]
fn without_a_kafka_timestamp_the_clock_is_taken() {
    let mut bench = bench(Options::default());
    bench.timestamp_ms = -1;
    bench.check_time("", "2020-12-17 13:52:40", FALLBACK);
}

#[test]
fn the_fallback_can_be_the_clock() {
    bench(Options { time_fallback_now: true, ..Options::default() }).check_time("", "2020-12-17 13:52:40", FALLBACK);
}

#[test]
fn an_old_kafka_timestamp_is_out_of_range_too() {
    let mut bench = bench(Options::default());
    bench.timestamp_ms = 1_000_000;
    let both = [("time_fallback", 1), ("time_out_of_range", 1)];
    bench.check_time("", "1970-01-01 08:16:40", &both);
}

#[test]
fn the_range_is_three_years_back_and_three_days_ahead() {
    check_all(&[
        (r#""2017-12-20 13:52:40""#, "2017-12-20 13:52:40", &[]),
        (r#""2017-12-15 13:52:40""#, "2017-12-15 13:52:40", FAR),
        (r#""2020-12-20 13:52:40""#, "2020-12-20 13:52:40", &[]),
        (r#""2020-12-20 13:52:40.124""#, "2020-12-20 13:52:40.124", FAR),
    ]);
}

#[test]
fn the_zone_is_the_tasks() {
    let mut west = bench(Options { timezone_s: -(3 * 3600 + 1800), ..Options::default() });
    west.check_time("1608184243", "2020-12-17 02:20:43", &[]);
    west.check_time(r#""2020-12-17 05:51:44Z""#, "2020-12-17 02:21:44", &[]);
    west.check_time(r#""2020-12-17 05:51:44""#, "2020-12-17 05:51:44", &[]);
    west.check_time("", "2020-12-17 02:22:41", FALLBACK);
    // Beyond the years that can be written there is no time.
    west.check_time(r#""0001-01-01 03:29:59Z""#, "2020-12-17 02:22:41", FALLBACK);
    west.check_time(r#""0001-01-01 03:30:00Z""#, "0001-01-01 00:00:00", FAR);
    west.check_time(r#""9999-12-31 23:59:59-03:30""#, "9999-12-31 23:59:59", FAR);
    west.check_time(r#""9999-12-31 23:59:59-03:31""#, "2020-12-17 02:22:41", FALLBACK);
}
