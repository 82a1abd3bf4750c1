//! What others call the variables of a DenseNet.

use std::collections::{BTreeMap, BTreeSet};

/// The variable that a tensor is, by torchvision's names, where a file uses other ones:
///
/// - torchvision's first files: `denselayer1.norm.1.weight` for `denselayer1.norm1.weight`;
/// - efficient_densenet_pytorch: `norm_final` for `norm5`.
fn of_today(name: &str) -> String {
    let mut today = String::with_capacity(name.len());
    let mut before = "";
    let mut parts = name.split('.').peekable();
    while let Some(part) = parts.next() {
        today.push_str(if part == "norm_final" { "norm5" } else { part });
        let is_apart = before.starts_with("denselayer") && matches!(part, "norm" | "conv");
        if !(is_apart && parts.peek().is_some_and(|next| matches!(*next, "1" | "2"))) && parts.peek().is_some() {
            today.push('.');
        }
        before = part;
    }
    today
}

/// Which tensors of a file are which variables.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Matched {
    /// The tensors' names by the variables'.
    pub tensors: BTreeMap<String, String>,
    /// Tensors that are no variable of the model.
    pub unexpected: Vec<String>,
    /// Tensors that are not meant to be: counters of batches, and what lies beside the weights in a larger file.
    pub ignored: Vec<String>,
    /// Two tensors and the variable that both are.
    pub twice: Option<[String; 3]>,
}

/// What stands before the variables' names in a file. Weights may lie in a dictionary of a larger file, or carry the name of a
/// wrapper, such as `module.` or `state_dict.`: what stands before the most names is not a part of them.
///
/// Two that stand before as many are an error that names them.
pub(super) fn wrapper<'a>(tensors: &'a [String], variables: &BTreeSet<String>) -> Result<&'a str, [String; 2]> {
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for name in tensors {
        if let Some(prefix) = prefixes(name).find(|prefix| variables.contains(&of_today(&name[prefix.len()..]))) {
            *found.entry(prefix).or_default() += 1;
        }
    }
    let most = found.values().max().copied().unwrap_or(0);
    let mut first = found.into_iter().filter(|(_, count)| *count == most).map(|(prefix, _)| prefix);
    match (first.next(), first.next()) {
        (Some(one), Some(other)) => Err([one, other].map(str::to_owned)),
        (one, _) => Ok(one.unwrap_or("")),
    }
}

/// Which tensors are which variables, behind a wrapper's name.
pub(super) fn matched(tensors: &[String], prefix: &str, variables: &BTreeSet<String>) -> Matched {
    let mut matched = Matched::default();
    for name in tensors {
        let Some(own) = name.strip_prefix(prefix) else {
            matched.ignored.push(name.clone());
            continue;
        };
        let variable = of_today(own);
        if variable.ends_with(".num_batches_tracked") {
            matched.ignored.push(name.clone());
        } else if !variables.contains(&variable) {
            matched.unexpected.push(name.clone());
        } else if let Some(first) = matched.tensors.insert(variable.clone(), name.clone()) {
            matched.twice = Some([first, name.clone(), variable]);
        }
    }
    matched
}

/// How many names of wrappers may stand before a variable's.
const MAX_WRAPPERS: usize = 8;

/// Nothing, and what ends in each of the first dots of a name.
fn prefixes(name: &str) -> impl Iterator<Item = &str> {
    let dots = name.match_indices('.').take(MAX_WRAPPERS).map(|(dot, _)| &name[..=dot]);
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
        matched(tensors, wrapper(tensors, variables).unwrap(), variables)
    }

    #[test]
    fn two_wrappers_of_as_many_names_are_an_error() {
        let variables = set(&["a.weight", "a.bias"]);
        let tensors = list(&["student.a.weight", "student.a.bias", "teacher.a.weight", "teacher.a.bias"]);
        assert_eq!(wrapper(&tensors, &variables), Err(["student.", "teacher."].map(str::to_owned)));
        assert_eq!(wrapper(&tensors[..3], &variables), Ok("student."));
        assert_eq!(matched(&tensors, "teacher.", &variables).ignored.len(), 2);
    }

    #[test]
    fn names_of_others_become_torchvisions() {
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
            assert_eq!(of_today(other), own);
        }
    }

    #[test]
    fn a_wrapper_is_what_stands_before_the_most_names() {
        let variables = set(&["a.weight", "a.bias", "b.weight"]);
        for prefix in ["", "module.", "model.", "state_dict.", "checkpoint.model.module._orig_mod."] {
            let tensors: Vec<String> = variables.iter().map(|name| prefix.to_owned() + name).collect();
            let found = found_in(&tensors, &variables);
            assert_eq!(found.tensors.values().cloned().collect::<Vec<_>>(), tensors, "{prefix}");
            assert!(found.unexpected.is_empty() && found.ignored.is_empty());
        }
    }

    #[test]
    fn what_is_beside_the_weights_is_ignored_and_what_is_among_them_is_not() {
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
    fn two_tensors_for_one_variable_are_seen() {
        let variables = set(&["denselayer1.norm1.weight"]);
        let found = found_in(&list(&["denselayer1.norm.1.weight", "denselayer1.norm1.weight"]), &variables);
        assert!(found.twice.is_some());
    }
}
