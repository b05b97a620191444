//! Configurations as operators write them: what they mean, and for each broken one the place and
//! the words that mend it.

mod accepted;
mod refused;

use std::path::PathBuf;

use logmill::conf::config::Deliver;
use logmill::conf::{Loaded, load};
use logmill::flow::problem::Problem;

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

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let settings = dir.path().join("settings");
        std::fs::create_dir(&settings).expect("the settings directory");
        let entry = r##"[{ "log_name": "*", "metadata": { "#account_id": { "field": "role_id" } } }]"##;
        std::fs::write(settings.join("mthinkingdata:metadata.24.json"), entry).expect("the settings");
        Place { dir }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("logmill.toml")
    }

    fn load(&self, text: &str) -> Result<Loaded, Vec<Problem>> {
        let settings = self.dir.path().join("settings");
        std::fs::write(self.file(), text.replace("SETTINGS", &settings.display().to_string())).expect("the file");
        load(&self.file(), None)
    }

    /// As they are printed, without the directory of the test.
    fn shown(&self, problems: &[Problem]) -> Vec<String> {
        let prefix = format!("{}/", self.dir.path().display());
        problems.iter().map(|p| p.to_string().replace(&prefix, "")).collect()
    }
}

fn problems_of(text: &str) -> Vec<String> {
    let place = Place::new();
    match place.load(text) {
        Ok(_) => Vec::new(),
        Err(problems) => place.shown(&problems),
    }
}

fn accepted(text: &str) -> Loaded {
    let place = Place::new();
    place.load(text).unwrap_or_else(|problems| panic!("{:#?}", place.shown(&problems)))
}

fn task(text: &str) -> Deliver {
    accepted(text).config.deliver.remove(0)
}
