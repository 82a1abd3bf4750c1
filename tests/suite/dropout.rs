//! Dropout in training: what is dropped follows from seed and step alone.

use crate::alone::alone;
use crate::small_run::{Watch, fit, images, net, trainer_of};
use crate::variables::bits;
use densenet::TrainConfig;
use densenet::models::{Model, ModuleModel};
use densenet::nn::{Dropout, Execution, ForwardContext, Mode};
use densenet::tch::{self, Device, Kind, Tensor, nn};
use densenet::train::{Event, Run};
use std::ops::ControlFlow;
use std::sync::Barrier;
use std::thread;

const EXECUTIONS: [Execution; 2] = [Execution::Fused, Execution::Reference];

/// The bits of all variables after some steps with dropout; `between` is called after each step.
fn run(seed: u64, execution: Execution, between: impl Fn() + 'static) -> Vec<(String, Vec<u32>)> {
    let net = net().with_growth_rate(6).with_dropout(Dropout::new(0.5).after_every_conv());
    let config = TrainConfig::new(1).with_batch_size(4).with_seed(seed).with_execution(execution);
    let watch = Watch(move |event: &Event, _: &Run| {
        if let Event::StepEnded { .. } = event {
            between();
        }
        Ok(ControlFlow::Continue(()))
    });
    let mut trainer = trainer_of(&net, 0.1, config).with_callback(watch);
    fit(&mut trainer, &images(80, 0), &images(8, 1)).unwrap();
    bits(trainer.var_store())
}

#[test]
fn two_trainers_in_two_threads_end_as_they_end_one_after_the_other() {
    for execution in EXECUTIONS {
        let alone = [1, 2].map(|seed| run(seed, execution, || ()));
        assert!(alone[0] != alone[1]);
        let barrier: &'static Barrier = Box::leak(Box::new(Barrier::new(2)));
        // The threads meet after every step, so that their steps overlap.
        let meet = || {
            barrier.wait();
        };
        let start = |seed| thread::spawn(move || run(seed, execution, meet));
        let together = [1, 2].map(start).map(|thread| thread.join().unwrap());
        assert!(together == alone, "{execution:?}");
    }
}

#[test]
fn dropout_depends_on_seed_and_step_and_not_on_what_was_drawn_before() {
    for execution in EXECUTIONS {
        let draw = || drop(Tensor::rand([1000], (Kind::Float, Device::Cpu)));
        assert!(run(1, execution, || ()) == run(1, execution, draw), "{execution:?}");
    }
}

#[test]
fn dropout_of_a_module_of_tch_follows_from_the_seed_of_the_pass() {
    // libtorch's generator is the whole process's.
    if !alone("dropout::dropout_of_a_module_of_tch_follows_from_the_seed_of_the_pass") {
        return;
    }
    let model = ModuleModel(nn::func_t(|x, train| x.dropout(0.5, train)));
    let x = Tensor::ones([1000], (Kind::Float, Device::Cpu));
    let pass = |seed, mode| model.forward(&x, &ForwardContext::new(mode).with_seed(seed)).unwrap();
    let first = pass(3, Mode::Train);
    let _ = Tensor::rand([10], (Kind::Float, Device::Cpu));
    assert!(pass(3, Mode::Train).equal(&first) && !pass(4, Mode::Train).equal(&first));
    let drawn = |before: &dyn Fn()| {
        tch::manual_seed(1);
        before();
        Tensor::rand([10], (Kind::Float, Device::Cpu))
    };
    let evaluated = drawn(&|| drop(pass(3, Mode::Eval)));
    assert!(evaluated.equal(&drawn(&|| ())), "evaluation does not seed the generator");
}
