//! Memory over a run. A binary of its own, since what is measured is the whole process.

use densenet::data::SyntheticConfig;
use densenet::tch::{self, nn::VarStore};
use densenet::train::{Callback, Datasets, Event, Run};
use densenet::{DenseNetConfig, Result, SgdConfig, TrainConfig, Trainer};
use std::cell::RefCell;
use std::fs;
use std::ops::ControlFlow;
use std::rc::Rc;

const STEPS: usize = 300;

/// The process's resident pages after each step.
struct ResidentPages(Rc<RefCell<Vec<u64>>>);

impl Callback for ResidentPages {
    fn on_event(&mut self, event: &Event, _: &Run) -> Result<ControlFlow<()>> {
        if let Event::StepEnded { .. } = event {
            let numbers = fs::read_to_string("/proc/self/statm").expect("Linux's file of a process's memory");
            let resident = numbers.split(' ').nth(1).expect("the second number is the resident pages");
            self.0.borrow_mut().push(resident.parse().expect("a number"));
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
    let pages = Rc::new(RefCell::new(Vec::new()));
    let mut trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(1).with_batch_size(8))
        .unwrap()
        .with_callback(ResidentPages(pages.clone()));
    let samples = SyntheticConfig::new(8 * STEPS).with_sample_shape([1, 48, 48]);
    trainer.fit(&Datasets::new(&samples.build().unwrap())).unwrap();

    let pages = pages.borrow();
    assert_eq!(pages.len(), STEPS);
    let growth = pages[STEPS - 1] as f64 / pages[99] as f64 - 1.0;
    println!("{} pages after 100 steps, {} after {STEPS}", pages[99], pages[STEPS - 1]);
    // The allocator keeps what it was given back and moves by a per cent or two. A lost batch a step is 10 %, a lost graph
    // many times as much.
    assert!(growth < 0.05, "{:.1} % more memory", 100.0 * growth);
}
