//! Tests that need a process of their own.

use std::process::Command;

/// Runs the named test once more, alone in a new process, where this is `true`; here it is `false` once that one has passed.
pub fn alone(test: &str) -> bool {
    const ALONE: &str = "DENSENET_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args([test, "--exact"]).env(ALONE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}
