//! The nouns that travel: what every station knows and none owns.

pub mod backoff;
pub mod clock;
pub mod cluster;
pub mod gauge;
pub mod left;
pub mod name;
pub mod problem;
pub mod record;
pub mod span;
pub mod tally;
pub mod xerial;
