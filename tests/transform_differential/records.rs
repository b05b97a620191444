//! Random records in the language of the rules: chance goes in, texts go out. A record has a shape, so that its like
//! can be drawn again with other values.

use super::dice::Dice;
use super::worlds::LOG_NAMES;

/// A text with holes.
pub struct Shape(Vec<Part>);

enum Part {
    Text(String),
    AppId,
    LogName,
    Id,
    Time,
    Ip,
    Scalar,
}

const NAMES: &str = "id role_id t mtime ip x y v a.b o l x y v abs amount level Ab ab AB server_id very_long_name_1 \
    #os #zone_offset #lib #account_id #time #ip #uuid #foo _bad 9lives a-b é 中文 a\\u0062 \\u0078 \\u0069d \\u0023os \
    headers.extra kafka.offset $serde_json::private::Number a\\n a\\\" \\/";

impl Shape {
    pub fn new(dice: &mut Dice) -> Shape {
        let mut shape = Shape(Vec::new());
        let mut members: Vec<&str> = vec!["headers", "logs"];
        for odd in ["more", "data", "headers", "logs", "h\\u0065aders", "logs ", "id"] {
            if dice.one_in(40) {
                members.insert(dice.below(members.len() + 1), odd);
            }
        }
        if dice.one_in(50) {
            members.remove(dice.below(members.len()));
        }
        if dice.one_in(6) {
            members.reverse();
        }
        shape.text("{");
        for (i, name) in members.iter().enumerate() {
            shape.name(dice, i, name);
            match *name {
                "headers" | "h\\u0065aders" if !dice.one_in(60) => shape.headers(dice),
                "logs" | "data" if !dice.one_in(60) => shape.logs(dice),
                _ => shape.value(dice, 0),
            }
        }
        shape.space(dice);
        shape.text("}");
        shape.space(dice);
        shape
    }

