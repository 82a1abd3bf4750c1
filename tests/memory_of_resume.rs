//! Memory of a run that was resumed, beside that of one that was not. A binary of its own, which starts itself once for each: what is
//! measured is the whole process.

#[path = "suite/support/memory.rs"]
mod memory;
#[path = "suite/support/process.rs"]
mod process;

use densenet::data::SyntheticConfig;
use densenet::optim::AdamWConfig;
use densenet::tch::{self, nn::VarStore};
use densenet::train::{Callback, CheckpointConfig, Datasets, Event, Run, SaveEvery, StopHandle};
use densenet::{DenseNetConfig, Result, TrainConfig, Trainer};
use memory::memory_mib;
use process::{only, passes};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

const RUN: &str = "DENSENET_TEST_RUN";
const FOLDER: &str = "DENSENET_TEST_FOLDER";

/// Resident memory and its peak.
const FIELDS: [&str; 2] = ["VmRSS", "VmHWM"];

/// Interrupts the run after some steps and prints the process's memory in MiB then: what it has, and the most that it had. The checkpoint
/// of the end is not counted.
struct Report {
    steps_left: usize,
    stop: StopHandle,
}

impl Callback for Report {
    fn on_event(&mut self, event: &Event, _: &Run) -> Result<ControlFlow<()>> {
        let Event::StepEnded { .. } = event else { return Ok(ControlFlow::Continue(())) };
        self.steps_left -= 1;
        if self.steps_left > 0 {
            return Ok(ControlFlow::Continue(()));
        }
        for field in FIELDS {
            println!("{field} {}", memory_mib(field).expect("Linux's file of a process's status"));
        }
        self.stop.stop();
        Ok(ControlFlow::Continue(()))
    }
}

/// Trains DenseNet-121 with AdamW, whose checkpoint has 96 MB, for some steps.
fn run(kind: &str, folder: &Path) {
    densenet::tune_allocator().unwrap();
    tch::set_num_threads(1);
    let vs = VarStore::new(tch::Device::Cpu);
    let model = DenseNetConfig::new(10).build(&vs.root()).unwrap();
    let optimizer = AdamWConfig::new(1e-4).build(&vs).unwrap();
    let checkpoints = CheckpointConfig::in_folder(folder).with_every(SaveEvery::Steps(1000));
    let checkpoints = if kind == "fresh" { checkpoints } else { checkpoints.with_resume() };
    let trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(1).with_batch_size(16)).unwrap();
    let stop = trainer.stop_handle();
    let mut trainer = trainer.with_callback(Report { steps_left: 3, stop }).with_checkpoints(checkpoints);
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
        let [program, arguments @ ..] = only("a_resumed_run_needs_no_more_memory_than_a_fresh_one");
        let mut command = Command::new(program);
        command.args(arguments).arg("--nocapture").env(RUN, kind).env(FOLDER, parent.path().join("run"));
        let text = passes(&mut command);
        FIELDS.map(|field| {
            let number = text.lines().find_map(|line| line.strip_prefix(field));
            number.expect("what `Report` printed").trim().parse::<f64>().unwrap()
        })
    };
    let (fresh, resumed) = (memory_of("fresh"), memory_of("resumed"));
    println!("MiB, now and at most: fresh {fresh:?}, resumed {resumed:?}");
    assert!(resumed[0] <= 1.05 * fresh[0] && resumed[1] <= 1.05 * fresh[1], "fresh {fresh:?}, resumed {resumed:?}");
}
