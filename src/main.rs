//! The program `logmill`.

fn main() {}
