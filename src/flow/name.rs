//! File names: the template an operator writes, the route a record takes through it, the name of one file.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotate {
    None,
    Day,
    Hour,
}
