//! Damage: a value goes in, the same with flipped, cut, doubled, inserted bytes goes out.

use super::dice::Dice;

const TOKENS: &[&str] = &[
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "0",
    "-",
    ".",
    "e",
    "E5",
    "\\u",
    "\\ud800",
    "\\udc00",
    "\u{feff}",
    "\n",
    " ",
    "\u{0}",
    "NaN",
    "//",
    "{\"a\":1}",
    "\"x\":1,",
    "\\\"",
    "[[[[[[[[",
    "00",
    "1e",
    "\u{b}",
    "你",
    "#",
    "\u{1}",
];

/// `other` is a text to take pieces from.
pub fn mutate(dice: &mut Dice, value: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..1 + dice.below(3) {
        let at = dice.below(value.len() + 1);
        let end = (at + dice.below(12)).min(value.len());
        match dice.below(8) {
            0 if at < value.len() => value[at] ^= 1 << dice.below(8),
            1 if at < value.len() => value[at] = dice.next() as u8,
            2 => value.truncate(at),
            3 => drop(value.drain(at..end)),
            4 => {
                let twice = value[at..end].to_vec();
                value.splice(at..at, twice);
            }
            5 => {
                let from = dice.below(other.len() + 1);
                let to = (from + dice.below(40)).min(other.len());
                value.splice(at..at, other[from..to].iter().copied());
            }
            6 => {
                let from = dice.below(other.len() + 1);
                value.truncate(at);
                value.extend(&other[from..]);
            }
            _ => {
                let token = dice.pick(TOKENS);
                value.splice(at..at, token.bytes());
            }
        }
    }
}
