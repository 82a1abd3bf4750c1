//! Tests that nothing may disturb, such as those of libtorch's generator, which is the whole process's.

use super::process::{only, passes};
use std::process::Command;

/// Runs the named test once more, alone in a new process, where this is `true`; here it is `false` once that one has passed.
pub fn alone(test: &str) -> bool {
    const ALONE: &str = "DENSENET_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let [program, arguments @ ..] = only(test);
    passes(Command::new(program).args(arguments).env(ALONE, "1"));
    false
}
