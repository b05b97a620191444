//! How long lines waited that carry the time of their writing.

pub const HEADING: &str = "| records | p50 ms | p90 ms | p99 ms | p99.9 ms | worst ms |";
const SENT: &[u8] = b"\"sent_us\":";

/// Cells of a table, from microseconds.
pub fn percentiles(waited: &mut [u64]) -> String {
    waited.sort_unstable();
    let last = waited.len().saturating_sub(1) as f64;
    let at = |part: f64| waited.get((last * part) as usize).map_or(f64::NAN, |us| *us as f64 / 1000.0);
    let [a, b, c, d, e] = [0.5, 0.9, 0.99, 0.999, 1.0].map(at);
    format!("| {} | {a:.2} | {b:.2} | {c:.2} | {d:.2} | {e:.2} |", waited.len())
}

/// When the line was written, in microseconds of the writer's clock.
pub fn sent_us(line: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(line, SENT)? + SENT.len();
    let digits = line[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&line[at..at + digits]).ok()?.parse().ok()
}
