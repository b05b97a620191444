//! The redo ring and the writers' slots: what a task owes its files survives the process in shared maps.
//!
//! A reader publishes entries into its ring; published means: it will be in the files exactly once. A writer notes in
//! its slot what it is about to append before it appends, and what is applied after. After a kill, [`recover`] reads
//! both and tells what is still owed. The order of stores is the whole point: every publishing store has a compiler
//! fence on both sides, because a release store does not keep later stores from moving up.

mod guard;
pub mod layout;
#[cfg(test)]
mod model;
pub mod peek;
pub mod publish;
pub mod recover;
pub mod set;
pub mod slot;
#[cfg(test)]
mod tests;
