//! Memory of a dense block by its number of layers. A binary of its own, since what is measured is
//! the whole process.
#![cfg(target_os = "linux")]

#[path = "suite/support/memory.rs"]
mod memory;

use densenet::nn::{DenseBlockConfig, Execution, Features, ForwardContext, Mode};
use densenet::tch::{self, Device, Kind, Tensor, nn::VarStore};
use memory::memory_mib;
use std::fs;

/// By how much a forward and a backward pass of a dense block raise the peak of the process's
/// memory, in MiB.
fn peak_of_block(layers: usize) -> f64 {
    let vs = VarStore::new(Device::Cpu);
    let config = DenseBlockConfig::new(24, layers).with_growth_rate(12).with_plain_layers();
    let block = config.build(&vs.root()).unwrap();
    let x = Tensor::rand([48, 24, 32, 32], (Kind::Float, Device::Cpu));
    fs::write("/proc/self/clear_refs", "5").expect("the kernel starts the peak anew");
    let base = memory_mib("VmRSS").expect("Linux's file of a process's status");
    let ctx = ForwardContext::new(Mode::Train).with_execution(Execution::Fused);
    block.forward(Features::new(x), &ctx).unwrap().data.mean(Kind::Float).backward();
    memory_mib("VmHWM").expect("Linux's file of a process's status") - base
}

#[test]
fn memory_of_a_fused_block_grows_linearly_with_its_layers() {
    tch::set_num_threads(1);
    // What libtorch makes once is not the block's.
    peak_of_block(2);
    let peaks = [8, 16, 32, 64].map(peak_of_block);
    println!("8, 16, 32 and 64 layers: {peaks:.0?} MiB");
    // Features, their gradients and their output gradients are 7 MiB per layer. Reference execution took
    // 275, 826, 3,013 and 9,770 MiB.
    let per_layer = [(peaks[2] - peaks[1]) / 16.0, (peaks[3] - peaks[2]) / 32.0];
    assert!(per_layer[1] <= 1.3 * per_layer[0], "{peaks:?}: {per_layer:?} MiB per layer");
    assert!(peaks[3] <= 64.0 / 8.0 * peaks[0], "{peaks:?}");
}
