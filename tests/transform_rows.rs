//! Every row of every table of the transform's rules, one test each: settings and records in, literal ends out. The
//! library and the reference must both give the literal.

mod bench;
mod codec;
mod delivery;
mod filters;
mod form;
mod order;
mod properties;
mod settings;
mod time;
