//! Configurations as operators write them: what they mean, and for each broken one the place and
//! the words that mend it.

mod accepted;
mod refused;

use std::path::PathBuf;

use logmill::conf::config::Deliver;
use logmill::conf::{Loaded, load};
use logmill::flow::problem::Problem;

use crate::support::Place;

/// A task that runs; what a case adds begins at line 10 and belongs to it.
const TASK_LINES: &str = r#"[cluster.default]
brokers = "localhost:9092"

[deliver.game]
topics = ["a"]
group_id = "g"
app_ids = [24]
settings_dir = "SETTINGS"
dir = "out"
"#;

impl Place {
    fn file(&self) -> PathBuf {
        self.path("logmill.toml")
    }

    fn load(&self, text: &str) -> Result<Loaded, Vec<Problem>> {
        let settings = self.path("settings");
        self.write("logmill.toml", &text.replace("SETTINGS", &settings.display().to_string()));
        load(&self.file(), None)
    }

    /// As they are printed, without the directory of the test.
    fn said(&self, problems: &[Problem]) -> Vec<String> {
        let prefix = self.path("").display().to_string();
        problems.iter().map(|p| p.to_string().replace(&prefix, "")).collect()
    }
}

fn problems_of(text: &str) -> Vec<String> {
    let place = Place::new("");
    match place.load(text) {
        Ok(_) => Vec::new(),
        Err(problems) => place.said(&problems),
    }
}

fn accepted(text: &str) -> Loaded {
    let place = Place::new("");
    place.load(text).unwrap_or_else(|problems| panic!("{:#?}", place.said(&problems)))
}

fn task(text: &str) -> Deliver {
    accepted(text).config.deliver.remove(0)
}
