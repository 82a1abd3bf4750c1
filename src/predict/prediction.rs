//! The prediction for one sample.

use crate::error::PredictionError;
use crate::metrics::ClassPrediction;
use crate::{Error, Result};
use std::sync::Arc;

/// The prediction of a model for one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Outputs of the model: one logit per class, or the values of a regression. All of them are finite.
    pub outputs: Vec<f32>,
    classes: Arc<[String]>,
}

impl Prediction {
    /// Creates a prediction from outputs; outputs that are not finite are an error.
    pub(super) fn new(outputs: Vec<f32>, classes: Arc<[String]>) -> Result<Self> {
        match outputs.iter().find(|output| !output.is_finite()) {
            None => Ok(Prediction { outputs, classes }),
            Some(&output) => Err(Error::Prediction(PredictionError::NonFiniteOutput { output })),
        }
    }

    /// Returns the `count` most likely classes, most likely first; equally likely ones are sorted by index.
    pub fn top(&self, count: usize) -> Vec<ClassPrediction> {
        let largest = self.outputs.iter().fold(f32::NEG_INFINITY, |largest, &output| largest.max(output));
        let exponentials: Vec<f64> = self.outputs.iter().map(|&output| f64::from(output - largest).exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        let mut order: Vec<usize> = (0..self.outputs.len()).collect();
        order.sort_by(|&a, &b| self.outputs[b].total_cmp(&self.outputs[a]).then(a.cmp(&b)));
        let ranked = |class: usize| ClassPrediction { class, probability: exponentials[class] / sum };
        order.into_iter().take(count).map(ranked).collect()
    }

    /// Returns the name of a class; `None` where the predictor was given no name for it.
    pub fn name(&self, class: usize) -> Option<&str> {
        self.classes.get(class).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_likely_classes_come_first_with_their_names() {
        let names: Arc<[String]> = ["a", "b", "c"].map(str::to_owned).into();
        let prediction = Prediction::new(vec![1.0, 3.0, 3.0, -200.0], names.clone()).unwrap();
        let top = prediction.top(9);
        assert_eq!(top.iter().map(|ranked| ranked.class).collect::<Vec<_>>(), [1, 2, 0, 3]);
        assert_eq!(
            top.iter().map(|ranked| prediction.name(ranked.class)).collect::<Vec<_>>(),
            [Some("b"), Some("c"), Some("a"), None]
        );
        assert!((top.iter().map(|ranked| ranked.probability).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((top[0].probability - 1.0 / (2.0 + (-2.0_f64).exp())).abs() < 1e-12);
        assert_eq!(prediction.top(0), []);
        for output in [f32::NAN, f32::INFINITY] {
            assert!(matches!(
                Prediction::new(vec![0.0, output], names.clone()),
                Err(Error::Prediction(PredictionError::NonFiniteOutput { .. }))
            ));
        }
    }
}
