//! Medians with their spread.

use serde_json::json;

use crate::measure::Run;

/// All runs of one program.
pub struct Row {
    pub name: String,
    /// What it does, or what the cost grows with.
    pub group: String,
    /// Where it stands on that axis.
    pub at: Option<f64>,
    runs: Vec<Run>,
}

/// The middle one of several measurements, and the outermost.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub least: f64,
    pub median: f64,
    pub most: f64,
}

impl Spread {
    pub fn of(all: impl Iterator<Item = f64>) -> Spread {
        let mut all: Vec<f64> = all.collect();
        all.sort_by(f64::total_cmp);
        let at = |i: usize| all.get(i).copied().unwrap_or(f64::NAN);
        Spread { least: at(0), median: at(all.len() / 2), most: at(all.len().saturating_sub(1)) }
    }

    pub fn scaled(self, by: f64) -> Spread {
        Spread { least: self.least * by, median: self.median * by, most: self.most * by }
    }
}

impl Row {
    pub fn new(name: &str, group: &str) -> Row {
        Row { name: name.into(), group: group.into(), at: None, runs: Vec::new() }
    }

    /// Adds a run, and says it.
    pub fn add(&mut self, round: usize, run: Run) {
        eprintln!("round {round}: {} {}: {run}", self.group, self.name);
        self.runs.push(run);
    }

    pub fn cpu_us(&self) -> Spread {
        self.spread(Run::cpu_us)
    }

    pub fn per_second(&self) -> Spread {
        self.spread(Run::per_second)
    }

    pub fn rss_mib(&self) -> Spread {
        self.spread(|run| run.rss_bytes as f64 / f64::from(1 << 20))
    }

    fn written_bytes(&self) -> u64 {
        self.runs.first().map_or(0, |run| run.written_bytes)
    }

    fn spread(&self, of: impl Fn(&Run) -> f64) -> Spread {
        Spread::of(self.runs.iter().map(of))
    }

    /// To runs of the same round.
    fn ratio(&self, other: &Row, of: fn(&Run) -> f64) -> Spread {
        Spread::of(self.runs.iter().zip(&other.runs).map(|(a, b)| of(a) / of(b)))
    }

    pub fn json(&self) -> serde_json::Value {
        let spread = |s: Spread| json!({ "least": s.least, "median": s.median, "most": s.most });
        json!({
            "name": self.name, "group": self.group, "at": self.at, "runs": self.runs.len(),
            "cpu_us_per_record": spread(self.cpu_us()), "records_per_s": spread(self.per_second()),
            "rss_mib": spread(self.rss_mib()), "written_bytes": self.written_bytes(),
        })
    }
}

/// As Markdown. Ratios are to kcat, round by round, where it ran.
pub fn print(rows: &[Row]) {
    let kcat = rows.iter().find(|row| row.name.starts_with("kcat"));
    // Not where all goes into a topic.
    let has_files = rows.iter().any(|row| row.written_bytes() > 0);
    let (word, line) = if has_files { (" written |", "---|") } else { ("", "") };
    println!("| | | CPU-us/record | of kcat's | M records/s | times kcat's | RSS |{word}");
    println!("|---|---|---|---|---|---|---|{line}");
    for row in rows {
        let cell = |s: Spread, scale: f64| {
            format!("{:.2} ({:.2} to {:.2})", s.median / scale, s.least / scale, s.most / scale)
        };
        let ratio = |of: fn(&Run) -> f64| kcat.map_or(String::new(), |kcat| cell(row.ratio(kcat, of), 1.0));
        let written = format!(" {:.2} GB |", row.written_bytes() as f64 / 1e9);
        println!(
            "| {} | {} | {} | {} | {} | {} | {:.0} MiB |{}",
            row.group,
            row.name,
            cell(row.cpu_us(), 1.0),
            ratio(Run::cpu_us),
            cell(row.per_second(), 1e6),
            ratio(Run::per_second),
            row.rss_mib().most,
            if has_files { written.as_str() } else { "" },
        );
    }
}
