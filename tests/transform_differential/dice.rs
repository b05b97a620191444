//! Seeded chance: the same seed gives the same run everywhere (splitmix64).

pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
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
