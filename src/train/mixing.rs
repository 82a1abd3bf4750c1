//! Mixing of the samples of a training batch: MixUp and CutMix, with the semantics of torchvision's transforms.

use crate::data::{Purpose, Random};
use crate::error::InputError;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Mixing of the samples of each training batch with one another, so that a network learns from mixtures of two images
/// and of their classes.
///
/// A batch is mixed on the training device, after preprocessing: each sample with the one before it in the batch, all
/// by one share λ, which is drawn from the distribution Beta(α, α) for each step. Targets become probabilities `[N,
/// outputs]`, as many as the model has outputs: λ for the sample's own class, and 1 − λ for that of the other one.
/// Losses and metrics get these; the accuracy of the training counts a prediction as correct where it is the class of
/// the largest probability. Validation and test samples are never mixed.
///
/// α is from 0.001 to 1,000; with 1, all shares are equally likely, and with small values most are near 0 or 1.
///
/// # Source
///
/// Zhang et al.: mixup: beyond empirical risk minimization (2018), with α from 0.1 to 0.4 for ImageNet; Yun et al.:
/// CutMix (2019), with α = 1. torchvision's default is 1 for both.
///
/// # Examples
///
/// ```
/// use densenet::TrainConfig;
/// use densenet::train::Mixing;
///
/// let config = TrainConfig::new(200).with_mixing(Mixing::CutMix { alpha: 1.0 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Mixing {
    /// Samples stay as they are.
    #[default]
    None,
    /// Each image becomes a weighted sum of itself and another one.
    MixUp {
        /// Parameter α of the distribution of shares, from 0.001 to 1,000.
        alpha: f64,
    },
    /// A rectangle of each image is replaced by that of another one.
    CutMix {
        /// Parameter α of the distribution of shares, from 0.001 to 1,000.
        alpha: f64,
    },
    /// Each step draws one of the two, with equal probability.
    Either {
        /// Parameter α of MixUp, from 0.001 to 1,000.
        mix_up_alpha: f64,
        /// Parameter α of CutMix, from 0.001 to 1,000.
        cut_mix_alpha: f64,
    },
}

/// What a step mixes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Drawn {
    /// The share of a sample itself.
    MixUp(f64),
    /// The rectangle that is replaced: first and last column, first and last row, the last ones excluded.
    CutMix { columns: [i64; 2], rows: [i64; 2] },
}

impl Mixing {
    /// Whether samples stay as they are.
    pub(super) fn is_none(&self) -> bool {
        *self == Mixing::None
    }

    /// Checks the parameters of the distributions.
    pub(super) fn check(&self) -> Result<()> {
        let alphas = match *self {
            Mixing::None => vec![],
            Mixing::MixUp { alpha } | Mixing::CutMix { alpha } => vec![alpha],
            Mixing::Either { mix_up_alpha, cut_mix_alpha } => vec![mix_up_alpha, cut_mix_alpha],
        };
        match alphas.iter().find(|alpha| !(0.001..=1000.0).contains(*alpha)) {
            Some(alpha) => Err(Error::invalid_value("alpha of the mixing", alpha, "from 0.001 to 1000")),
            None => Ok(()),
        }
    }

    /// Checks that inputs of this shape can be mixed.
    pub(super) fn check_inputs(&self, shape: &[i64]) -> Result<()> {
        match self {
            Mixing::CutMix { .. } | Mixing::Either { .. } if shape.len() != 4 => {
                let actual = shape[1..].iter().map(|&size| size as usize).collect();
                Err(Error::Input(InputError::SampleShape { actual, expected: "[C, H, W], which CutMix needs".into() }))
            }
            _ => Ok(()),
        }
    }

