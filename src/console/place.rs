//! Where the program is: its socket, and its configuration where that is known.

use std::path::{Path, PathBuf};

use super::fault::Fault;
use crate::conf;
use crate::conf::config::Config;
use crate::engine::Load;
use crate::flow::problem::Problem;

/// Where the configuration is looked for; the second place is beside this program.
const USUAL: [&str; 3] = ["conf/logmill.toml", "../conf/logmill.toml", "/etc/logmill/logmill.toml"];

pub struct Place {
    pub socket: PathBuf,
    /// The configuration file and the name of its overlay, unless the socket alone was named.
    config: Option<(PathBuf, Option<String>)>,
}

impl Place {
    /// # Errors
    /// There is no configuration, or its `[process]` is wrong.
    pub fn find(config: Option<PathBuf>, env: Option<String>, socket: Option<PathBuf>) -> Result<Place, Fault> {
        if let Some(socket) = socket {
            return Ok(Place { socket, config: None });
        }
        let path = config.or_else(usual).ok_or_else(|| {
            let places = USUAL.join(", ");
            Fault::Failed(format!("there is no configuration in {places}; name it with --config, or use --socket"))
        })?;
        let process = conf::process(&path, env.as_deref()).map_err(|problems| refused(&path, &problems))?;
        Ok(Place { socket: process.socket, config: Some((path, env)) })
    }

    /// What is meant by the whole configuration; `None` where the socket alone was named.
    ///
    /// # Errors
    /// It is wrong.
    pub fn config(&self) -> Result<Option<Config>, Fault> {
        let Some((path, env)) = &self.config else { return Ok(None) };
        conf::load_config(path, env.as_deref()).map(Some).map_err(|problems| refused(path, &problems))
    }
}

impl Place {
    /// The way to the whole configuration with its settings; `None` where the socket alone was named.
    pub fn load(&self) -> Option<Load> {
        let (path, env) = self.config.clone()?;
        Some(Box::new(move || conf::load(&path, env.as_deref())))
    }
}

fn refused(path: &Path, problems: &[Problem]) -> Fault {
    Fault::Failed(format!("{}{} is refused; mend it, or use --socket", conf::explain(problems), path.display()))
}

fn usual() -> Option<PathBuf> {
    let program = std::env::current_exe().ok();
    let beside = |place: &str| match place.starts_with("..") {
        true => program.as_ref().and_then(|program| Some(program.parent()?.join(place))),
        false => Some(PathBuf::from(place)),
    };
    USUAL.into_iter().filter_map(beside).find(|path| path.is_file())
}
