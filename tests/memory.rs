//! Memory over a run. A binary of its own, since what is measured is the whole process.

use densenet::data::SyntheticConfig;
use densenet::nn::{DenseBlockConfig, Execution, Features, ForwardContext, LayerKind, Mode};
use densenet::tch::{self, Device, Kind, Tensor, nn::VarStore};
use densenet::train::{Event, Flow, Observer, Run};
use densenet::{DenseNetConfig, Result, SgdConfig, TrainConfig, Trainer};
use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::sync::Mutex;

const STEPS: usize = 300;

/// Held by the test that measures: the others would be measured too.
static MEASURING: Mutex<()> = Mutex::new(());

/// The process's resident pages after each step.
struct ResidentPages(Rc<RefCell<Vec<u64>>>);

impl Observer for ResidentPages {
    fn on_event(&mut self, event: &Event, _: &Run) -> Result<Flow> {
        if let Event::StepEnded { .. } = event {
            let numbers = fs::read_to_string("/proc/self/statm").expect("Linux's file of a process's memory");
            let resident = numbers.split(' ').nth(1).expect("the second number is the resident pages");
            self.0.borrow_mut().push(resident.parse().expect("a number"));
        }
        Ok(Flow::Continue)
    }
}

#[cfg(target_os = "linux")]
#[test]
fn training_needs_no_more_memory_after_300_steps_than_after_100() {
    let _alone = MEASURING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // The memory that is looked for is lost from step to step, whatever the number of threads.
    tch::set_num_threads(1);
    let vs = VarStore::new(tch::Device::Cpu);
    let model = DenseNetConfig::fashion_mnist().build(&vs.root()).unwrap();
    let optimizer = SgdConfig::new(0.01).build(&vs).unwrap();
    let mut trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(1).with_batch_size(8)).unwrap();
    let pages = Rc::new(RefCell::new(Vec::new()));
    trainer.observe(ResidentPages(pages.clone()));
    let samples = SyntheticConfig::new(8 * STEPS).with_sample_shape([1, 48, 48]);
    trainer.fit(&samples.clone().build().unwrap(), &samples.with_seed(1).build().unwrap()).unwrap();

    let pages = pages.borrow();
    assert_eq!(pages.len(), STEPS);
    let growth = pages[STEPS - 1] as f64 / pages[99] as f64 - 1.0;
    println!("{} pages after 100 steps, {} after {STEPS}", pages[99], pages[STEPS - 1]);
    // The allocator keeps what it was given back and moves by a per cent or two. A lost batch a step is 10 %, a lost graph
    // many times as much.
    assert!(growth < 0.05, "{:.1} % more memory", 100.0 * growth);
}

/// A line of this process's status, in MB.
#[cfg(target_os = "linux")]
fn memory_mb(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux's file of a process's status");
    let kib = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.expect("a number of KiB") / 1024.0
}

/// By how much a forward and a backward pass of a dense block raise the peak of the process's memory, in MB.
#[cfg(target_os = "linux")]
fn peak_of_block(layers: usize) -> f64 {
    let vs = VarStore::new(Device::Cpu);
    let config = DenseBlockConfig::new(24, layers).with_growth_rate(12).with_layer_kind(LayerKind::Plain);
    let block = config.build(&vs.root()).unwrap();
    let x = Tensor::rand([48, 24, 32, 32], (Kind::Float, Device::Cpu));
    fs::write("/proc/self/clear_refs", "5").expect("the kernel starts the peak anew");
    let base = memory_mb("VmRSS:");
    let ctx = ForwardContext::new(Mode::Train).with_execution(Execution::Fused);
    block.forward(Features::new(x), &ctx).data.mean(Kind::Float).backward();
    memory_mb("VmHWM:") - base
}

#[cfg(target_os = "linux")]
#[test]
fn memory_of_a_fused_block_grows_linearly_with_its_layers() {
    let _alone = MEASURING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    tch::set_num_threads(1);
    // What libtorch makes once is not the block's.
    peak_of_block(2);
    let peaks = [8, 16, 32, 64].map(peak_of_block);
    println!("8, 16, 32 and 64 layers: {peaks:.0?} MB");
    // Features, their gradients and what arrives of them are 7 MB a layer. Composed execution took 275, 826, 3,013 and 9,770 MB.
    let a_layer = [(peaks[2] - peaks[1]) / 16.0, (peaks[3] - peaks[2]) / 32.0];
    assert!(a_layer[1] <= 1.3 * a_layer[0], "{peaks:?}: {a_layer:?} MB a layer");
    assert!(peaks[3] <= 64.0 / 8.0 * peaks[0], "{peaks:?}");
}
