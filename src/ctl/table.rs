//! Tables of offsets and files, drawn as the service that this program replaces draws them.

use super::protocol::{FileRow, Offset};

const FILE_HEADS: [&str; 8] = ["Task", "File", "Topic", "Position", "Size", "Behind", "State", "Reason"];
const HEADS: [&str; 7] = ["#", "Topic", "Partition", "Low", "High", "Current", "Lag"];

/// The whole table with its last newline.
pub fn offsets(rows: &[Offset]) -> String {
    let cell = |number: Option<i64>| number.map_or_else(|| "-".to_string(), |n| n.to_string());
    let cells: Vec<[String; 7]> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| {
            let Offset { topic, partition, low, high, current, .. } = row;
            let numbers = [*low, *high, *current, row.lag()].map(cell);
            let [low, high, current, lag] = numbers;
            [at.to_string(), topic.clone(), partition.to_string(), low, high, current, lag]
        })
        .collect();
    drawn(&HEADS, &cells)
}

/// Collected files, drawn alike.
pub fn files(rows: &[FileRow]) -> String {
    let cells = rows.iter().map(|row| {
        let FileRow { task, path, topic, position, size, behind, state, reason, .. } = row.clone();
        [task, path, topic, position.to_string(), size.to_string(), behind.to_string(), state, reason]
    });
    drawn(&FILE_HEADS, &cells.collect::<Vec<_>>())
}

fn drawn<const N: usize>(heads: &[&str; N], cells: &[[String; N]]) -> String {
    let width = |column: usize| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.chain([heads[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let border = |corner: char, between: char| {
        let bars: Vec<String> = widths.iter().map(|w| "-".repeat(w + 2)).collect();
        format!("{corner}{}{corner}\n", bars.join(&between.to_string()))
    };
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let centred = |(head, width): (&&str, &usize)| {
        let left = (width - head.len()) / 2;
        format!("{}{head}{}", " ".repeat(left), " ".repeat(width - head.len() - left))
    };
    let mut table = border('.', '.');
    table += &line(heads.iter().zip(&widths).map(centred).collect());
    table += &border('+', '+');
    for row in cells {
        table += &line(row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect());
    }
    table + &border('\'', '\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_old_table_byte_for_byte() {
        let row = |partition, low, high, current| Offset {
            task: "game_24".into(),
            topic: "mulog_clean_24".into(),
            partition,
            low: Some(low),
            high: Some(high),
            current: Some(current),
        };
        let rows =
            [row(0, 6_171_720_626, 6_197_511_755, 6_197_511_494), row(1, 6_169_152_656, 6_197_196_879, 6_197_196_555)];
        let wanted = "\
.---.----------------.-----------.------------.------------.------------.-----.
| # |     Topic      | Partition |    Low     |    High    |  Current   | Lag |
+---+----------------+-----------+------------+------------+------------+-----+
| 0 | mulog_clean_24 | 0         | 6171720626 | 6197511755 | 6197511494 | 261 |
| 1 | mulog_clean_24 | 1         | 6169152656 | 6197196879 | 6197196555 | 324 |
'---'----------------'-----------'------------'------------'------------'-----'
";
        assert_eq!(offsets(&rows), wanted);
    }

    #[test]
    fn what_nobody_knows_is_a_dash_and_heads_lean_left() {
        let row =
            Offset { task: "t".into(), topic: "topics".into(), partition: 0, low: None, high: None, current: Some(5) };
        let wanted = "\
.---.--------.-----------.-----.------.---------.-----.
| # | Topic  | Partition | Low | High | Current | Lag |
+---+--------+-----------+-----+------+---------+-----+
| 0 | topics | 0         | -   | -    | 5       | -   |
'---'--------'-----------'-----'------'---------'-----'
";
        assert_eq!(offsets(&[row]), wanted);
    }
}
