//! Optimizer steps, resumed runs, weights and predictions on the device, against the CPU.

use crate::{is_gpu, print};
use densenet::data::{Dataset, Image, InMemoryDataset, Phase, SampleKey, SyntheticConfig};
use densenet::models::{DenseNet, Model};
use densenet::nn::{Execution, ForwardContext, Mode};
use densenet::optim::Optimizer;
use densenet::predict::{PredictConfig, Predictor, PredictorConfig};
use densenet::tch::{Device, Kind, Tensor, nn::VarStore};
use densenet::torch::CudaConfig;
use densenet::train::{Change, CheckpointConfig, Datasets};
use densenet::weights::{LoadConfig, load, save_safetensors};
use densenet::{AdamWConfig, DenseNetConfig, Error, Result, SgdConfig, TrainConfig, Trainer};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// Makes all checks; returns whether they held.
pub fn check(device: Device) -> Result<bool> {
    let folder = std::env::temp_dir().join(format!("densenet-device-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(Error::other)?;
    // Only deterministic algorithms give the same bits in a resumed run.
    CudaConfig::new().with_deterministic(is_gpu(device)).apply()?;
    let checks = [
        steps(device, "sgd", &|vs| SgdConfig::new(0.05).with_nesterov_momentum(0.9).with_weight_decay(1e-4).build(vs)),
        steps(device, "adamw", &|vs| AdamWConfig::new(1e-3).build(vs)),
        resume(device, &folder),
        weights(device, &folder),
        predictions(device),
    ];
    let all_hold = checks.into_iter().try_fold(true, |all, holds| Ok(all & holds?));
    let _ = fs::remove_dir_all(&folder);
    CudaConfig::new().apply()?;
    all_hold
}

fn net() -> DenseNetConfig {
    DenseNetConfig::new(4)
        .with_input_channels(1)
        .with_initial_channels(8)
        .with_growth_rate(8)
        .with_layers_per_block([2, 2])
        .with_seed(5)
}

fn built(device: Device) -> Result<(VarStore, DenseNet)> {
    let vs = VarStore::new(device);
    let net = net().build(&vs.root())?;
    Ok((vs, net))
}

fn images() -> Result<InMemoryDataset> {
    SyntheticConfig::new(96).with_sample_shape([1, 16, 16]).with_classes(4).build()
}

/// All variables in f64 on the CPU, sorted by name.
fn variables(vs: &VarStore) -> Vec<(String, Tensor)> {
    let on_cpu = |tensor: Tensor| tensor.detach().to_device(Device::Cpu).to_kind(Kind::Double);
    let mut variables: Vec<_> = vs.variables().into_iter().map(|(name, tensor)| (name, on_cpu(tensor))).collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    variables
}

/// The largest deviation of a variable, relative to its norm.
fn deviation(own: &VarStore, other: &VarStore) -> f64 {
    let relative = |(a, b): (&(String, Tensor), &(String, Tensor))| {
        (&a.1 - &b.1).norm().double_value(&[]) / b.1.norm().double_value(&[]).max(1e-6)
    };
    variables(own)
        .iter()
        .zip(&variables(other))
        .map(relative)
        .fold(0.0, |most, error| if error < most { most } else { error })
}

type Build<'a> = &'a dyn Fn(&VarStore) -> Result<Box<dyn Optimizer>>;

/// Ten steps on the device and on the CPU in f64, from the same weights.
fn steps(device: Device, name: &str, build: Build) -> Result<bool> {
    let keys: Vec<_> = (0..32).map(|index| SampleKey { index, epoch: 0, seed: 0, phase: Phase::Train }).collect();
    let batch = images()?.fetch(&keys)?;
    let mut runs = Vec::new();
    for (device, kind, execution) in [
        (device, Kind::Float, Execution::Fused),
        (device, Kind::Float, Execution::Reference),
        (Device::Cpu, Kind::Double, Execution::Reference),
    ] {
        let (mut vs, net) = built(device)?;
        vs.set_kind(kind);
        let mut optimizer = build(&vs)?;
        let (x, y) = densenet::Preprocess::new().tensors(&batch, device)?;
        let ctx = ForwardContext::new(Mode::Train).with_execution(execution);
        for _ in 0..10 {
            optimizer.zero_grad()?;
            net.forward(&x.to_kind(kind), &ctx)?.cross_entropy_for_logits(&y).f_backward()?;
            optimizer.step(optimizer.learning_rate())?;
        }
        runs.push(vs);
    }
    let [fused, reference] = [0, 1].map(|run| deviation(&runs[run], &runs[2]));
    // AdamW divides by the root of tiny moments, so that roundings grow.
    let holds = fused <= 3.0 * reference + 1e-5 && reference <= 0.05;
    print(
        "training",
        json!({ "case": format!("ten steps of {name}"), "holds": holds, "fused": fused, "reference": reference }),
    );
    Ok(holds)
}

fn trainer(device: Device, epochs: usize, checkpoints: Option<PathBuf>) -> Result<Trainer<DenseNet>> {
    let (vs, net) = built(device)?;
    let optimizer = SgdConfig::new(0.05).with_momentum(0.9).build(&vs)?;
    let config = TrainConfig::new(epochs).with_batch_size(16).with_execution(Execution::Fused);
    let trainer = Trainer::new(vs, net, optimizer, config)?;
    Ok(match checkpoints {
        Some(folder) => {
            let config = CheckpointConfig::in_folder(folder).with_resume();
            trainer.with_checkpoints(config.with_allowed_changes(vec![Change::Epochs]))
        }
        None => trainer,
    })
}

/// A run that is resumed on the device has the same bits as one that was not interrupted; on the CPU it is resumed too.
fn resume(device: Device, folder: &Path) -> Result<bool> {
    let (train, folder) = (images()?, folder.join("checkpoints"));
    let fit = |device, epochs, checkpoints: Option<PathBuf>| {
        let mut trainer = trainer(device, epochs, checkpoints)?;
        trainer.fit(&Datasets::new(&train))?;
        Ok::<_, Error>(trainer.into_parts().0)
    };
    let whole = fit(device, 4, None)?;
    fit(device, 2, Some(folder.clone()))?;
    let elsewhere = folder.with_file_name("checkpoints-elsewhere");
    copy(&folder, &elsewhere).map_err(Error::other)?;
    let resumed = fit(device, 4, Some(folder))?;
    let holds = variables(&whole) == variables(&resumed);
    print(
        "training",
        json!({ "case": "a resumed run has the same bits", "holds": holds, "deviation": deviation(&resumed, &whole) }),
    );
    let on_cpu = fit(Device::Cpu, 4, Some(elsewhere))?;
    let error = deviation(&on_cpu, &whole);
    // Roundings of two devices, over twelve steps.
    let is_close = error < 0.05;
    print("training", json!({ "case": "a run is resumed on the CPU", "holds": is_close, "deviation": error }));
    Ok(holds && is_close)
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
        }
    }
    Ok(())
}

