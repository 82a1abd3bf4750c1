//! Predicted classes of a model's outputs.

use tch::{Kind, Tensor};

/// A predicted class with its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassPrediction {
    /// 0-based index of the class.
    pub class: usize,
    /// Softmax probability of the class, from 0 to 1.
    pub probability: f64,
}

/// Returns the class with the largest logit of each row of logits `[N, classes]`; `None` for a row with NaN, which has
/// no largest one.
pub fn class_predictions(logits: &Tensor) -> Vec<Option<ClassPrediction>> {
    // softmax spreads a NaN over its row, so that the row's maximum is NaN exactly where there is one.
    let (probabilities, classes) = logits.detach().to_kind(Kind::Double).softmax(-1, None::<Kind>).max_dim(-1, false);
    let (probabilities, classes) = (to_vec::<f64>(&probabilities), to_vec::<i64>(&classes));
    let predictions = probabilities.into_iter().zip(classes);
    predictions
        .map(|(probability, class)| {
            (!probability.is_nan()).then_some(ClassPrediction { class: class as usize, probability })
        })
        .collect()
}

/// Returns the number of rows of logits `[N, classes]` whose largest value is at the target `[N]`. A row with NaN
/// counts as wrong.
pub fn correct_predictions(logits: &Tensor, targets: &Tensor) -> i64 {
    let (largest, classes) = logits.detach().max_dim(-1, false);
    let correct = classes.eq_tensor(targets).logical_and(&largest.isnan().logical_not());
    correct.sum(Kind::Int64).int64_value(&[])
}

fn to_vec<T: tch::kind::Element + Clone>(t: &Tensor) -> Vec<T>
where
    Vec<T>: TryFrom<Tensor, Error = tch::TchError>,
{
    Vec::<T>::try_from(t.contiguous().view(-1)).expect("a one-dimensional tensor of this kind")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_with_nan_predicts_nothing_and_is_never_correct() {
        let logits = Tensor::from_slice(&[1.0_f32, 3.0, f32::NAN, 0.0]).view([2, 2]);
        let predictions = class_predictions(&logits);
        let first = predictions[0].unwrap();
        assert_eq!(first.class, 1);
        assert!((first.probability - 1.0 / (1.0 + (-2.0_f64).exp())).abs() < 1e-6);
        assert_eq!(predictions[1], None);
        for class in [0, 1] {
            assert_eq!(correct_predictions(&logits.get(1).unsqueeze(0), &Tensor::from_slice(&[class])), 0);
        }
        assert_eq!(correct_predictions(&logits, &Tensor::from_slice(&[1_i64, 0])), 1);
    }
}
