//! The `fashion_mnist` example as a user runs it: what it prints, what it leaves, and how it ends.
//!
//! Cargo builds the examples for `cargo test`; for this file alone: `cargo build --example fashion_mnist` first.

#[path = "suite/support/real_data.rs"]
mod real_data;

use densenet::Split;
use real_data::real_data;
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const START: &str = "----------------start------------------";

/// The example with these arguments, separated by spaces.
fn example(arguments: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().with_file_name("examples").join("fashion_mnist");
    assert!(path.exists(), "{} is missing: cargo build --example fashion_mnist", path.display());
    let mut command = Command::new(path);
    // One thread each: threads that wait for each other on a busy machine are slower than one.
    command.env("OMP_NUM_THREADS", "1").args(arguments.split_whitespace());
    command
}

/// Each digit as 0, so that a line shows its form alone.
fn form(line: &str) -> String {
    line.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
}

fn assert_five_files(folder: &Path) {
    let files = ["history.csv", "report.html", "curves.png", "predictions.png", "model.safetensors"];
    for file in files {
        let length = fs::metadata(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}")).len();
        assert!(length > 0, "{file} is empty");
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), files.len(), "nothing else is left");
}

#[test]
fn short_run_prints_the_tutorials_lines_and_leaves_five_files() {
    if real_data(Split::Test).is_none() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("run");
    let arguments = "--epochs 2 --train-limit 128 --test-limit 64 --batch-size 32 --resize 36 --device cpu --out";
    let output = example(arguments).arg(&out).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));

    let lines: Vec<&str> = text.lines().collect();
    let start = lines.iter().position(|line| *line == START).expect("the line that begins the run");
    let (head, run) = lines.split_at(start);
    assert!(head[0].starts_with("densenet ") && head[0].contains("libtorch") && head[0].contains("tch"), "{text}");
    assert!(head[1].starts_with("on cpu, ") && head[1].contains("threads"), "{text}");
    assert!(head[2].starts_with("128 training and 64 test images from "), "{text}");
    assert_eq!(head[3], format!("758226 parameters, results in {}", out.display()));
    let forms: Vec<String> = run[1..4].iter().map(|line| form(line)).collect();
    let metrics = "loss 0.000, train acc 0.000, test acc 0.000";
    assert_eq!(forms, [&format!("[epoch 0] {metrics}"), &format!("[epoch 0] {metrics}"), metrics]);
    assert!(run[1].starts_with("[epoch 1] ") && run[2] == format!("[epoch 2] {}", run[3]), "{text}");
    let seconds = run[4].strip_suffix(" sec, on cpu").expect("seconds and device");
    let (whole, tenths) = seconds.split_once('.').expect("a decimal point");
    assert!(whole.parse::<u32>().is_ok() && tenths.len() == 1 && tenths.parse::<u32>().is_ok(), "{seconds}");
    assert!(run[5].strip_suffix(" images/s").is_some_and(|speed| speed.parse::<f64>().unwrap() > 0.0), "{text}");
    assert_eq!(run[6..], [format!("see {}", out.join("report.html").display())]);
    assert_five_files(&out);
    assert_eq!(fs::read_to_string(out.join("history.csv")).unwrap().lines().count(), 3);
}

/// Checks that it ended before any training with one line of explanation, and gives that line.
fn refusal(output: Output) -> String {
    let [text, errors] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(output.status.code(), Some(1), "{text}{errors}");
    assert!(!text.contains(START), "{text}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.starts_with("error: ") && !errors.contains("panicked"), "{errors}");
    errors
}

#[test]
fn arguments_that_make_no_sense_are_one_line_each_and_train_nothing() {
    if real_data(Split::Test).is_none() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("run");
    for (arguments, parts) in [
        ("--device tpu", ["\"tpu\"", "cuda"]),
        ("--learning-rate nan", ["learning rate", "NaN"]),
        ("--learning-rate 0", ["learning rate", "0"]),
        ("--batch-size 0", ["batch size", "0"]),
        ("--epochs 0", ["epochs", "0"]),
        ("--resize 8", ["8×8", "33×33"]),
        ("--resize 18446744073709551615", ["a side of the input", "pixels"]),
        ("--workers 1000", ["workers", "1000"]),
        ("--train-limit 0", ["no samples", ""]),
        ("--resize 33 --train-limit 65", ["one value per channel", "denseblock4"]),
        ("--data no/such/folder", ["no/such/folder", "--data"]),
    ] {
        let error = refusal(example(arguments).arg("--out").arg(&out).output().unwrap());
        assert!(parts.iter().all(|part| error.contains(part)), "{arguments}: {error}");
    }
}

#[test]
fn a_file_or_another_run_in_the_way_is_one_line_and_stays() {
    if real_data(Split::Test).is_none() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "mine").unwrap();
    let error = refusal(example("--out").arg(&file).output().unwrap());
    assert!(error.contains(file.to_str().unwrap()), "{error}");

    let run = parent.path().join("run");
    fs::create_dir(&run).unwrap();
    fs::write(run.join("model.safetensors"), "weights").unwrap();
    let error = refusal(example("--out").arg(&run).output().unwrap());
    assert!(error.contains("holds a run already"), "{error}");
    assert_eq!(fs::read(file).unwrap(), b"mine");
    assert_eq!(fs::read(run.join("model.safetensors")).unwrap(), b"weights");
}

