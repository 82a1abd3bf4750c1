//! The folders in which data sets are searched.

use etcetera::BaseStrategy;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The environment variable that names a folder with the data set's files.
const FOLDER_VARIABLE: &str = "DENSENET_DATA";

/// Returns the folders to search, in this order: the one that the variable names, the user's cache, Debian's.
pub(super) fn usual_folders(dataset: &str) -> Vec<PathBuf> {
    folders(dataset, std::env::var_os(FOLDER_VARIABLE))
}

fn folders(dataset: &str, named: Option<OsString>) -> Vec<PathBuf> {
    let named = named.filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let packaged = Path::new("/usr/share/datasets").join(dataset);
    named.into_iter().chain(cache_folder(dataset)).chain([packaged]).collect()
}

/// Returns the folder of a data set in the user's cache; `None` without a home folder.
pub(super) fn cache_folder(dataset: &str) -> Option<PathBuf> {
    let places = etcetera::choose_base_strategy().ok()?;
    Some(places.cache_dir().join("densenet").join(dataset))
}

/// Finds the file called `name` below `folder`, under one of its usual names and paths; `nested` is another library's
/// layout.
pub(super) fn find_file(folder: &Path, name: &str, nested: &str) -> Option<PathBuf> {
    let dotted = name.replacen("-idx", ".idx", 1);
    let nested = Path::new(nested).join(name).display().to_string();
    let candidates = [name, &nested, &dotted].map(|name| [folder.join(format!("{name}.gz")), folder.join(name)]);
    candidates.into_iter().flatten().find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn named_folder_comes_before_cache_and_package() {
        let cache = cache_folder("shoes").unwrap();
        let packaged = PathBuf::from("/usr/share/datasets/shoes");
        assert_eq!(folders("shoes", Some("mine".into())), [PathBuf::from("mine"), cache.clone(), packaged.clone()]);
        for unnamed in [None, Some(OsString::new())] {
            assert_eq!(folders("shoes", unnamed), [cache.clone(), packaged.clone()]);
        }
    }

    /// The cache folder in a process with these variables: this test, started again.
    fn cache_with(variables: &[(&str, &str)]) -> String {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "--nocapture",
            "data::locate::tests::cache_is_in_the_home_unless_the_system_says_otherwise",
        ]);
        command.env_remove("HOME").env_remove("XDG_CACHE_HOME").env("DENSENET_TEST_CACHE", "print");
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let folder = text.lines().find_map(|line| line.split_once("cache folder: "));
        folder.unwrap_or_else(|| panic!("no folder in {text}")).1.to_owned()
    }

    #[test]
    fn cache_is_in_the_home_unless_the_system_says_otherwise() {
        if std::env::var_os("DENSENET_TEST_CACHE").is_some() {
            println!("\ncache folder: {}", cache_folder("shoes").unwrap().display());
            return;
        }
        let home = ("HOME", "/home/me");
        assert_eq!(cache_with(&[home, ("XDG_CACHE_HOME", "/cache")]), "/cache/densenet/shoes");
        assert_eq!(cache_with(&[home]), "/home/me/.cache/densenet/shoes");
        assert_eq!(cache_with(&[home, ("XDG_CACHE_HOME", "relative")]), "/home/me/.cache/densenet/shoes");
    }
}
