//! What is measured: one file a metric.

pub mod confusion;
mod predictions;
mod scores;

pub use confusion::ConfusionMatrix;
pub use predictions::{ClassPrediction, class_predictions, correct_predictions};
pub use scores::{ScoreSums, Scores};