/// A program behind `| head -n 1`.
#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_does_not_end_the_run() {
    if real_data(Split::Test).is_none() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let limits = "--train-limit 320 --test-limit 64";
    let mut command = example(&format!("--epochs 2 --batch-size 32 --resize 36 --device cpu {limits} --out"));
    command.arg(parent.path().join("run")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let status = end_within(child, Duration::from_secs(120));
    let mut errors = String::new();
    stderr.read_to_string(&mut errors).unwrap();
    assert!(status.success() && !errors.contains("panicked"), "{status:?}: {errors}");
    assert_five_files(&parent.path().join("run"));
    let history = fs::read_to_string(parent.path().join("run/history.csv")).unwrap();
    assert_eq!(history.lines().count(), 3, "both epochs: {history}");
}

/// Whether every flag and positional that `--help` lists is followed by a text.
#[test]
fn every_example_answers_help_with_a_text_for_each_argument() {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.parent().unwrap().with_file_name("examples");
    let names = ["autograd_function", "fashion_mnist", "own_model", "regression", "synthetic", "throughput", "weights"];
    let mut calls: Vec<Vec<&str>> = names.iter().map(|name| vec![*name]).collect();
    calls.extend(["inspect", "convert", "run"].map(|command| vec!["weights", command]));
    for call in calls {
        let output = Command::new(folder.join(call[0])).args(&call[1..]).arg("--help").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("Usage: "), "{call:?}: {text}");
        assert!(!text.starts_with("Usage"), "{call:?} says what it does: {text}");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate() {
            // A text stands behind two spaces at least, or on the next line.
            let is_argument = line.starts_with("--") || line.starts_with("-h") || line.starts_with('<');
            let explained = line.contains("  ") || lines.get(number + 1).is_some_and(|next| !next.is_empty());
            let bare = line.split_once("  ").is_some_and(|(_, text)| text.trim_start().starts_with('['));
            assert!(!is_argument || explained && !bare, "{call:?}: {line}");
        }
    }
}

/// Waits for the end; a program that does not end is killed and the test fails.
fn end_within(mut child: Child, limit: Duration) -> std::process::ExitStatus {
    let started = Instant::now();
    while started.elapsed() < limit {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    panic!("still running after {limit:?}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_in_the_first_epoch_ends_the_run_soon_and_leaves_what_was_reached() {
    if real_data(Split::Test).is_none() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("run");
    let mut command = example("--epochs 100 --batch-size 32 --resize 36 --device cpu --out");
    let mut child = command.arg(&out).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line.trim_end() != START {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "it ended before it started");
    }
    // Long enough for some steps, and much shorter than an epoch of 60,000 images.
    thread::sleep(Duration::from_millis(500));
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    // A step and the report take less than a second; a hundred epochs take hours.
    let status = end_within(child, Duration::from_secs(30));
    assert_eq!(status.code(), Some(130));

    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let lines: Vec<&str> = rest.lines().collect();
    let step = lines[0].strip_prefix("stopped in epoch 1 after step ").and_then(|rest| rest.strip_suffix(" of 1875"));
    assert!(step.is_some_and(|step| (1..1875).contains(&step.parse::<u32>().unwrap())), "{rest}");
    assert_eq!(lines[1..], [format!("see {}", out.join("report.html").display())]);
    assert_five_files(&out);
}

#[test]
fn runs_with_as_many_threads_give_the_same_bits_with_every_instruction_set() {
    if real_data(Split::Test).is_none() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let weights = |threads: usize, simd: &str, run: usize| {
        let out = parent.path().join(format!("{threads}-{simd}-{run}"));
        let arguments = "--epochs 1 --train-limit 192 --test-limit 64 --resize 48 --device cpu --out";
        let mut command = example(arguments);
        command.arg(&out).env("OMP_NUM_THREADS", threads.to_string()).env("DENSENET_SIMD", simd);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(out.join("model.safetensors")).unwrap()
    };
    for threads in [1, 2] {
        let first = weights(threads, "avx512", 0);
        for simd in ["avx512", "avx2", "portable"] {
            assert!(first == weights(threads, simd, 1), "{threads} threads, {simd}");
        }
    }
}

/// Runs a program, and kills it a little after its `lines`-th line that says that the state was saved. Gives the last step that it
/// said was saved, and whether it ended by itself before.
#[cfg(unix)]
fn kill_after(command: &mut Command, lines: usize, then: Duration) -> (u64, bool) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let saved = |line: &str| line.strip_prefix("saved after step ").map(|step| step.parse::<u64>().unwrap());
    let mut last = 0;
    let mut count = 0;
    while count < lines {
        let Some(line) = output.next() else { break };
        if let Some(step) = saved(&line.unwrap()) {
            (last, count) = (step, count + 1);
        }
    }
    thread::sleep(then);
    child.kill().unwrap();
    let ended = std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()) != Some(9);
    // What it had said before the kill.
    last = output.map_while(|line| line.ok()).filter_map(|line| saved(&line)).last().unwrap_or(last);
    (last, ended)
}

