//! Matches the tensors of a file with the variables of a model, under the naming schemes of several libraries.

use std::collections::{BTreeMap, BTreeSet};

/// Converts a tensor's name in any known scheme to the variable's name in torchvision, which this crate uses too:
///
/// - torchvision's first files have `denselayer1.norm.1.weight` for `denselayer1.norm1.weight`;
/// - efficient_densenet_pytorch has `norm_final` for `norm5`.
fn torchvision_name(name: &str) -> String {
    let mut torchvision = String::with_capacity(name.len());
    let mut previous = "";
    let mut parts = name.split('.').peekable();
    while let Some(part) = parts.next() {
        torchvision.push_str(if part == "norm_final" { "norm5" } else { part });
        let in_two_parts = previous.starts_with("denselayer")
            && matches!(part, "norm" | "conv")
            && parts.peek().is_some_and(|next| matches!(*next, "1" | "2"));
        if !in_two_parts && parts.peek().is_some() {
            torchvision.push('.');
        }
        previous = part;
    }
    torchvision
}

/// The tensors of a file, sorted into those that are variables of the model and the others.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Matched {
    /// Names of tensors in the file by the names of their variables.
    pub tensors: BTreeMap<String, String>,
    /// Names of tensors that the model has no variable for.
    pub unexpected: Vec<String>,
    /// Names of batch counters, and of tensors without the prefix.
    pub ignored: Vec<String>,
    /// The names of two tensors that belong to one variable, and of that variable.
    pub duplicate: Option<[String; 3]>,
}

/// Returns the prefix whose removal gives the most names of variables, such as `module.` or `state_dict.`: weights may
/// lie in a dictionary of a larger file, or carry the name of a wrapper.
///
/// # Errors
///
/// Two prefixes that give equally many names.
pub(super) fn common_prefix<'a>(tensors: &'a [String], variables: &BTreeSet<String>) -> Result<&'a str, [String; 2]> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in tensors {
        let is_variable = |prefix: &&str| variables.contains(&torchvision_name(&name[prefix.len()..]));
        if let Some(prefix) = prefixes(name).find(is_variable) {
            *counts.entry(prefix).or_default() += 1;
        }
    }
    let most = counts.values().max().copied().unwrap_or(0);
    let mut best = counts.into_iter().filter(|(_, count)| *count == most).map(|(prefix, _)| prefix);
    match (best.next(), best.next()) {
        (Some(one), Some(other)) => Err([one, other].map(str::to_owned)),
        (one, _) => Ok(one.unwrap_or("")),
    }
}

/// Finds the variable of each tensor whose name has the prefix.
pub(super) fn matched(tensors: &[String], prefix: &str, variables: &BTreeSet<String>) -> Matched {
    let mut matched = Matched::default();
    for name in tensors {
        let Some(own) = name.strip_prefix(prefix) else {
            matched.ignored.push(name.clone());
            continue;
        };
        let variable = torchvision_name(own);
        if variable.ends_with(".num_batches_tracked") {
            matched.ignored.push(name.clone());
        } else if !variables.contains(&variable) {
            matched.unexpected.push(name.clone());
        } else if let Some(first) = matched.tensors.insert(variable.clone(), name.clone()) {
            matched.duplicate = Some([first, name.clone(), variable]);
        }
    }
    matched
}

/// Largest number of parts of a prefix that is tried, so that a name of many dots takes little time.
const MAX_PREFIX_PARTS: usize = 8;

/// Returns all prefixes of a name that are tried: the empty one, and those that end with one of its first dots.
fn prefixes(name: &str) -> impl Iterator<Item = &str> {
    let dots = name.match_indices('.').take(MAX_PREFIX_PARTS).map(|(dot, _)| &name[..=dot]);
    std::iter::once("").chain(dots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn found_in(tensors: &[String], variables: &BTreeSet<String>) -> Matched {
        matched(tensors, common_prefix(tensors, variables).unwrap(), variables)
    }

    #[test]
    fn two_prefixes_of_equally_many_names_are_an_error() {
        let variables = set(&["a.weight", "a.bias"]);
        let tensors = list(&["student.a.weight", "student.a.bias", "teacher.a.weight", "teacher.a.bias"]);
        assert_eq!(common_prefix(&tensors, &variables), Err(["student.", "teacher."].map(str::to_owned)));
        assert_eq!(common_prefix(&tensors[..3], &variables), Ok("student."));
        assert_eq!(matched(&tensors, "teacher.", &variables).ignored.len(), 2);
    }

    #[test]
    fn names_of_other_libraries_become_torchvisions() {
        for (other, own) in [
            ("features.denseblock1.denselayer1.norm.1.weight", "features.denseblock1.denselayer1.norm1.weight"),
            ("features.denseblock4.denselayer16.conv.2.weight", "features.denseblock4.denselayer16.conv2.weight"),
            ("features.norm_final.running_mean", "features.norm5.running_mean"),
            ("features.transition1.norm.weight", "features.transition1.norm.weight"),
            ("features.denseblock1.denselayer2.norm2.bias", "features.denseblock1.denselayer2.norm2.bias"),
            ("classifier.bias", "classifier.bias"),
            ("denselayer1.norm.3.x", "denselayer1.norm.3.x"),
            ("denselayer1.norm", "denselayer1.norm"),
            ("denselayer1.norm.1", "denselayer1.norm1"),
            ("", ""),
            ("..", ".."),
        ] {
            assert_eq!(torchvision_name(other), own);
        }
    }

    #[test]
    fn the_prefix_of_the_most_names_is_found() {
        let variables = set(&["a.weight", "a.bias", "b.weight"]);
        for prefix in ["", "module.", "model.", "state_dict.", "checkpoint.model.module._orig_mod."] {
            let tensors: Vec<String> = variables.iter().map(|name| prefix.to_owned() + name).collect();
            let found = found_in(&tensors, &variables);
            assert_eq!(found.tensors.values().cloned().collect::<Vec<_>>(), tensors, "{prefix}");
            assert!(found.unexpected.is_empty() && found.ignored.is_empty());
        }
    }

    #[test]
    fn tensors_without_the_prefix_are_ignored_and_others_with_it_are_unexpected() {
        let variables = set(&["a.weight", "a.bias", "b.weight"]);
        let tensors = list(&["model.a.weight", "model.a.bias", "model.c", "optimizer.a.weight", "step"]);
        let found = found_in(&tensors, &variables);
        assert_eq!(found.tensors.keys().cloned().collect::<Vec<_>>(), ["a.bias", "a.weight"]);
        assert_eq!(found.unexpected, ["model.c"]);
        assert_eq!(found.ignored, ["optimizer.a.weight", "step"]);
        let flat = found_in(&list(&["a.weight", "a.num_batches_tracked", "extra"]), &variables);
        assert_eq!((flat.unexpected, flat.ignored), (list(&["extra"]), list(&["a.num_batches_tracked"])));
    }

    #[test]
    fn two_tensors_for_one_variable_are_found() {
        let variables = set(&["denselayer1.norm1.weight"]);
        let found = found_in(&list(&["denselayer1.norm.1.weight", "denselayer1.norm1.weight"]), &variables);
        assert!(found.duplicate.is_some());
    }
}
