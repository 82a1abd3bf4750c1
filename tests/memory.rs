//! Memory over a run. A binary of its own, since what is measured is the whole process.

#[path = "suite/support/memory.rs"]
mod memory;

use densenet::data::SyntheticConfig;
use densenet::tch::{self, nn::VarStore};
use densenet::train::{Callback, Datasets, Event, Run};
use densenet::{DenseNetConfig, Result, SgdConfig, TrainConfig, Trainer};
use memory::memory_mib;
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;

const STEPS: usize = 300;

/// The process's resident memory in MiB after each step.
struct Resident(Rc<RefCell<Vec<f64>>>);

impl Callback for Resident {
    fn on_event(&mut self, event: &Event, _: &Run) -> Result<ControlFlow<()>> {
        if let Event::StepEnded { .. } = event {
            self.0.borrow_mut().push(memory_mib("VmRSS").expect("Linux's file of a process's status"));
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(target_os = "linux")]
#[test]
fn training_needs_no_more_memory_after_300_steps_than_after_100() {
    // The memory that is looked for is lost from step to step, whatever the number of threads.
    densenet::tune_allocator().unwrap();
    tch::set_num_threads(1);
    let vs = VarStore::new(tch::Device::Cpu);
    let model = DenseNetConfig::fashion_mnist().build(&vs.root()).unwrap();
    let optimizer = SgdConfig::new(0.01).build(&vs).unwrap();
    let resident = Rc::new(RefCell::new(Vec::new()));
    let mut trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(1).with_batch_size(8))
        .unwrap()
        .with_callback(Resident(resident.clone()));
    let samples = SyntheticConfig::new(8 * STEPS).with_sample_shape([1, 48, 48]);
    trainer.fit(&Datasets::new(&samples.build().unwrap())).unwrap();

    let resident = resident.borrow();
    assert_eq!(resident.len(), STEPS);
    let growth = resident[STEPS - 1] / resident[99] - 1.0;
    println!("{:.0} MiB after 100 steps, {:.0} after {STEPS}", resident[99], resident[STEPS - 1]);
    // The allocator keeps what it was given back and moves by a per cent or two. One lost batch per step is 10 %,
    // a lost graph many times as much.
    assert!(growth < 0.05, "{:.1} % more memory", 100.0 * growth);
}