/// The lines of a run's history without its times.
#[cfg(unix)]
fn history(folder: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(folder.join("history.csv")).unwrap();
    text.lines().map(|line| line.split(',').take(8).map(str::to_owned).collect()).collect()
}

/// F01 of the faults: kills at random moments, 50 of them, or as many as `DENSENET_KILLS` says.
#[cfg(unix)]
#[test]
fn a_run_killed_at_random_moments_resumes_and_ends_with_the_same_weights() {
    if real_data(Split::Test).is_none() {
        return;
    }
    let kills: usize = std::env::var("DENSENET_KILLS").map_or(50, |kills| kills.parse().unwrap());
    let parent = tempfile::tempdir().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|name| parent.path().join(name));
    // Enough steps that the kills, a few steps each, do not reach the end.
    let train = format!("--train-limit {} --test-limit 32 --epochs 2 --batch-size 8", 8 * (60 + 3 * kills));
    let arguments = format!("{train} --resize 33 --device cpu --learning-rate 0.01");
    assert!(example(&arguments).arg("--out").arg(&whole).output().unwrap().status.success());
    let resumed = || {
        let mut command = example(&arguments);
        command.args(["--resume", "--checkpoint-every-steps", "1", "--out"]).arg(&killed);
        command
    };
    let (mut newest, mut half_written) = (0, 0);
    for kill in 0..kills {
        // Random enough: 0 to 4 saved states, and up to 30 ms more.
        let (lines, then) = (kill * 7919 % 5, Duration::from_micros((kill as u64 * 104_729) % 30_000));
        let (said, ended) = kill_after(&mut resumed(), lines, then);
        assert!(!ended, "it ended before kill {kill}");
        let names =
            fs::read_dir(killed.join("checkpoints")).into_iter().flatten().map(|entry| entry.unwrap().file_name());
        half_written += names.filter(|name| name.to_string_lossy().contains(".tmp-")).count();
        let step = newest_checkpoint(&killed.join("checkpoints"));
        assert!(step >= said && step >= newest, "kill {kill}: {step} is there, {said} and {newest} were");
        newest = step;
    }
    println!("{kills} kills, the last one after step {newest}; {half_written} left a half-written file");
    let output = resumed().output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("resumed in epoch ") && text.contains("[epoch 2] "), "{text}");
    let weights = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert!(weights(&whole) == weights(&killed), "other bits after {kills} kills");
    assert_eq!(history(&whole), history(&killed));
}

#[cfg(unix)]
fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// Starts a program and reads its lines up to the one that begins the run.
#[cfg(unix)]
fn started(command: &mut Command) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(|line| line.ok());
    while lines.next().expect("it begins") != START {}
    (child, lines)
}

#[cfg(unix)]
const SIGNALS: [(&str, i32); 2] = [("-INT", 130), ("-TERM", 143)];

