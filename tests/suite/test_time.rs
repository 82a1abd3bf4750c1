//! Test-time augmentation: averages over views of each image.

use crate::small_run::{built, fit, images, net, trainer};
use densenet::data::Preprocess;
use densenet::error::InputError;
use densenet::models::Model;
use densenet::nn::{ForwardContext, Mode};
use densenet::predict::{PredictConfig, Predictor, PredictorConfig, predict};
use densenet::tch::{Device, Kind, Tensor, no_grad};
use densenet::train::{Average, TestTimeAugment};
use densenet::{Error, TrainConfig};

/// The outputs of the small network for one view of the images.
fn outputs(model: &dyn Model, view: &Tensor) -> Tensor {
    no_grad(|| model.forward(view, &ForwardContext::new(Mode::Eval))).unwrap()
}

#[test]
fn predictions_are_averages_over_mirrored_and_moved_views() {
    let dataset = images(6, 0);
    let (_vs, model) = built(&net());
    let (x, _) = Preprocess::new().tensors(dataset.samples(), Device::Cpu).unwrap();
    let padded = x.reflection_pad2d([2, 2, 2, 2]);
    let moved = [0, 4].map(|start| padded.narrow(2, start, 16).narrow(3, start, 16));
    let [a, b] = &moved;
    let config = |augment| PredictConfig::default().with_device(Device::Cpu).with_test_time_augment(augment);
    let flipped = |view: &Tensor| view.flip([-1]);
    let tta = TestTimeAugment::new();
    for (augment, views) in [
        (tta, vec![x.copy()]),
        (tta.with_flip(), vec![x.copy(), flipped(&x)]),
        (tta.with_shift(2), vec![x.copy(), a.copy(), b.copy()]),
        (tta.with_flip().with_shift(2), vec![x.copy(), a.copy(), b.copy(), flipped(&x), flipped(a), flipped(b)]),
    ] {
        let logits: Vec<Tensor> = views.iter().map(|view| outputs(&model, view)).collect();
        let logits = Tensor::stack(&logits, 0);
        let mean = |all: &Tensor| all.mean_dim([0_i64].as_slice(), false, Kind::Float);
        let probabilities = mean(&logits.softmax(-1, Kind::Float));
        for (average, expected) in [(Average::Outputs, mean(&logits)), (Average::Probabilities, probabilities)] {
            let predictions = predict(&model, &dataset, &config(augment.with_average(average))).unwrap();
            let own = match average {
                Average::Outputs => predictions.outputs,
                _ => predictions.probabilities(),
            };
            let expected = Vec::<f32>::try_from(expected.view(-1)).unwrap();
            // Sums of f32 in another order; outputs are of the size of 1.
            let deviation = own.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(own.len() == expected.len() && deviation < 1e-5, "{augment:?}: {deviation}");
        }
    }
}

#[test]
fn evaluation_and_a_predictor_average_over_the_same_views_and_training_does_not() {
    let (train, test) = (images(24, 0), images(12, 1));
    let run = |augment| {
        let mut trainer = trainer(TrainConfig::new(1).with_batch_size(8).with_test_time_augment(augment));
        let history = fit(&mut trainer, &train, &test).unwrap();
        (trainer, history.last().unwrap().clone())
    };
    let augment = TestTimeAugment::new().with_flip().with_shift(1);
    let (plain, plain_epoch) = run(TestTimeAugment::new());
    let (augmented, epoch) = run(augment);
    assert_eq!(epoch.train, plain_epoch.train);
    assert_ne!(epoch.test, plain_epoch.test);
    assert!(crate::variables::bits(plain.var_store()) == crate::variables::bits(augmented.var_store()));

    let evaluation = augmented.evaluate(&test).unwrap();
    let (_vs, model, _) = augmented.into_parts();
    let config = PredictConfig::default().with_device(Device::Cpu).with_test_time_augment(augment);
    let predictor = Predictor::start(model, PredictorConfig::new(config)).unwrap();
    for (index, expected) in evaluation.predictions.iter().enumerate() {
        let (x, _) = Preprocess::new().tensors(test.samples(), Device::Cpu).unwrap();
        let image = densenet::data::Image::try_from(&x.get(index as i64)).unwrap();
        let prediction = predictor.predict(image).unwrap();
        let (own, expected) = (prediction.top(1)[0], expected.unwrap());
        assert_eq!(own.class, expected.class);
        // Batches of other sizes may run in other orders of sums.
        assert!((own.probability - expected.probability).abs() < 1e-5);
    }
}

#[test]
fn images_that_are_not_larger_than_the_shift_are_refused_before_the_first_step() {
    let shift = |pixels| TrainConfig::new(1).with_test_time_augment(TestTimeAugment::new().with_shift(pixels));
    let error = fit(&mut trainer(shift(16)), &images(8, 0), &images(8, 1)).unwrap_err();
    assert!(
        matches!(&error, Error::Input(InputError::SampleShape { actual, .. }) if *actual == [1, 16, 16]),
        "{error:?}"
    );
    let error = fit(&mut trainer(shift(usize::MAX)), &images(8, 0), &images(8, 1)).unwrap_err();
    assert!(matches!(&error, Error::Input(InputError::SampleShape { .. })), "{error:?}");
    fit(&mut trainer(shift(15)), &images(8, 0), &images(8, 1)).unwrap();
}
