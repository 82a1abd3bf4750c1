//! Devices that a machine does not have: each way into the crate is an error that names the device.

use crate::small_run::{images, net};
use densenet::data::{Batch, Targets};
use densenet::error::ConfigError;
use densenet::models::DenseNet;
use densenet::predict::{PredictConfig, Predictor, PredictorConfig, predict};
use densenet::tch::{Device, nn::VarStore};
use densenet::torch::parse_device;
use densenet::{DenseBlockConfig, Error, Preprocess, TransitionBlockConfig};

/// More GPUs than a machine has.
const DEVICE: Device = Device::Cuda(4096);

fn model() -> DenseNet {
    net().build(&VarStore::new(Device::Cpu).root()).unwrap()
}

fn refused<T>(result: densenet::Result<T>, way: &str) {
    let error = result.err().unwrap_or_else(|| panic!("{way}"));
    assert!(matches!(error, Error::Config(ConfigError::DeviceUnavailable { .. })), "{way}: {error}");
    let text = error.to_string();
    assert!(text.contains("cuda:4096"), "{way}: {text}");
    // A libtorch without CUDA is the likely cause; one with CUDA says how many devices it has found.
    assert!(text.contains("./setup --cuda") || text.contains("CUDA devices"), "{way}: {text}");
}

#[test]
fn a_missing_device_is_an_error_that_names_the_remedy() {
    refused(parse_device("cuda:4096"), "parse_device");
    let vs = VarStore::new(DEVICE);
    let root = vs.root();
    refused(net().build(&(&root / "net")), "network");
    refused(DenseBlockConfig::new(3, 2).build(&(&root / "block")), "block");
    refused(TransitionBlockConfig::new(4, 2).build(&(&root / "transition")), "transition");
    let config = PredictConfig::default().with_device(DEVICE);
    refused(predict(&model(), &images(4, 1), &config), "predict");
    refused(Predictor::start(model(), PredictorConfig::new(config)), "predictor");
    let batch = Batch::new([1, 1, 1], vec![1_u8], Targets::Classes(vec![0]));
    refused(Preprocess::new().tensors(&batch, DEVICE), "preprocessing");
}
