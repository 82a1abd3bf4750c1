//! The layers of the crate: a module uses lower ones only, never a sibling or a higher one, and the modules inside of a
//! module do not import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of each layer, lowest first. Whoever adds a module decides its layer here.
const LAYERS: [&[&str]; 8] = [
    &["error", "files", "setters", "kernels"],
    &["torch"],
    &["data", "optim", "metrics", "tensor_file"],
    &["nn"],
    &["models"],
    &["weights", "checkpoint"],
    &["train"],
    &["predict", "report"],
];

/// Circles of imports that are left. A block's configuration makes those of its layers, and a trainer's `fit` starts the loop that
/// trains it.
const KNOWN_CIRCLES: [&str; 2] = ["nn::dense_block and nn::dense_layer", "train::run_loop and train::trainer"];

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

/// The paths of a use tree: `a::b` and `c::d` of `{a::b, c::{d, *}}`, and also `c`.
pub fn tree_paths(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim_start();
    if let Some(group) = tree.strip_prefix('{') {
        return group_items(group).into_iter().flat_map(tree_paths).collect();
    }
    let end = tree.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tree.len());
    let (name, rest) = tree.split_at(end);
    if name.is_empty() {
        return vec![];
    }
    let below = rest.strip_prefix("::").map(tree_paths).unwrap_or_default();
    let below = if below.is_empty() { vec![vec![]] } else { below };
    below.into_iter().map(|path| [vec![name.to_owned()], path].concat()).collect()
}

/// The items of a group whose opening brace is gone.
fn group_items(group: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut items = vec![];
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                items.push(&group[start..at]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    items
}

/// All paths in a module's code that begin with `crate` or `super`, from the crate's root.
fn root_paths(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let is_start = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c));
    let starts = ["crate::", "super::"].into_iter().flat_map(|prefix| code.match_indices(prefix));
    let mut found = vec![];
    for (at, prefix) in starts.filter(|(at, _)| is_start(*at)) {
        let base = if prefix == "crate::" { &[] } else { &module[..module.len() - 1] };
        for path in tree_paths(&code[at + prefix.len()..]) {
            let ups = path.iter().take_while(|name| *name == "super").count();
            // More of them than levels come from a module inside of the file.
            if ups <= base.len() {
                found.push([&base[..base.len() - ups], &path[ups..]].concat());
            }
        }
    }
    found
}

/// What a module's names from modules below it stand for: re-exports and imports, by name.
fn names_from_below(code: &str, module: &[String]) -> BTreeMap<String, Vec<String>> {
    let uses = code.split(';').filter_map(|item| {
        let at = item.rfind("use ")?;
        let before = item[..at].trim_end().rsplit('\n').next().unwrap_or_default().trim();
        (before.is_empty() || before.starts_with("pub") || before.ends_with(']')).then(|| &item[at + 4..])
    });
    let paths = uses.flat_map(|tree| tree_paths(tree.trim_start().trim_start_matches("self::")));
    let below = paths.filter(|path| path.len() > 1 && !["crate", "super"].contains(&path[0].as_str()));
    below.map(|path| (path.last().unwrap().clone(), [module, &path].concat())).collect()
}

/// The uses in one module's code that its layer does not allow.
fn violations(path: &[String], code: &str, reexports: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let user = &path[0];
    let used = root_paths(code, path).into_iter().filter_map(|path| path.into_iter().next());
    let used = used.map(|name| reexports.get(&name).map_or(name, |path| path[0].clone()));
    used.filter(|used| !may_use(user, used)).map(|used| format!("{} uses {used}", path.join("::"))).collect()
}

/// The code of each module by its path, without what is compiled for unit tests only.
pub type Modules = BTreeMap<Vec<String>, String>;

/// The module that a path leads to, re-exports followed. A path to something else leads to the module that has it.
fn resolve(path: &[String], names: &BTreeMap<&[String], BTreeMap<String, Vec<String>>>) -> Vec<String> {
    let mut path = path.to_vec();
    for _ in 0..8 {
        let module = (0..=path.len()).rev().find(|&n| names.contains_key(&path[..n])).unwrap_or(0);
        let target = path.get(module).and_then(|name| names.get(&path[..module])?.get(name));
        match target {
            Some(target) => path = [target.as_slice(), &path[module + 1..]].concat(),
            None => return path[..module].to_vec(),
        }
    }
    path
}