/// Weights that are saved on the device load on the CPU, and back, to the same bits.
fn weights(device: Device, folder: &Path) -> Result<bool> {
    let (vs, _net) = built(device)?;
    let mut trained = trainer(device, 1, None)?;
    trained.fit(&Datasets::new(&images()?))?;
    let trained = trained.into_parts().0;
    let file = folder.join("model.safetensors");
    save_safetensors(&trained, &file)?;
    let (on_cpu, _net) = built(Device::Cpu)?;
    load(&on_cpu, &file, &LoadConfig::new())?;
    save_safetensors(&on_cpu, &file)?;
    load(&vs, &file, &LoadConfig::new())?;
    let holds = variables(&vs) == variables(&trained) && variables(&on_cpu) == variables(&trained);
    print("training", json!({ "case": "weights out and in", "holds": holds }));
    Ok(holds)
}

/// A predictor on the device gives the CPU's predictions.
fn predictions(device: Device) -> Result<bool> {
    let keys: Vec<_> = (0..8).map(|index| SampleKey { index, epoch: 0, seed: 0, phase: Phase::Evaluation }).collect();
    let batch = images()?.fetch(&keys)?;
    let (x, _) = densenet::Preprocess::new().tensors(&batch, Device::Cpu)?;
    let mut outputs = Vec::new();
    for device in [device, Device::Cpu] {
        let (_vs, net) = built(device)?;
        let predictor = Predictor::start(net, PredictorConfig::new(PredictConfig::default().with_device(device)))?;
        let images = (0..8).map(|row| Image::try_from(&x.get(row)));
        let predictions = images.map(|image| Ok(predictor.predict(image?)?.outputs)).collect::<Result<Vec<_>>>()?;
        outputs.push(predictions.concat());
    }
    let error = outputs[0].iter().zip(&outputs[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let holds = error < 1e-3;
    print("training", json!({ "case": "predictions", "holds": holds, "largest_error": error }));
    Ok(holds)
}