    /// Mixes a batch of inputs `[N, …]` and class indices `[N]` of the training, by the random numbers of its step,
    /// which `stream` counts. Returns the targets as probabilities `[N, outputs]`; without mixing everything as it is.
    pub(super) fn apply(
        &self,
        batch: (Tensor, Tensor),
        outputs: i64,
        seed: u64,
        stream: u64,
    ) -> Result<(Tensor, Tensor)> {
        let mut random = Random::new(Purpose::Mixing, seed, stream);
        let (is_mix_up, alpha) = match *self {
            Mixing::None => return Ok(batch),
            Mixing::MixUp { alpha } => (true, alpha),
            Mixing::CutMix { alpha } => (false, alpha),
            Mixing::Either { mix_up_alpha, .. } if random.happens(0.5) => (true, mix_up_alpha),
            Mixing::Either { cut_mix_alpha, .. } => (false, cut_mix_alpha),
        };
        let lambda = beta(alpha, &mut random);
        let drawn = match (is_mix_up, &batch.0.size()[..]) {
            (false, &[.., height, width]) => rectangle(lambda, height, width, &mut random),
            _ => Drawn::MixUp(lambda),
        };
        mix(&batch.0, &batch.1, outputs, drawn).map_err(Error::libtorch("mixing of a batch"))
    }
}

/// Converts class indices `[N]` to probabilities `[N, outputs]`.
pub(super) fn probabilities(classes: &Tensor, outputs: i64) -> Result<Tensor, tch::TchError> {
    let zeros = Tensor::f_zeros([classes.size()[0], outputs], (Kind::Float, classes.device()))?;
    zeros.f_scatter_value(1, &classes.f_unsqueeze(1)?, 1.0)
}

/// Draws the rectangle that has a share 1 − λ of an image, and of which the part outside of the image is cut off.
fn rectangle(lambda: f64, height: i64, width: i64, random: &mut Random) -> Drawn {
    let half = 0.5 * (1.0 - lambda).sqrt();
    let mut side = |length: i64| {
        let (center, half) = (random.below(length.max(1) as u64) as i64, (half * length as f64) as i64);
        [(center - half).max(0), (center + half).min(length)]
    };
    Drawn::CutMix { columns: side(width), rows: side(height) }
}

/// Mixes each sample with the one before it.
fn mix(inputs: &Tensor, classes: &Tensor, outputs: i64, drawn: Drawn) -> Result<(Tensor, Tensor), tch::TchError> {
    let rolled = |all: &Tensor| all.f_roll([1], [0]);
    let weighted =
        |all: &Tensor, lambda: f64| rolled(all)?.f_mul_scalar(1.0 - lambda)?.f_add(&all.f_mul_scalar(lambda)?);
    let targets = probabilities(classes, outputs)?;
    match drawn {
        Drawn::MixUp(lambda) => Ok((weighted(inputs, lambda)?, weighted(&targets, lambda)?)),
        Drawn::CutMix { columns: [left, right], rows: [top, bottom] } => {
            let part = |all: &Tensor| all.f_slice(-2, top, bottom, 1)?.f_slice(-1, left, right, 1);
            let mut mixed = inputs.f_zeros_like()?;
            mixed.f_copy_(inputs)?;
            part(&mixed)?.f_copy_(&part(&rolled(inputs)?)?)?;
            let size = inputs.size();
            let area = (size[size.len() - 1] * size[size.len() - 2]) as f64;
            let lambda = 1.0 - ((right - left) * (bottom - top)) as f64 / area;
            Ok((mixed, weighted(&targets, lambda)?))
        }
    }
}

/// Draws a number from 0 to 1 with the distribution Beta(α, α).
fn beta(alpha: f64, random: &mut Random) -> f64 {
    let (one, other) = (log_gamma_distributed(alpha, random), log_gamma_distributed(alpha, random));
    1.0 / (1.0 + (other - one).exp())
}