/// F12 of the faults: signals at random moments, many of them in the middle of a save.
#[cfg(unix)]
#[test]
fn a_run_ended_by_signals_saves_and_resumes_and_ends_with_the_same_weights() {
    if real_data(Split::Test).is_none() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let [whole, ended] = ["whole", "ended"].map(|name| parent.path().join(name));
    let arguments = "--train-limit 2400 --test-limit 32 --epochs 1 --batch-size 8 --resize 33 --learning-rate 0.01";
    assert!(example(arguments).arg("--out").arg(&whole).output().unwrap().status.success());
    // Where no step's checkpoint is due, the one that a signal makes is the only one.
    let resumed = |every: &str| {
        let mut command = example(arguments);
        command.args(["--resume", "--checkpoint-every-steps", every, "--out"]).arg(&ended);
        command
    };
    let mut newest = 0;
    for round in 0..16_u64 {
        let (signal, code) = SIGNALS[round as usize % 2];
        let twice = round % 4 > 1;
        let (mut child, lines) = started(&mut resumed(["1", "1000"][round as usize / 4 % 2]));
        thread::sleep(Duration::from_micros(20_000 + round * 104_729 % 60_000));
        send(signal, &child);
        if twice {
            thread::sleep(Duration::from_micros(round * 7919 % 3000));
            send(signal, &child);
        }
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "round {round}: {status:?}");
        let lines: Vec<String> = lines.collect();
        let said =
            lines.iter().filter_map(|line| line.strip_prefix("saved after step ")?.parse::<u64>().ok()).next_back();
        let step = newest_checkpoint(&ended.join("checkpoints"));
        let ended = lines.iter().any(|line| line.starts_with("stopped in epoch 1 "));
        assert!(twice || ended && said == Some(step), "round {round}: {step}, {lines:?}");
        assert!(step >= said.unwrap_or(newest), "round {round}: {step}, {lines:?}");
        newest = step;
    }
    let output = resumed("1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let weights = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert!(weights(&whole) == weights(&ended), "other bits");
}

#[cfg(unix)]
#[test]
fn the_second_signal_does_not_wait_for_the_step() {
    if real_data(Split::Test).is_none() {
        return;
    }
    for (signal, code) in SIGNALS {
        let parent = tempfile::tempdir().unwrap();
        // Its steps take ten seconds and more.
        let arguments = "--epochs 1 --batch-size 4096 --resize 96 --checkpoint-every-steps 1 --out";
        let (child, mut lines) = started(example(arguments).arg(parent.path().join("run")));
        thread::sleep(Duration::from_millis(300));
        send(signal, &child);
        thread::sleep(Duration::from_millis(100));
        send(signal, &child);
        assert_eq!(end_within(child, Duration::from_secs(2)).code(), Some(code));
        assert_eq!(lines.next(), None);
    }
}

/// F13 of the faults.
#[cfg(unix)]
#[test]
fn of_two_runs_in_one_folder_one_names_the_other_and_a_kill_frees_the_folder() {
    if real_data(Split::Test).is_none() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("run");
    let run = || {
        let mut command = example("--epochs 100 --batch-size 32 --resize 36 --checkpoint-every-steps 1 --resume --out");
        command.arg(&out);
        command
    };
    let (mut first, mut lines) = started(&mut run());
    for resume in ["--resume", "--checkpoint-every-steps 1"] {
        let second = format!("--epochs 1 --train-limit 64 --test-limit 32 --resize 33 {resume} --out");
        let error = refusal(example(&second).arg(&out).output().unwrap());
        assert!(error.contains(&format!("in use by process {}", first.id())), "{error}");
    }
    lines.find(|line| line.starts_with("saved after step ")).expect("it continues and saves");
    first.kill().unwrap();
    first.wait().unwrap();
    let (mut next, mut lines) = started(&mut run());
    assert!(lines.next().unwrap().starts_with("resumed in epoch 1 after step "));
    next.kill().unwrap();
    next.wait().unwrap();

    // Both at the same moment, several times.
    for round in 0..5 {
        let out = parent.path().join(format!("race-{round}"));
        let race = || {
            let mut command = example("--epochs 1 --train-limit 640 --test-limit 32 --batch-size 32 --resize 33 --out");
            command.arg(&out).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let outputs = [race(), race()].map(|child| child.wait_with_output().unwrap());
        let refused: Vec<_> = outputs.iter().filter(|output| !output.status.success()).collect();
        assert_eq!(refused.len(), 1, "{outputs:?}");
        assert!(String::from_utf8_lossy(&refused[0].stderr).contains("in use by process "), "{outputs:?}");
        assert_five_files(&out);
    }
}

/// The number of steps in the newest checkpoint of a folder, 0 where there is none. Its SHA-256, which is that of the file with zeros
/// in the digest's own place, has to be right.
fn newest_checkpoint(folder: &Path) -> u64 {
    let names =
        fs::read_dir(folder).into_iter().flatten().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let Some(newest) = names.filter(|name| name.starts_with("checkpoint-")).max() else { return 0 };
    let mut bytes = fs::read(folder.join(&newest)).unwrap();
    let metadata = SafeTensors::read_metadata(&bytes).unwrap().1.metadata().clone().unwrap();
    let state: serde_json::Value = serde_json::from_str(&metadata["densenet"]).unwrap();
    let before = br#"{\"digest\":\""#;
    let place = bytes.windows(before.len()).position(|window| window == before).expect("a digest") + before.len();
    let digest = bytes[place..place + 64].to_vec();
    bytes[place..place + 64].fill(b'0');
    assert_eq!(hex::encode(Sha256::digest(&bytes)).into_bytes(), digest, "{newest}");
    state["state"]["progress"]["steps"].as_u64().unwrap()
}
