//! Seeded chance over texts: the same seed gives the same run everywhere.

use crate::support;

pub struct Dice(support::Dice);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(support::Dice(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// 0 to `n - 1`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// One of the words of a text.
    pub fn word<'a>(&mut self, words: &'a str) -> &'a str {
        let choices: Vec<&str> = words.split_whitespace().collect();
        self.pick(&choices)
    }

    /// `least` digits and up to `more` further ones.
    pub fn digits(&mut self, least: usize, more: usize) -> String {
        (0..least + self.below(more + 1)).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }
}
