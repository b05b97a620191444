//! The other road: lines of files into topics, on a real broker.

mod away;
mod content;
mod course;
mod exact;
mod once;
mod orders;
mod post;
mod remade;
mod rotation;
mod supervision;
mod torn;
mod watching;
