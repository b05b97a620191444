//! Which files an entry means: a path, or a glob: `*`, `?`, `[...]`, `{a,b}` within a name, `**` for directories.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

/// Directories that one look at a pattern may open.
const DIRS_MAX: usize = 100_000;

/// One entry's files.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// The directories before the first name with a wildcard; for a plain path its directory.
    root: PathBuf,
    parts: Vec<Part>,
    whole: GlobMatcher,
}

#[derive(Debug, Clone)]
enum Part {
    /// `**`: any number of directories.
    Any,
    Name(GlobMatcher),
}

/// What stands where a pattern looks.
#[derive(Debug, Default)]
pub struct Sight {
    /// Every directory that was looked into, and where none is yet, the nearest one above.
    pub dirs: BTreeSet<PathBuf>,
    pub files: Vec<PathBuf>,
    /// Those of them that are symbolic links.
    pub links: Vec<PathBuf>,
    /// What could not be looked into.
    pub refused: Vec<(PathBuf, io::Error)>,
}

impl Pattern {
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn parse(path: &str) -> Result<Pattern, String> {
        let path = std::path::absolute(path).map_err(|e| format!("{path:?} is no path: {e}"))?;
        let text = path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))?;
        let mut root = PathBuf::from("/");
        let mut parts = Vec::new();
        let names: Vec<&str> = path
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => name.to_str(),
                Component::ParentDir => Some(".."),
                _ => None,
            })
            .collect();
        for (at, name) in names.iter().enumerate() {
            let is_plain = !name.contains(['*', '?', '[', '{']);
            if parts.is_empty() && is_plain && at + 1 < names.len() {
                root.push(name);
            } else if *name == "**" {
                parts.push(Part::Any);
            } else {
                parts.push(Part::Name(glob(name)?));
            }
        }
        match parts.last() {
            None => Err(format!("{text:?} names no file; name one, or a glob such as {text}/*.log")),
            Some(Part::Any) => Err(format!("{text:?} ends in '**'; say which files are meant, as in {text}/*.log")),
            Some(Part::Name(_)) => Ok(Pattern { root, parts, whole: glob(text)? }),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn matches(&self, path: &Path) -> bool {
        self.whole.is_match(path)
    }

    /// Looks at the directories; `sight` is added to.
    pub fn look(&self, sight: &mut Sight) {
        let mut above = self.root.as_path();
        while !above.is_dir() {
            match above.parent() {
                Some(parent) => above = parent,
                None => return,
            }
        }
        // What a link on the way leads to is told by the directory that it stands in.
        let links = above.ancestors().filter(|dir| dir.is_symlink());
        sight.dirs.extend(links.filter_map(Path::parent).map(Path::to_path_buf));
        if above == self.root {
            walk(&self.root, &self.parts, sight);
        } else {
            sight.dirs.insert(above.to_path_buf());
        }
    }
}

fn glob(text: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|e| format!("{text:?} is no glob: {}", e.kind()))
}

fn walk(dir: &Path, parts: &[Part], sight: &mut Sight) {
    let Some((first, rest)) = parts.split_first() else { return };
    if let Part::Any = first {
        walk(dir, rest, sight);
    }
    if sight.dirs.len() >= DIRS_MAX {
        return;
    }
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return,
        Err(e) => return sight.refused.push((dir.to_path_buf(), e)),
    };
    sight.dirs.insert(dir.to_path_buf());
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        // A link to a directory is followed where a name means it, and not by `**`, which could go round in circles.
        let is_dir = || kind.is_dir() || kind.is_symlink() && entry.path().is_dir();
        match first {
            Part::Any if kind.is_dir() => walk(&entry.path(), parts, sight),
            Part::Any => {}
            Part::Name(name) if !name.is_match(entry.file_name()) => {}
            Part::Name(_) if rest.is_empty() && !kind.is_dir() => {
                sight.files.push(entry.path());
                sight.links.extend(kind.is_symlink().then(|| entry.path()));
            }
            Part::Name(_) if !rest.is_empty() && is_dir() => walk(&entry.path(), rest, sight),
            Part::Name(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path, pattern: &str) -> Vec<String> {
        let pattern = Pattern::parse(dir.join(pattern).to_str().unwrap()).unwrap();
        let mut sight = Sight::default();
        pattern.look(&mut sight);
        assert!(sight.files.iter().all(|file| pattern.matches(file)), "{sight:?}");
        let below = |file: &PathBuf| file.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<String> = sight.files.iter().map(below).collect();
        names.sort();
        names
    }

    #[test]
    fn globs_find_what_shells_find() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for file in ["a.log", "b.txt", "x/a.log", "x/y/a.log", "x/y/z/c.log"] {
            std::fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
            std::fs::write(dir.join(file), "").unwrap();
        }
        assert_eq!(names(dir, "a.log"), ["a.log"]);
        assert_eq!(names(dir, "*.{log,txt}"), ["a.log", "b.txt"]);
        assert_eq!(names(dir, "*/*.log"), ["x/a.log"]);
        assert_eq!(names(dir, "**/a.log"), ["a.log", "x/a.log", "x/y/a.log"]);
        assert_eq!(names(dir, "x/**/[bc].log"), ["x/y/z/c.log"]);
        // What is not there yet is waited for in the nearest directory.
        let mut sight = Sight::default();
        Pattern::parse(dir.join("p/q/*.log").to_str().unwrap()).unwrap().look(&mut sight);
        assert_eq!(sight.dirs.into_iter().collect::<Vec<_>>(), [dir]);
    }

    #[test]
    fn a_pattern_that_names_no_file_is_refused() {
        for (path, words) in [("/", "names no file"), ("/var/log/**", "say which files"), ("/var/[log", "no glob")] {
            assert!(Pattern::parse(path).unwrap_err().contains(words), "{path}");
        }
    }
}
