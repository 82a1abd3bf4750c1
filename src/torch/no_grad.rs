//! Operations that libtorch does not record for a backward pass.

use tch::no_grad_guard;

/// Runs `body` without recording its operations. Afterwards gradients are what they were before, also where `body`
/// panics and the caller catches the panic: tch's own function leaves them off then.
pub(crate) fn no_grad<T>(body: impl FnOnce() -> T) -> T {
    let _guard = no_grad_guard();
    body()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;
    use tch::{Device, Kind, Tensor};

    /// Whether operations are recorded now.
    fn is_recorded() -> bool {
        let x = Tensor::ones([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        (x * 2.0).requires_grad()
    }

    #[test]
    fn gradients_are_on_again_after_it_also_after_a_panic() {
        assert!(!no_grad(is_recorded) && is_recorded());
        let within = no_grad(|| {
            no_grad(|| ());
            is_recorded()
        });
        assert!(!within && is_recorded());
        assert!(catch_unwind(|| no_grad(|| panic!("out"))).is_err());
        assert!(is_recorded());
    }
}
