//! State of the whole process or thread that the crate's code may change in one place only.

use crate::layers::{modules, tree_paths};

/// Modules whose code uses a name, and is not in this list.
fn others_with(name: &str, allowed: &str) -> Vec<String> {
    let uses = |code: &str| {
        let calls = [format!("tch::{name}("), format!("Tensor::{name}(")];
        let imports = code.match_indices("tch::").flat_map(|(at, prefix)| tree_paths(&code[at + prefix.len()..]));
        calls.iter().any(|call| code.contains(call)) || { imports }.any(|path| path == [name])
    };
    let found = modules().into_iter().filter(|(_, code)| uses(code)).map(|(path, _)| path.join("::"));
    found.filter(|path| path != allowed).collect()
}

#[test]
fn libtorchs_generator_is_seeded_for_models_of_ones_own_only() {
    // Whoever needs random numbers makes them from a seed: libtorch's generator belongs to the whole process.
    assert_eq!(others_with("manual_seed", "models::model"), [""; 0]);
}

#[test]
fn gradients_are_turned_off_by_the_guard_that_survives_a_panic_only() {
    // tch's `no_grad` leaves gradients off where a panic passes that the caller catches.
    for name in ["no_grad", "no_grad_guard"] {
        assert_eq!(others_with(name, "torch::no_grad"), [""; 0]);
    }
}
