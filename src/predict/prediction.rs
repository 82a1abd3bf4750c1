//! What a model says about one sample.

use crate::{Error, Result};
use std::sync::Arc;

/// The outputs of a model for one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What the model gave: logits, or the values of a regression. All of them are finite.
    pub outputs: Vec<f32>,
    classes: Arc<[String]>,
}

/// A class and how likely it is.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedClass {
    /// Its index.
    pub class: usize,
    /// Its name, where the names are known.
    pub name: Option<String>,
    /// Its softmax probability, from 0 to 1.
    pub probability: f64,
}

impl Answer {
    /// Of outputs that are all finite.
    pub(super) fn new(outputs: Vec<f32>, classes: Arc<[String]>) -> Result<Self> {
        match outputs.iter().find(|output| !output.is_finite()) {
            None => Ok(Answer { outputs, classes }),
            Some(&output) => Err(Error::NonFiniteOutput { output }),
        }
    }

    /// The `count` most likely classes, the most likely one first; of two that are as likely, the one with the smaller index.
    pub fn top(&self, count: usize) -> Vec<RankedClass> {
        let largest = self.outputs.iter().fold(f32::NEG_INFINITY, |largest, &output| largest.max(output));
        let exponentials: Vec<f64> = self.outputs.iter().map(|&output| f64::from(output - largest).exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        let mut order: Vec<usize> = (0..self.outputs.len()).collect();
        order.sort_by(|&a, &b| self.outputs[b].total_cmp(&self.outputs[a]).then(a.cmp(&b)));
        let ranked = |class: usize| RankedClass {
            class,
            name: self.classes.get(class).cloned(),
            probability: exponentials[class] / sum,
        };
        order.into_iter().take(count).map(ranked).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_likely_classes_come_first_with_their_names() {
        let names: Arc<[String]> = ["a", "b", "c"].map(str::to_owned).into();
        let answer = Answer::new(vec![1.0, 3.0, 3.0, -200.0], names.clone()).unwrap();
        let top = answer.top(9);
        assert_eq!(top.iter().map(|ranked| ranked.class).collect::<Vec<_>>(), [1, 2, 0, 3]);
        assert_eq!(
            top.iter().map(|ranked| ranked.name.as_deref()).collect::<Vec<_>>(),
            [Some("b"), Some("c"), Some("a"), None]
        );
        assert!((top.iter().map(|ranked| ranked.probability).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((top[0].probability - 1.0 / (2.0 + (-2.0_f64).exp())).abs() < 1e-12);
        assert_eq!(answer.top(0), []);
        for output in [f32::NAN, f32::INFINITY] {
            assert!(matches!(Answer::new(vec![0.0, output], names.clone()), Err(Error::NonFiniteOutput { .. })));
        }
    }
}
