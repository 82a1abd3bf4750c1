//! What others call the variables of a DenseNet.

use std::collections::{BTreeMap, BTreeSet};

/// The variable that a tensor is, by torchvision's names, where a file uses other ones:
///
/// - torchvision's first files: `denselayer1.norm.1.weight` for `denselayer1.norm1.weight`;
/// - efficient_densenet_pytorch: `norm_final` for `norm5`.
fn of_today(name: &str) -> String {
    let mut parts: Vec<&str> = name.split('.').collect();
    let merged;
    let old = parts.windows(3).position(|three| {
        let [layer, module, number] = three else { unreachable!("windows of three") };
        layer.starts_with("denselayer") && matches!(*module, "norm" | "conv") && matches!(*number, "1" | "2")
    });
    if let Some(old) = old {
        merged = parts[old + 1].to_owned() + parts[old + 2];
        parts.splice(old + 1..=old + 2, [merged.as_str()]);
        return of_today(&parts.join("."));
    }
    parts.iter_mut().filter(|part| **part == "norm_final").for_each(|part| *part = "norm5");
    parts.join(".")
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

/// Matches the tensors of a file with a model's variables. Weights may lie in a dictionary of a larger file, or carry the name of a
/// wrapper, such as `module.` or `state_dict.`: what stands before the most names is not a part of them.
pub(super) fn matched(tensors: &[String], variables: &BTreeSet<String>) -> Matched {
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for name in tensors {
        if let Some(prefix) = prefixes(name).find(|prefix| variables.contains(&of_today(&name[prefix.len()..]))) {
            *found.entry(prefix).or_default() += 1;
        }
    }
    let most = found.iter().max_by_key(|(prefix, count)| (**count, usize::MAX - prefix.len()));
    let prefix = most.map_or("", |(prefix, _)| prefix);
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

/// Nothing, and what ends in each dot of a name.
fn prefixes(name: &str) -> impl Iterator<Item = &str> {
    let dots = name.match_indices('.').map(|(dot, _)| &name[..=dot]);
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

    #[test]
    fn names_of_others_become_torchvisions() {
        for (other, own) in [
            ("features.denseblock1.denselayer1.norm.1.weight", "features.denseblock1.denselayer1.norm1.weight"),
            ("features.denseblock4.denselayer16.conv.2.weight", "features.denseblock4.denselayer16.conv2.weight"),
            ("features.norm_final.running_mean", "features.norm5.running_mean"),
            ("features.transition1.norm.weight", "features.transition1.norm.weight"),
            ("features.denseblock1.denselayer2.norm2.bias", "features.denseblock1.denselayer2.norm2.bias"),
            ("classifier.bias", "classifier.bias"),
        ] {
            assert_eq!(of_today(other), own);
        }
    }

    #[test]
    fn a_wrapper_is_what_stands_before_the_most_names() {
        let variables = set(&["a.weight", "a.bias", "b.weight"]);
        for prefix in ["", "module.", "model.", "state_dict.", "checkpoint.model.module._orig_mod."] {
            let tensors: Vec<String> = variables.iter().map(|name| prefix.to_owned() + name).collect();
            let found = matched(&tensors, &variables);
            assert_eq!(found.tensors.values().cloned().collect::<Vec<_>>(), tensors, "{prefix}");
            assert!(found.unexpected.is_empty() && found.ignored.is_empty());
        }
    }

    #[test]
    fn what_is_beside_the_weights_is_ignored_and_what_is_among_them_is_not() {
        let variables = set(&["a.weight", "a.bias", "b.weight"]);
        let tensors = list(&["model.a.weight", "model.a.bias", "model.c", "optimizer.a.weight", "step"]);
        let found = matched(&tensors, &variables);
        assert_eq!(found.tensors.keys().cloned().collect::<Vec<_>>(), ["a.bias", "a.weight"]);
        assert_eq!(found.unexpected, ["model.c"]);
        assert_eq!(found.ignored, ["optimizer.a.weight", "step"]);
        let flat = matched(&list(&["a.weight", "a.num_batches_tracked", "extra"]), &variables);
        assert_eq!((flat.unexpected, flat.ignored), (list(&["extra"]), list(&["a.num_batches_tracked"])));
    }

    #[test]
    fn two_tensors_for_one_variable_are_seen() {
        let variables = set(&["denselayer1.norm1.weight"]);
        let found = matched(&list(&["denselayer1.norm.1.weight", "denselayer1.norm1.weight"]), &variables);
        assert!(found.twice.is_some());
    }
}
