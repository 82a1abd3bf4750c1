//! The same numbers as timm with the options that it adds: a deep stem, blurs, maps of each stage. `tests/fixtures/timm_golden.py` makes the
//! golden values.

use crate::golden::{cross_entropy, deviation, fill, uniform};
use crate::variables::named_variables;
use densenet::nn::{Execution, ForwardContext, Mode, StemConfig};
use densenet::tch::{Device, Kind, Tensor, nn::VarStore, no_grad};
use densenet::{DenseNetConfig, Model};
use serde_json::Value;

fn assert_golden(what: &str, own: &Tensor, golden: &Value) {
    let (deviation, norm) = deviation(&own.to_kind(Kind::Double), golden);
    assert!(deviation <= 1e-10 * norm, "{what}: {deviation:e} of {norm:e}");
}

fn check(name: &str, config: &DenseNetConfig) {
    let golden: Value = serde_json::from_str(include_str!("../fixtures/timm.json")).unwrap();
    for (case, execution) in
        golden[name].as_array().unwrap().iter().flat_map(|case| [(case, Execution::Auto), (case, Execution::Reference)])
    {
        let mut vs = VarStore::new(Device::Cpu);
        let net = config.build(&vs.root()).unwrap();
        vs.double();
        fill(&vs);
        let names: Vec<String> = named_variables(&vs).into_iter().map(|variable| variable.name).collect();
        assert_eq!(serde_json::json!(names), case["names"], "{name}");
        let [height, width] = [0, 1].map(|side| case["size"][side].as_i64().unwrap());
        let x = (uniform(2 * 3 * (height * width) as usize, 9001) + 0.5).view([2, 3, height, width]);
        let y = (Tensor::arange(2, (Kind::Int64, Device::Cpu)) * 7).remainder(3);
        let eval = ForwardContext::new(Mode::Eval).with_execution(execution);
        no_grad(|| {
            assert_golden("logits", &net.forward(&x, &eval).unwrap(), &case["logits"]);
            assert_golden("features", &net.forward_features(&x, &eval).unwrap(), &case["features"]);
            let maps = net.feature_maps(&x, &eval).unwrap();
            // timm's first maps are the stem's, before its pooling.
            let golden = &case["maps"].as_array().unwrap()[1..];
            assert_eq!(maps.len(), golden.len());
            for (map, golden) in maps.iter().zip(golden) {
                assert_eq!(serde_json::json!(map.size()), golden["shape"]);
                assert_golden("a map", map, golden);
            }
        });
        let train = ForwardContext::new(Mode::Train).with_execution(execution);
        let loss = cross_entropy(&net.forward(&x, &train).unwrap(), &y);
        assert!((loss.double_value(&[]) - case["loss"].as_f64().unwrap()).abs() < 1e-10);
        loss.backward();
        for variable in named_variables(&vs).into_iter().filter(|variable| variable.trainable) {
            assert_golden(&variable.name, &variable.tensor.grad(), &case["gradients"][&variable.name]);
        }
        // The summary says the shapes that there are.
        let summary = config.summary([3, height as usize, width as usize]).unwrap();
        let last = summary.rows.iter().find(|row| row.name == "features.norm5").unwrap().output.map(|size| size as i64);
        assert_eq!(serde_json::json!(last), serde_json::json!(case["maps"][3]["shape"].as_array().unwrap()[1..]));
        assert_eq!(
            summary.parameters(),
            named_variables(&vs).iter().filter(|v| v.trainable).map(|v| v.tensor.numel()).sum::<usize>()
        );
    }
}

fn small() -> DenseNetConfig {
    DenseNetConfig::new(3).with_growth_rate(4).with_layers_per_block([2, 2, 1]).with_initial_channels(8)
}

#[test]
fn a_deep_stem_equals_timms() {
    check("deep", &small().with_stem(StemConfig::deep(4)));
}

#[test]
fn blurs_equal_timms() {
    let stem = StemConfig::imagenet().with_blur();
    check("blur", &small().with_stem(stem).with_blur());
}

#[test]
fn a_deep_stem_with_a_blur_equals_timms() {
    check("deep_blur", &small().with_stem(StemConfig::deep(4).with_blur()));
}

#[test]
fn the_smallest_image_of_a_blurred_net_leaves_something_to_mirror() {
    let stem = StemConfig::deep(4).with_blur();
    let config = small().with_stem(stem).with_blur();
    let smallest = config.summary([3, 64, 64]).unwrap().smallest_input;
    let vs = VarStore::new(Device::Cpu);
    let net = config.build(&vs.root()).unwrap();
    let eval = ForwardContext::new(Mode::Eval);
    let at =
        |side: usize| net.forward(&Tensor::zeros([1, 3, side as i64, side as i64], (Kind::Float, Device::Cpu)), &eval);
    assert_eq!(at(smallest).unwrap().size(), [1, 3]);
    assert!(at(smallest - 1).is_err());
    let timms = DenseNetConfig::densenetblur121d(1000).summary([3, 224, 224]).unwrap();
    // timm's own count.
    assert_eq!(timms.parameters(), 7_998_088);
}
