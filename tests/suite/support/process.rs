//! Tests that run once more in a process of their own.

use std::ffi::OsString;
use std::process::Command;

/// This test program and the arguments with which it runs the named test alone.
pub fn only(test: &str) -> [OsString; 3] {
    [std::env::current_exe().unwrap().into(), test.into(), "--exact".into()]
}

/// Runs a command that runs one test, which has to pass, and returns what it printed.
pub fn passes(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    text
}