/// Pairs of modules beside each other in one module that need each other, whatever lies between.
fn circles(modules: &Modules) -> BTreeSet<String> {
    let names = modules.iter().map(|(path, code)| (path.as_slice(), names_from_below(code, path))).collect();
    let mut edges: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (user, code) in modules {
        for used in root_paths(code, user).iter().map(|path| resolve(path, &names)) {
            let common = user.iter().zip(&used).take_while(|(a, b)| a == b).count();
            if common > 0 && common < user.len() && common < used.len() {
                edges.entry(user[..=common].to_vec()).or_default().insert(used[..=common].to_vec());
            }
        }
    }
    let reached = |from: &Vec<String>| {
        let mut reached = BTreeSet::new();
        let mut open = vec![from];
        while let Some(module) = open.pop() {
            open.extend(edges.get(module).into_iter().flatten().filter(|next| reached.insert((*next).clone())));
        }
        reached
    };
    let all: BTreeMap<_, _> = edges.keys().map(|module| (module, reached(module))).collect();
    let pairs = all.iter().flat_map(|(from, reached)| reached.iter().map(move |to| (*from, to)));
    let circles = pairs.filter(|(from, to)| from < to && all.get(to).is_some_and(|back| back.contains(*from)));
    circles.map(|(a, b)| format!("{} and {}", a.join("::"), b.join("::"))).collect()
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

/// The crate's modules, without `lib.rs`.
pub fn modules() -> Modules {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&src).into_iter().filter(|file| *file != src.join("lib.rs"));
    let sources: BTreeMap<Vec<String>, String> =
        files.map(|file| (module_path(&src, &file), fs::read_to_string(file).unwrap())).collect();
    assert!(sources.len() > 50, "only {} modules were found", sources.len());
    let tests = sources
        .iter()
        .flat_map(|(path, source)| test_modules(source).into_iter().map(|name| [path.as_slice(), &[name]].concat()));
    let tests: BTreeSet<Vec<String>> = tests.collect();
    let is_test = |path: &[String]| (1..=path.len()).any(|n| tests.contains(&path[..n]));
    let shipped = sources.iter().filter(|(path, _)| !is_test(path));
    shipped.map(|(path, source)| (path.clone(), shipped_code(source))).collect()
}

#[test]
fn modules_use_lower_layers_only() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let reexports = names_from_below(&shipped_code(&lib), &[]);
    assert_eq!(reexports.get("Trainer").map(|path| path[0].as_str()), Some("train"));
    let modules = modules();
    let mut found = BTreeSet::new();
    for (path, code) in &modules {
        assert!(layer(&path[0]).is_some(), "{} has no layer: give it one in this test", path[0]);
        found.extend(violations(path, code, &reexports));
    }
    assert!(found.is_empty(), "{found:#?}");
    for name in LAYERS.concat() {
        assert!(modules.keys().any(|path| path[0] == name), "{name} has a layer, but there is no such module");
    }
}

#[test]
fn modules_inside_of_a_module_do_not_import_each_other_in_a_circle() {
    let found = circles(&modules());
    let known = BTreeSet::from(KNOWN_CIRCLES.map(str::to_owned));
    let new: Vec<_> = found.difference(&known).collect();
    assert!(new.is_empty(), "new circles: {new:#?}");
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(gone.is_empty(), "no longer circles, so take them off the list: {gone:#?}");
}

#[test]
fn upward_and_sibling_uses_are_found_and_comments_and_tests_are_not() {
    let found = |path: &str, source: &str| {
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        let reexports = names_from_below("pub use train::{TrainConfig, Trainer};", &[]);
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

#[test]
fn circles_are_found_through_folders_and_reexports_and_ways_up_are_none() {
    let found = |files: &[(&str, &str)]| {
        let path = |path: &str| path.split("::").map(str::to_owned).collect();
        let modules = files.iter().map(|(name, code)| (path(name), shipped_code(code))).collect();
        circles(&modules).into_iter().collect::<Vec<_>>()
    };
    let (a, b) = ("data::idx::a", "data::idx::b");
    let idx = ("data::idx", "mod a;\nmod b;\npub use b::{Other, Read};\n");
    assert_eq!(
        found(&[idx, (a, "use super::b::Read;\n"), (b, "fn f() -> crate::data::idx::a::Header {}\n")]),
        ["data::idx::a and data::idx::b"]
    );
    assert_eq!(
        found(&[idx, (a, "use super::Read;\n"), (b, "use super::{Other, a::{self, Header}};\n")]),
        ["data::idx::a and data::idx::b"]
    );
    // The circle closes in a folder below, and over a third module.
    let below = ("data::idx::a::deep", "use super::super::c::C;\n");
    assert_eq!(
        found(&[idx, (a, ""), below, (b, "use super::a::A;\n"), ("data::idx::c", "use super::b;\n")]),
        ["data::idx::a and data::idx::b", "data::idx::a and data::idx::c", "data::idx::b and data::idx::c"]
    );

    assert!(found(&[idx, (a, "use super::b::Read;\n"), (b, "use super::super::gzip;\n")]).is_empty());
    assert!(found(&[idx, (a, "use super::Error;\nuse super::b;\n"), (b, "use crate::data::idx::Error;\n")]).is_empty());
    let test = "#[cfg(test)]\nmod tests {\n    use super::super::a::Header;\n}\n";
    assert!(found(&[idx, (a, "use super::b::Read;\n"), (b, test)]).is_empty());
}