    /// One text of this shape.
    pub fn draw(&self, dice: &mut Dice) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::AppId if dice.one_in(25) => dice.word(r#"25 "024" 24.0 2.4e1 null "7" 7 "24""#).to_string(),
            Part::AppId => dice.word(r#"24 24 24 "24""#).to_string(),
            Part::LogName if dice.one_in(40) => {
                dice.word(r#""" 1 null "unseen" "*" "log_\u0069tem" "un-seen" "log_\u4f60" "\ud83d\ude00""#).to_string()
            }
            Part::LogName => format!("{:?}", dice.word(LOG_NAMES)),
            Part::Id => id(dice),
            Part::Time => time(dice),
            Part::Ip => ip(dice),
            Part::Scalar => scalar(dice),
        };
        self.0.iter().map(part).collect()
    }

    fn text(&mut self, text: &str) {
        if let Some(Part::Text(last)) = self.0.last_mut() {
            last.push_str(text);
        } else {
            self.0.push(Part::Text(text.to_string()));
        }
    }

    fn space(&mut self, dice: &mut Dice) {
        if dice.one_in(40) {
            self.text(dice.pick(&[" ", "\n", "\t", "\r\n", "  "]));
        }
    }

    fn name(&mut self, dice: &mut Dice, place: usize, name: &str) {
        self.space(dice);
        self.text(if place > 0 { "," } else { "" });
        self.space(dice);
        self.text(&format!("\"{name}\""));
        self.space(dice);
        self.text(":");
        self.space(dice);
    }

    fn headers(&mut self, dice: &mut Dice) {
        let mut names = vec!["app_id", "log_name"];
        for odd in ["extra", "app_id", "log_name", "log_n\\u0061me"] {
            if dice.one_in(20) {
                names.insert(dice.below(names.len() + 1), odd);
            }
        }
        self.text("{");
        for (i, name) in names.iter().enumerate() {
            self.name(dice, i, name);
            match *name {
                "app_id" => self.0.push(Part::AppId),
                "log_name" | "log_n\\u0061me" => self.0.push(Part::LogName),
                _ => self.0.push(Part::Scalar),
            }
        }
        self.text("}");
    }

    fn logs(&mut self, dice: &mut Dice) {
        self.text("{");
        let more = dice.below(14);
        let names: Vec<&str> = ["id", "t"].into_iter().chain((0..more).map(|_| dice.word(NAMES))).collect();
        let first = usize::from(dice.one_in(25));
        for (i, name) in names[first..].iter().enumerate() {
            self.name(dice, i, name);
            match (*name, dice.below(10)) {
                ("id" | "role_id" | "\\u0069d", 1..) => self.0.push(Part::Id),
                ("t" | "mtime", 1..) => self.0.push(Part::Time),
                ("ip", 1..) => self.0.push(Part::Ip),
                ("o", 1..) => self.fields(dice),
                _ => self.value(dice, 0),
            }
            self.space(dice);
        }
        if dice.one_in(30) {
            self.text(&extreme(dice));
        }
        self.text("}");
    }

    /// The object that settings look into.
    fn fields(&mut self, dice: &mut Dice) {
        self.text(r#"{"x":"#);
        self.0.push(Part::Scalar);
        if dice.one_in(2) {
            self.text(r#","p":{"q":"#);
            self.value(dice, 1);
            self.text("}");
        }
        self.text("}");
    }

    fn value(&mut self, dice: &mut Dice, depth: usize) {
        let n = dice.below(4);
        match dice.below(10 + 3 * depth) {
            0 => {
                self.text("[");
                for i in 0..n {
                    self.text(if i > 0 { "," } else { "" });
                    self.value(dice, depth + 1);
                    self.space(dice);
                }
                self.text("]");
            }
            1 => {
                self.text("{");
                for i in 0..n {
                    let name = dice.word(NAMES);
                    self.name(dice, i, name);
                    self.value(dice, depth + 1);
                }
                self.text("}");
            }
            _ => self.0.push(Part::Scalar),
        }
    }
}

/// A further member at the edge of some limit.
fn extreme(dice: &mut Dice) -> String {
    let repeated = |n: usize, item: &str| vec![item; n].join(",");
    let value = match dice.below(9) {
        0 => format!(
            r#""{}{}""#,
            "x".repeat(2030 + dice.below(16)),
            dice.word(r"é你😀你 \u4f60\u4f60\u4f60 \n\n\n xxxxxx")
        ),
        1 => format!("[{}]", repeated(498 + dice.below(5), dice.word(r#"1 "a" null"#))),
        2 => format!(r#"[1,"{}{}"]"#, "y".repeat(250), dice.word(r"xxxxx \n\n\n\n\n 你你 xxxxxx 😀 \u4f60\u4f60")),
        3 => {
            let members: Vec<String> = (0..98 + dice.below(5)).map(|i| format!(r#""m{}":{i}"#, i % 101)).collect();
            format!("{{{}}}", members.join(","))
        }
        4 => {
            let depth = 59 + dice.below(6);
            format!("{}{}", "[".repeat(depth), "]".repeat(depth))
        }
        5 => {
            let depth = 59 + dice.below(6);
            format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth))
        }
        6 => format!(r#"[1,1{}{}]"#, dice.digits(250, 10), dice.word(r#",{} ,"a" .5 ,[]"#)),
        7 => format!("1{}", dice.digits(2040, 20)),
        _ => format!(r#""{}""#, dice.word(r"a\n 你 \ud83d\ude00 x").repeat(1000 + dice.below(3000))),
    };
    format!(r#","big":{value}"#)
}

fn id(dice: &mut Dice) -> String {
    match dice.below(30) {
        0 => scalar(dice),
        1 => format!(r#""{}""#, dice.word(r"a 你 \u4f60 \n").repeat(126 + dice.below(5))),
        2 => format!("{}{}", dice.word("1 -1"), dice.digits(124, 5)),
        3 => dice.word(r#""" null -0 0 1.5 1e3"#).to_string(),
        4..16 => format!(r#""acc{}""#, dice.digits(6, 0)),
        _ => format!("6{}", dice.digits(12, 0)),
    }
}

fn time(dice: &mut Dice) -> String {
    match dice.below(14) {
        0 => scalar(dice),
        1 => format!("{}{}", dice.word("1 9"), dice.digits(8, 11)),
        2 => format!("16081{}.{}", dice.digits(5, 0), dice.digits(1, 4)),
        3 => format!(r#""16081{}.{}""#, dice.digits(5, 0), dice.digits(0, 4)),
        4 => format!(r#""16081{}""#, dice.digits(5, 0)),
        5 => format!("16081{}", dice.digits(8, 0)),
        // Near three years back and three days ahead.
        6 => format!("{}{}", dice.word("15134 15135 15136 16084"), dice.digits(5, 0)),
        7..=9 => calendar(dice),
        _ => format!("16081{}", dice.digits(5, 0)),
    }
}

fn calendar(dice: &mut Dice) -> String {
    let number = |dice: &mut Dice, from: usize, to: usize| format!("{:02}", from + dice.below(to - from + 1));
    let year = dice.word("2020 2020 2020 2020 2019 2021 2016 1900 2000 0001 9999 0000 202");
    let month = if dice.one_in(15) { number(dice, 0, 15) } else { number(dice, 1, 12) };
    let day = if dice.one_in(10) { number(dice, 27, 33) } else { number(dice, 1, 28) };
    let hour = if dice.one_in(20) { number(dice, 20, 26) } else { number(dice, 0, 23) };
    let (minute, second) = (number(dice, 0, 59), number(dice, 0, 59));
    let second = if dice.one_in(20) { number(dice, 58, 61) } else { second };
    let separators = if dice.one_in(10) { &["t", "  ", "\\u0020"] } else { &[" ", " ", "T"] };
    let between = dice.pick(separators);
    let fraction = dice.pick(&["", "", "", ".5", ".123456", ".000", ".", ",5", ".1234"]);
    let zone = dice
        .pick(&["", "", "", "Z", "+08:00", "-07:30", "+23:59", "-23:59", "+24:00", "z", "+0800", "+08", "-00:00", "é"]);
    format!(r#""{year}-{month}-{day}{between}{hour}:{minute}:{second}{fraction}{zone}""#)
}

fn ip(dice: &mut Dice) -> String {
    match dice.below(8) {
        0 => scalar(dice),
        1 => format!(
            r#""{}""#,
            dice.word("256.1.1.1 1.2.3 01.2.3.4 fe80::1%eth0 [::1] :: ::1 2001:DB8::1 ::ffff:1.2.3.4 1::2::3 x")
        ),
        2 => format!(r#""{:x}:{:x}::{:x}""#, dice.below(70000), dice.below(70000), dice.below(70000)),
        3 => r#""1\u002e2.3.4""#.to_string(),
        _ => format!(r#""{}.{}.0.{}""#, dice.below(258), dice.below(256), dice.below(256)),
    }
}

fn scalar(dice: &mut Dice) -> String {
    match dice.below(16) {
        0 => dice.word("null true false null").to_string(),
        1 => number(dice),
        2 => dice
            .word(
                "-0 0 1.50 1E3 1e999 -1e-999 9000000000000000 9000000000000001 9007199254740993 0e999 9.0e15 90.01e14",
            )
            .to_string(),
        3 => dice
            .word(r#""" "a" "x" "1" "1.5" "-0" "1E3" "01" "true" "abc" "\u002012" "2ab" "1e309" "-7.9""#)
            .to_string(),
        4..=7 => string(dice),
        8 => dice.word("[] {} [1] {\"a\":1} [[]]").to_string(),
        9 => time(dice),
        _ => format!("{}", dice.below(100_000)),
    }
}

fn number(dice: &mut Dice) -> String {
    let mut number = format!("{}{}{}", dice.pick(&["", "-"]), 1 + dice.below(9), dice.digits(0, 19));
    if dice.one_in(2) {
        number += &format!(".{}", dice.digits(1, 19));
    }
    if dice.one_in(2) {
        number += &format!("{}{}{}", dice.word("e E"), dice.pick(&["", "+", "-"]), dice.digits(1, 2));
    }
    number
}

fn string(dice: &mut Dice) -> String {
    let mut text = String::from("\"");
    for _ in 0..dice.below(12) {
        match dice.below(12) {
            0 => text += dice.word(r#"\" \\ \/ \b \f \n \r \t"#),
            1 => text += &format!("\\u{:04x}", dice.below(0x20)),
            2 => text += &format!("\\u{:04X}", dice.below(0xd800)),
            3 => text += &format!("\\ud8{:02x}\\uDc{:02X}", dice.below(256), dice.below(256)),
            4 => text += dice.pick(&["你", "é", "😀", "\u{7f}", "\u{2028}", "/", "<>&"]),
            _ => text += dice.pick(&["a", "bc", " ", "{", "]", ",", ":", "#", "//", "some text", "0", "'"]),
        }
    }
    text + "\""
}
