//! Memory of a run that was resumed, beside that of one that was not. A binary of its own, which starts itself once for each: what is
//! measured is the whole process.

use densenet::data::SyntheticConfig;
use densenet::optim::AdamWConfig;
use densenet::tch::{self, nn::VarStore};
use densenet::train::{Callback, CheckpointConfig, Datasets, Event, Resume, Run, SaveEvery};
use densenet::{DenseNetConfig, Result, TrainConfig, Trainer};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

const RUN: &str = "DENSENET_TEST_RUN";
const FOLDER: &str = "DENSENET_TEST_FOLDER";

/// Ends the run after some steps and prints the process's memory in KiB then: what it has, and the most that it had. The checkpoint
/// of the end is not counted.
struct Report {
    steps_left: usize,
}

impl Callback for Report {
    fn on_event(&mut self, event: &Event, _: &Run) -> Result<ControlFlow<()>> {
        let Event::StepEnded { .. } = event else { return Ok(ControlFlow::Continue(())) };
        self.steps_left -= 1;
        if self.steps_left > 0 {
            return Ok(ControlFlow::Continue(()));
        }
        let status = fs::read_to_string("/proc/self/status").expect("Linux's file of a process's memory");
        for name in ["VmRSS:", "VmHWM:"] {
            let line = status.lines().find(|line| line.starts_with(name)).expect("a line of it");
            println!("{line}");
        }
        Ok(ControlFlow::Break(()))
    }
}

/// Trains DenseNet-121 with AdamW, whose checkpoint has 96 MB, for some steps.
fn run(kind: &str, folder: &Path) {
    densenet::tune_allocator().unwrap();
    tch::set_num_threads(1);
    let vs = VarStore::new(tch::Device::Cpu);
    let model = DenseNetConfig::new(10).build(&vs.root()).unwrap();
    let optimizer = AdamWConfig::new(1e-4).build(&vs).unwrap();
    let resume = if kind == "fresh" { Resume::Never } else { Resume::IfPresent };
    let checkpoints = CheckpointConfig::in_folder(folder).with_every(SaveEvery::Steps(1000)).with_resume(resume);
    let mut trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(1).with_batch_size(16))
        .unwrap()
        .with_callback(Report { steps_left: 3 })
        .with_checkpoints(checkpoints);
    let samples = SyntheticConfig::new(160).with_sample_shape([3, 64, 64]);
    trainer.fit(&Datasets::new(&samples.build().unwrap())).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_resumed_run_needs_no_more_memory_than_a_fresh_one() {
    if let Ok(kind) = std::env::var(RUN) {
        run(&kind, Path::new(&std::env::var_os(FOLDER).unwrap()));
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let memory_of = |kind: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("--nocapture").env(RUN, kind).env(FOLDER, parent.path().join("run"));
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        ["VmRSS:", "VmHWM:"].map(|name| {
            let number = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
            number.expect("what `Report` printed").parse::<f64>().unwrap()
        })
    };
    let (fresh, resumed) = (memory_of("fresh"), memory_of("resumed"));
    println!("KiB, now and at most: fresh {fresh:?}, resumed {resumed:?}");
    assert!(resumed[0] <= 1.05 * fresh[0] && resumed[1] <= 1.05 * fresh[1], "fresh {fresh:?}, resumed {resumed:?}");
}
