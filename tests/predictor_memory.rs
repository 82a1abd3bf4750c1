//! The memory of a predictor. A binary of its own, which starts itself once for each: what is measured is the whole process.
#![cfg(target_os = "linux")]

#[path = "suite/support/memory.rs"]
mod memory;
#[path = "suite/support/process.rs"]
mod process;

use densenet::DenseNetConfig;
use densenet::data::{Image, Values};
use densenet::predict::{PredictConfig, Predictor, PredictorConfig};
use densenet::tch::{Device, nn::VarStore};
use memory::memory_mib;
use process::{only, passes};
use std::process::Command;
use std::thread;

/// In a process that the test starts: what it measures. Absent in the test itself.
const MEASURED: &str = "DENSENET_TEST_MEASURED";

fn tiny_predictor() -> Predictor {
    let vs = VarStore::new(Device::Cpu);
    let net = DenseNetConfig::new(3).with_growth_rate(4).with_layers_per_block([1, 1]).with_initial_channels(4);
    let config = PredictorConfig::new(PredictConfig::default().with_device(Device::Cpu));
    Predictor::start(net.build(&vs.root()).unwrap(), config).unwrap()
}

fn image(height: usize, width: usize) -> Image {
    Image::new([3, height, width], Values::U8(vec![7; 3 * height * width])).unwrap()
}

/// Peak memory in MiB of 32 callers with images of 2²² values each, above that of one such image alone.
fn of_large_images() -> f64 {
    let predictor = tiny_predictor();
    // 3 × 1024 × 1365 values, just below the 2²² that are allowed.
    predictor.predict(image(1024, 1365)).unwrap();
    let one = memory_mib("VmHWM").unwrap();
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| predictor.predict(image(1024, 1365)).unwrap());
        }
    });
    memory_mib("VmHWM").unwrap() - one
}

/// Memory in MiB by which images of 800 further sizes grow the process after those of the first 20.
fn of_many_sizes() -> f64 {
    let predictor = tiny_predictor();
    let mut before = 0.0;
    for number in 0..820 {
        predictor.predict(image(16 + number * 37 % 61, 16 + number * 53 % 59)).unwrap();
        if number == 20 {
            before = memory_mib("VmRSS").unwrap();
        }
    }
    memory_mib("VmRSS").unwrap() - before
}

/// Measures in a process of its own, with this environment; `None` in that process.
fn measured(test: &str, measure: fn() -> f64, environment: &[(&str, &str)]) -> Option<f64> {
    if std::env::var_os(MEASURED).is_some() {
        println!("MiB: {:.1}", measure());
        return None;
    }
    let [program, arguments @ ..] = only(test);
    let mut command = Command::new(program);
    command.args(arguments).arg("--nocapture").env(MEASURED, "1").env("OMP_NUM_THREADS", "1");
    let output = passes(command.envs(environment.iter().copied()));
    let mib = output.lines().find_map(|line| line.split_once("MiB: ")).expect("a measurement").1;
    println!("{test}: {mib} MiB");
    Some(mib.trim().parse().unwrap())
}

#[test]
fn many_callers_with_images_of_the_largest_size_share_the_memory_of_a_batch() {
    let test = "many_callers_with_images_of_the_largest_size_share_the_memory_of_a_batch";
    if let Some(mib) = measured(test, of_large_images, &[]) {
        // 32 images of 4 MiB belong to the callers. A batch of four has 64 MiB of f32, twice while it is joined, and
        // its activations. All images in one batch take more than twice the limit.
        assert!(mib < 600.0, "{mib} MiB");
    }
}

#[test]
fn images_of_many_sizes_do_not_grow_a_process_whose_environment_limits_the_caches_of_libtorch() {
    let test = "images_of_many_sizes_do_not_grow_a_process_whose_environment_limits_the_caches_of_libtorch";
    let environment = [("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64"), ("LRU_CACHE_CAPACITY", "64")];
    if let Some(mib) = measured(test, of_many_sizes, &environment) {
        // Sixty further operations of 0.1 MiB; without the limits there are 1000.
        assert!(mib < 15.0, "{mib} MiB");
    }
}
