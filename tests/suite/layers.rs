//! The layers of the crate: a module uses lower ones only, never a sibling, never a higher one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of each layer, lowest first. Whoever adds a module decides its layer here.
const LAYERS: [&[&str]; 8] = [
    &["error", "files", "setters", "kernels"],
    &["torch"],
    &["data", "optim", "metrics", "distributed", "tensor_file"],
    &["nn"],
    &["models"],
    &["weights", "checkpoint", "export"],
    &["train"],
    &["predict", "report"],
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Errors lie under everything, their neighbors included.
fn may_use(user: &str, used: &str) -> bool {
    user == used || (used == "error" && user != "error") || layer(used) < layer(user)
}

/// The source without comments and without what is compiled for unit tests only.
fn shipped_code(source: &str) -> String {
    let lines = source.lines().map(|line| line.split("//").next().unwrap_or_default());
    let mut code = String::new();
    let mut lines = lines.peekable();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            code.push_str(line);
            code.push('\n');
            continue;
        }
        // rustfmt ends the item that follows with a `;`, or with a `}` in the column of its attribute.
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        let is_end = |line: &str| line == end || line.ends_with(';') && line.find(|c| c != ' ') == Some(indent);
        while lines.next().is_some_and(|line| !is_end(line)) {}
    }
    code
}

/// Names of the modules in files of their own that are compiled for unit tests only.
fn test_modules(source: &str) -> Vec<String> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let pairs = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let name = |line: &str| Some(line.rsplit_once("mod ")?.1.strip_suffix(';')?.to_owned());
    pairs.filter_map(|pair| name(pair[1])).collect()
}

/// The first name of each path of a use tree: `a::b` or `{a::b, c::{d, e}}`.
fn first_names(tree: &str) -> Vec<String> {
    let ident = |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let Some(group) = tree.strip_prefix('{') else { return vec![ident(tree)] };
    let mut depth = 0;
    let mut starts = vec![0];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts.push(at + 1),
            _ => {}
        }
    }
    starts.into_iter().map(|start| ident(&group[start..])).filter(|name: &String| !name.is_empty()).collect()
}

/// What follows each path prefix that leads to the crate's root from a module `depth` levels below it.
fn root_names(code: &str, depth: usize) -> Vec<String> {
    let to_root = "super::".repeat(depth);
    let prefixes = ["crate::", &to_root];
    let found = prefixes.iter().flat_map(|prefix| code.match_indices(prefix).map(|(at, _)| (at, prefix.len())));
    let whole = found.filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c)));
    whole.flat_map(|(at, length)| first_names(&code[at + length..])).collect()
}

/// The module that each name at the crate's root comes from.
fn reexports(lib: &str) -> BTreeMap<String, String> {
    let uses = lib.split(';').filter_map(|item| item.trim().rsplit_once("pub use ").map(|(_, path)| path));
    let names = uses.filter_map(|path| path.split_once("::")).flat_map(|(module, tree)| {
        first_names(tree).into_iter().map(|name| (name, module.to_owned())).collect::<Vec<_>>()
    });
    names.collect()
}

/// The uses in one module's code that its layer does not allow.
fn violations(path: &[String], code: &str, reexports: &BTreeMap<String, String>) -> BTreeSet<String> {
    let user = &path[0];
    let used = root_names(code, path.len()).into_iter().filter(|name| name != "super");
    let used = used.map(|name| reexports.get(&name).cloned().unwrap_or(name));
    used.filter(|used| !may_use(user, used)).map(|used| format!("{} uses {used}", path.join("::"))).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| rust_files(folder));
    files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")).chain(below).collect()
}

/// `src/data/loader/mod.rs` is the module `data::loader`.
fn module_path(src: &Path, file: &Path) -> Vec<String> {
    let stem = file.strip_prefix(src).unwrap().with_extension("");
    let names: Vec<String> = stem.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if names.last().is_some_and(|name| name == "mod") { names[..names.len() - 1].to_vec() } else { names }
}

#[test]
fn modules_use_lower_layers_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(src.join("lib.rs")).unwrap();
    let reexports = reexports(&shipped_code(&lib));
    assert_eq!(reexports.get("Trainer").map(String::as_str), Some("train"));
    let files = rust_files(&src).into_iter().filter(|file| *file != src.join("lib.rs"));
    let sources: BTreeMap<Vec<String>, String> =
        files.map(|file| (module_path(&src, &file), fs::read_to_string(file).unwrap())).collect();
    assert!(sources.len() > 50, "only {} modules were found", sources.len());
    let tests = sources
        .iter()
        .flat_map(|(path, source)| test_modules(source).into_iter().map(|name| [path.as_slice(), &[name]].concat()));
    let tests: BTreeSet<Vec<String>> = tests.collect();

    let mut found = BTreeSet::new();
    for (path, source) in sources.iter().filter(|(path, _)| !tests.contains(*path)) {
        assert!(layer(&path[0]).is_some(), "{} has no layer: give it one in this test", path[0]);
        found.extend(violations(path, &shipped_code(source), &reexports));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn upward_and_sibling_uses_are_found_and_comments_and_tests_are_not() {
    let found = |path: &str, source: &str| {
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        let reexports = BTreeMap::from([("Trainer".to_owned(), "train".to_owned())]);
        violations(&path, &shipped_code(source), &reexports).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(found("nn::conv", "use crate::models::Model;\n"), ["nn::conv uses models"]);
    assert_eq!(
        found("nn", "use crate::{\n    error::Error, data::{Batch, Loader},\n    train::Run,\n};\n"),
        ["nn uses train"]
    );
    assert_eq!(found("data::loader", "fn f() -> crate::optim::Sgd {}\n"), ["data::loader uses optim"]);
    assert_eq!(found("data::loader", "use super::super::train::Run;\n"), ["data::loader uses train"]);
    assert_eq!(found("files", "use super::{error, train};\n"), ["files uses train"]);
    assert_eq!(found("nn", "use crate::Trainer;\n"), ["nn uses train"]);
    assert_eq!(found("error", "use crate::files;\n"), ["error uses files"]);

    assert!(
        found("train::save", "use crate::{data::Batch, weights, Error};\nuse super::super::nn::Mode;\n").is_empty()
    );
    assert!(found("data::idx::read", "use super::super::gzip;\nuse crate::data::Batch;\n").is_empty());
    assert!(found("nn", "/// [`Trainer`](crate::train::Trainer)\n// crate::train\npub(crate) fn f() {}\n").is_empty());
    let tests = "#[cfg(test)]\nmod tests {\n    use crate::train::Run;\n    fn f() {\n    }\n}\n";
    assert!(found("nn", tests).is_empty());
    assert_eq!(found("nn", &format!("{tests}use crate::train::Run;\n")), ["nn uses train"]);
    assert!(found("nn", "#[cfg(test)]\nuse crate::train::Run;\n").is_empty());
}
