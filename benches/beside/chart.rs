//! The medians as pictures: SVG, readable on light and on dark ground.

use std::fmt::Write;

use crate::table::{Row, Spread};

const WIDTH: f64 = 860.0;
const NAMES: f64 = 240.0;
const BAR: f64 = 22.0;
const STYLE: &str = "<style>text{font:13px sans-serif;fill:#57606a}.h{font-weight:bold}.a{fill:#2da44e}.b{fill:#8c959f}\
                     .l{stroke:#2da44e;stroke-width:2;fill:none}.s{stroke:#57606a;stroke-width:1}</style>";

/// Bars: processor time, speed; logmill's in another colour.
pub fn beside(rows: &[Row]) -> String {
    let mut body = String::new();
    let (mut y, panel) = (20.0, (WIDTH - NAMES - 90.0) / 2.0);
    let left = [NAMES, NAMES + panel + 60.0];
    for (x, title) in left.iter().zip(["CPU µs a record (less is better)", "M records/s (more is better)"]) {
        let _ = write!(body, r#"<text class="h" x="{x}" y="{y}">{title}</text>"#);
    }
    let columns: [fn(&Row) -> Spread; 2] = [Row::cpu_us, |row| row.per_second().scaled(1e-6)];
    let most = columns.map(|column| rows.iter().map(|row| column(row).most).fold(0.0, f64::max));
    y += 14.0;
    for row in rows {
        let class = if row.name.starts_with("logmill") { "a" } else { "b" };
        let middle = y + BAR * 0.7;
        let name = escaped(&format!("{} ({})", row.name, row.group));
        let _ = write!(body, r#"<text x="{}" y="{middle}" text-anchor="end">{name}</text>"#, NAMES - 8.0);
        for ((x, column), most) in left.iter().zip(columns).zip(most) {
            let spread = column(row);
            let wide = |value: f64| x + value / most * panel;
            let _ = write!(
                body,
                r#"<rect class="{class}" x="{x}" y="{y}" width="{:.1}" height="{}"/><line class="s" x1="{:.1}" x2="{:.1}" y1="{m}" y2="{m}"/><text x="{:.1}" y="{middle}">{:.2}</text>"#,
                wide(spread.median) - x,
                BAR - 6.0,
                wide(spread.least),
                wide(spread.most),
                wide(spread.most) + 5.0,
                spread.median,
                m = y + BAR / 2.0 - 3.0,
            );
        }
        y += BAR;
    }
    document(y + 10.0, &body)
}

/// A curve for each thing that cost grows with: processor time over its steps.
pub fn growth(rows: &[Row]) -> String {
    let (mut body, mut y) = (String::new(), 24.0);
    let high = 90.0;
    for group in rows.chunk_by(|a, b| a.group == b.group) {
        let title = escaped(&format!("CPU µs a record over {}", group[0].group));
        let _ = write!(body, r#"<text class="h" x="60" y="{y}">{title}</text>"#);
        let most = group.iter().map(|row| row.cpu_us().most).fold(0.0, f64::max);
        let step = (WIDTH - 160.0) / group.len() as f64;
        let mut line = String::new();
        for (i, row) in group.iter().enumerate() {
            let (x, spread) = (60.0 + step * (i as f64 + 0.3), row.cpu_us());
            let up = |value: f64| y + 14.0 + high * (1.0 - value / most);
            let _ = write!(line, "{x:.1},{:.1} ", up(spread.median));
            let _ = write!(
                body,
                r#"<line class="s" x1="{x:.1}" x2="{x:.1}" y1="{:.1}" y2="{:.1}"/><text x="{:.1}" y="{:.1}">{:.2} µs, {:.0} MiB</text><text x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                up(spread.least),
                up(spread.most),
                x + 6.0,
                up(spread.median) - 4.0,
                spread.median,
                row.rss_mib().most,
                y + high + 32.0,
                row.name,
            );
        }
        let _ = write!(body, r#"<polyline class="l" points="{}"/>"#, line.trim());
        y += high + 62.0;
    }
    document(y, &body)
}

fn document(height: f64, body: &str) -> String {
    format!(r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">{STYLE}{body}</svg>"#) + "\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
