//! The settings files of all projects of a task, checked and compiled.

use std::path::Path;

use crate::flow::problem::Problem;

/// Immutable: a reload makes a new one.
pub struct Program {}

impl Program {
    /// Reads `mthinkingdata:metadata.<app_id>.json` and `mthinkingdata:filter.<app_id>.json` (`.` for `:` too) of every
    /// project. A missing filter file drops nothing; a missing metadata file leaves the built-in entry and a warning.
    ///
    /// # Errors
    /// Every problem of every file, with its place.
    pub fn load(_dir: &Path, _app_ids: &[String]) -> Result<Program, Vec<Problem>> {
        Ok(Program {})
    }
}