/// Draws the logarithm of a number with the gamma distribution of shape α. With a small α the number itself is often
/// too small for an f64.
///
/// # Source
///
/// Marsaglia, Tsang: A simple method for generating gamma variables (2000), with α + 1 and the correction of section 6.
fn log_gamma_distributed(alpha: f64, random: &mut Random) -> f64 {
    let d = alpha + 1.0 - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    // From 0 without the 0, whose logarithm is none.
    let positive = |random: &mut Random| 1.0 - random.unit();
    loop {
        let radius = (-2.0 * positive(random).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * random.unit()).cos();
        let v = (1.0 + c * normal).powi(3);
        if v > 0.0 && positive(random).ln() < 0.5 * normal * normal + d * (1.0 - v + v.ln()) {
            return (d * v).ln() + positive(random).ln() / alpha;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use tch::Device;

    #[test]
    fn shares_have_the_mean_and_variance_of_their_distribution() {
        let mut random = Random::new(Purpose::Mixing, 0, 0);
        for alpha in [0.001, 0.2, 1.0, 5.0, 1000.0] {
            let shares: Vec<f64> = (0..20_000).map(|_| beta(alpha, &mut random)).collect();
            assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
            let mean = shares.iter().sum::<f64>() / 20_000.0;
            let variance = shares.iter().map(|share| (share - 0.5).powi(2)).sum::<f64>() / 20_000.0;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            // Six standard deviations of a mean; that of the variance is at most its own size by √(2 / 20,000).
            assert!((mean - 0.5).abs() < 6.0 * (expected / 20_000.0).sqrt(), "{alpha}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.06, "{alpha}: {variance} of {expected}");
        }
    }

    #[test]
    fn rectangles_are_centered_in_the_image_and_cut_at_its_borders() {
        let mut random = Random::new(Purpose::Mixing, 1, 0);
        for step in 0..1000 {
            let lambda = f64::from(step) / 1000.0;
            let Drawn::CutMix { columns, rows } = rectangle(lambda, 20, 30, &mut random) else { panic!("a rectangle") };
            assert!(0 <= columns[0] && columns[0] <= columns[1] && columns[1] <= 30);
            assert!(0 <= rows[0] && rows[0] <= rows[1] && rows[1] <= 20);
            let share = ((columns[1] - columns[0]) * (rows[1] - rows[0])) as f64 / 600.0;
            assert!(share <= 1.0 - lambda, "{share} with {lambda}");
        }
    }

    /// The formula of augment.py: four images `[2, 6, 8]` that differ in brightness.
    fn images() -> Tensor {
        let value = |i: i64| {
            let mut h = (i * 2_654_435_761 + 12_345) & 0xFFFF_FFFF;
            h ^= h >> 15;
            h = (h * 73_244_475) & 0xFFFF_FFFF;
            ((h >> 16) % 160 + 9 * (i % 8)) as u8
        };
        let values: Vec<u8> = (0..4).flat_map(|k| (0..96).map(move |i| value(i).wrapping_add(k))).collect();
        Tensor::from_slice(&values).view([4, 2, 6, 8]).to_kind(Kind::Float) / 255.0
    }

    #[test]
    fn mixtures_equal_those_of_torchvision() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/augment.json");
        let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let mixed = golden["mixed"].as_array().unwrap();
        assert_eq!(mixed.len(), 5);
        for case in mixed {
            let parameters = &case["parameters"];
            let drawn = match case["name"].as_str().unwrap() {
                "MixUp" => Drawn::MixUp(parameters["lam"].as_f64().unwrap()),
                _ => {
                    let [left, top, right, bottom] = serde_json::from_value(parameters["box"].clone()).unwrap();
                    Drawn::CutMix { columns: [left, right], rows: [top, bottom] }
                }
            };
            let (x, y) = mix(&images(), &Tensor::from_slice(&[2_i64, 0, 1, 2]), 4, drawn).unwrap();
            let targets: Vec<f64> = serde_json::from_value(case["targets"].clone()).unwrap();
            let own = Vec::<f32>::try_from(y.view(-1)).unwrap();
            // One rounding of f32 more or less.
            assert!(own.iter().zip(&targets).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-7), "{own:?} {targets:?}");
            let x = x.to_kind(Kind::Double).view(-1);
            let weights = (Tensor::arange(x.numel() as i64, (Kind::Double, Device::Cpu)) * 0.37).sin();
            for (own, name) in [(x.sum(Kind::Double), "sum"), (x.dot(&weights), "projection")] {
                // 384 values of at most 1, each of which may be rounded once more in f32.
                assert!((own.double_value(&[]) - case[name].as_f64().unwrap()).abs() < 384.0 * 6e-8, "{case}");
            }
        }
    }
}
