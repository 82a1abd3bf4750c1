//! Results of two passes through a network, compared tensor by tensor.

use densenet::tch::Tensor;

/// Tensors by name: outputs, gradients, variables.
pub type Pass = Vec<(String, Tensor)>;

/// The tensors of two passes side by side. Fails unless names, shapes and their number are equal.
pub fn pairs<'a>(own: &'a Pass, expected: &'a Pass) -> impl Iterator<Item = (&'a str, &'a Tensor, &'a Tensor)> {
    let names = |pass: &'a Pass| pass.iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(own), names(expected));
    own.iter().zip(expected).map(|((name, own), (_, expected))| {
        assert_eq!(own.size(), expected.size(), "{name}");
        (name.as_str(), own, expected)
    })
}

/// Fails unless all values are equal.
pub fn assert_same(own: &Pass, expected: &Pass, what: &str) {
    for (name, own, expected) in pairs(own, expected) {
        assert!(own.kind() == expected.kind() && own.equal(expected), "{what}: {name}");
    }
}

/// The gradient of a bias before a norm is 0 but for rounding and has no scale of its own.
fn is_zero(name: &str) -> bool {
    name.contains("conv") && name.ends_with("bias")
}

/// Fails where two passes deviate from one another by more than `tolerance` of a tensor's largest value.
pub fn assert_equal(own: &Pass, expected: &Pass, tolerance: f64, what: &str) {
    let most = |tensor: &Tensor| tensor.abs().max().double_value(&[]);
    let largest = expected.iter().map(|(_, tensor)| most(tensor)).fold(0.0, f64::max);
    for (name, own, expected) in pairs(own, expected) {
        let deviation = most(&(own - expected));
        let scale = if is_zero(name) { largest } else { most(expected).max(1e-3 * largest) };
        assert!(deviation <= tolerance * scale, "{what}: {name} deviates by {deviation:e} of {scale:e}");
    }
}

/// Median and maximum over tensors of the relative deviation from `exact`, running statistics apart.
pub fn deviations(own: &Pass, exact: &Pass) -> (f64, f64) {
    let norm = |tensor: &Tensor| tensor.norm().double_value(&[]);
    let compared = pairs(own, exact).filter(|(name, ..)| !is_zero(name) && !name.contains("running"));
    let mut all: Vec<f64> = compared.map(|(_, own, exact)| norm(&(own - exact)) / norm(exact)).collect();
    all.sort_by(f64::total_cmp);
    (all[all.len() / 2], all[all.len() - 1])
}
