//! Samples that are kept on the device for a whole run.

use crate::datasets::Changed;
use crate::small_run::{checkpoints, fit, images, net, resuming, trainer_of};
use crate::variables::bits;
use densenet::data::{Batch, InMemoryDataset, Subset, Targets};
use densenet::error::ConfigError;
use densenet::train::DataPlacement;
use densenet::{Error, Preprocess, TrainConfig};

const PLACEMENTS: [DataPlacement; 3] = [DataPlacement::Host, DataPlacement::Pinned, DataPlacement::Device];

fn config(placement: DataPlacement) -> TrainConfig {
    let preprocess = Preprocess::new().with_size([24, 24]).with_normalize([0.4], [0.3]);
    TrainConfig::new(2).with_batch_size(6).with_preprocess(preprocess).with_data_placement(placement)
}

#[test]
fn a_run_gives_the_same_bits_wherever_its_samples_wait() {
    // 20 samples: the last batch is smaller.
    let (train, test) = (images(20, 1), images(6, 2));
    let subset = Subset::new(train, (0..20).rev().collect()).unwrap();
    let runs = PLACEMENTS.map(|placement| {
        let mut trainer = trainer_of(&net(), 0.1, config(placement));
        let history = fit(&mut trainer, &subset, &test).unwrap();
        let losses: Vec<f64> = history.epochs.iter().map(|epoch| epoch.train.loss()).collect();
        (losses, bits(&trainer.into_parts().0))
    });
    assert!(runs[0] == runs[1] && runs[0] == runs[2], "{:?}", runs.map(|run| run.0));
}

#[test]
fn bytes_and_regression_targets_are_kept_too() {
    let samples = Batch::new(
        [1, 16, 16],
        (0..7 * 256).map(|i| (i * 31 % 251) as u8).collect::<Vec<_>>(),
        Targets::Values { data: (0..28).map(|i| i as f32 / 28.0).collect(), width: 4 },
    );
    let train = InMemoryDataset::new(samples, &[]).unwrap();
    let runs = PLACEMENTS.map(|placement| {
        let loss = |outputs: &densenet::tch::Tensor, targets: &densenet::tch::Tensor| {
            outputs.mse_loss(targets, densenet::tch::Reduction::Mean)
        };
        let mut trainer = trainer_of(&net(), 0.1, config(placement)).with_loss(loss);
        fit(&mut trainer, &train, &train).unwrap();
        bits(&trainer.into_parts().0)
    });
    assert!(runs[0] == runs[1] && runs[0] == runs[2]);
}

#[test]
fn a_run_is_resumed_with_another_placement() {
    let folder = tempfile::tempdir().unwrap();
    let (train, test) = (images(20, 1), images(6, 2));
    let run = |epochs, placement, checkpoints| {
        let mut config = config(placement);
        config.epochs = epochs;
        let mut trainer = trainer_of(&net(), 0.1, config);
        if let Some(checkpoints) = checkpoints {
            trainer = trainer.with_checkpoints(checkpoints);
        }
        fit(&mut trainer, &train, &test).unwrap();
        bits(&trainer.into_parts().0)
    };
    let whole = run(2, DataPlacement::Host, None);
    run(1, DataPlacement::Device, Some(checkpoints(folder.path())));
    let more = resuming(folder.path()).with_allowed_changes(vec![densenet::train::Change::Epochs]);
    assert!(run(2, DataPlacement::Host, Some(more)) == whole);
}

#[test]
fn samples_that_may_change_are_not_kept() {
    // Nothing is known of what the function changes.
    let train = Changed::new(images(20, 1), |_, _| Ok(()));
    let mut trainer = trainer_of(&net(), 0.1, config(DataPlacement::Device));
    let error = fit(&mut trainer, &train, &images(6, 2)).unwrap_err();
    assert!(matches!(error, Error::Config(ConfigError::InvalidValue { .. })), "{error}");
    assert!(error.to_string().contains("is_fixed"), "{error}");
}
