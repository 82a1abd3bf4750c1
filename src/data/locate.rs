//! Where data sets lie on a machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The variable that names a folder with the data set's files.
const FOLDER_VARIABLE: &str = "DENSENET_DATA";

/// The folders to look at, in this order: the one that the variable names, the user's cache, Debian's.
pub(super) fn usual_folders(dataset: &str) -> Vec<PathBuf> {
    folders(dataset, |name| std::env::var_os(name))
}

/// The folder for a data set in the user's cache, where there is a home.
#[cfg(feature = "download")]
pub(super) fn cache_folder(dataset: &str) -> Option<PathBuf> {
    cache(dataset, &|name| std::env::var_os(name))
}

fn folders(dataset: &str, variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let named = variable(FOLDER_VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let packaged = Path::new("/usr/share/datasets").join(dataset);
    named.into_iter().chain(cache(dataset, &variable)).chain([packaged]).collect()
}

/// The XDG base directory specification wants relative paths in its variables ignored.
fn cache(dataset: &str, variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let root = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(root.join("densenet").join(dataset))
}

/// The file called `name` below `folder`, in one of the ways in which people keep it; `nested` is another library's layout.
pub(super) fn find_file(folder: &Path, name: &str, nested: &str) -> Option<PathBuf> {
    let dotted = name.replacen("-idx", ".idx", 1);
    let nested = Path::new(nested).join(name).display().to_string();
    let candidates = [name, &nested, &dotted].map(|name| [folder.join(format!("{name}.gz")), folder.join(name)]);
    candidates.into_iter().flatten().find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders_with(variables: &[(&str, &str)]) -> Vec<String> {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        folders("shoes", variable).iter().map(|folder| folder.display().to_string()).collect()
    }

    #[test]
    fn named_folder_comes_before_cache_and_package() {
        let all = folders_with(&[("DENSENET_DATA", "mine"), ("XDG_CACHE_HOME", "/cache"), ("HOME", "/home/me")]);
        assert_eq!(all, ["mine", "/cache/densenet/shoes", "/usr/share/datasets/shoes"]);
    }

    #[test]
    fn cache_is_in_the_home_unless_the_system_says_otherwise() {
        let home = ["/home/me/.cache/densenet/shoes", "/usr/share/datasets/shoes"];
        assert_eq!(folders_with(&[("HOME", "/home/me")]), home);
        assert_eq!(folders_with(&[("HOME", "/home/me"), ("XDG_CACHE_HOME", "relative"), ("DENSENET_DATA", "")]), home);
        assert_eq!(folders_with(&[]), ["/usr/share/datasets/shoes"]);
    }
}
