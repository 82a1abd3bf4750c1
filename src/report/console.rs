//! A run as lines of text.

use crate::metrics::Scores;
use crate::torch::device_name;
use crate::train::{Callback, EpochRecord, Event, Flow, Outcome, Run};
use crate::{Error, Result};
use std::fmt::Write as _;
use std::io::{self, Write};

/// Prints a line an epoch, then the last figures, the seconds spent training, and the speed; where checkpoints are saved, a line
/// each once it is on the disk:
///
/// ```text
/// ----------------start------------------
/// [epoch 1] loss 0.512, train acc 0.811, test acc 0.842
/// [epoch 2] loss 0.334, train acc 0.878, test acc 0.871
/// loss 0.334, train acc 0.878, test acc 0.871
/// 123.4 sec, on cpu
/// 972.4 images/s
/// ```
///
/// Loss and accuracy are means over the samples of the epoch, in training mode; the seconds are those of the training steps,
/// without evaluation.
pub struct ConsoleLog {
    out: Box<dyn Write>,
}

impl Default for ConsoleLog {
    fn default() -> Self {
        ConsoleLog::to(io::stdout())
    }
}

impl ConsoleLog {
    /// Prints to standard output.
    pub fn new() -> Self {
        ConsoleLog::default()
    }

    /// Prints elsewhere.
    pub fn to(out: impl Write + 'static) -> Self {
        ConsoleLog { out: Box::new(out) }
    }

    fn line(&mut self, line: &str) -> Result<()> {
        writeln!(self.out, "{line}").and_then(|()| self.out.flush()).map_err(|source| Error::Io {
            action: "write to",
            path: "the console".into(),
            source,
        })
    }
}

impl Callback for ConsoleLog {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<Flow> {
        match event {
            Event::FitStarted => self.line("----------------start------------------")?,
            Event::Resumed { epoch, step } => {
                self.line(&format!("resumed in epoch {epoch} after step {step} of {}", run.steps_per_epoch))?
            }
            Event::CheckpointSaved { steps } => self.line(&format!("saved after step {steps}"))?,
            Event::EpochEnded { record, .. } => self.line(&format!("[epoch {}] {}", record.epoch, figures(record)))?,
            Event::FitEnded { outcome } => {
                if let Outcome::Stopped { epoch, step, epoch_completed: false } = outcome {
                    let steps = run.steps_per_epoch;
                    self.line(&format!("stopped in epoch {epoch} after step {step} of {steps}"))?;
                }
                if let Some(last) = run.history.last() {
                    self.line(&figures(last))?;
                    let device = device_name(run.vs.device());
                    self.line(&format!("{:.1} sec, on {device}", run.history.train_seconds()))?;
                    self.line(&format!("{:.1} images/s", run.history.samples_per_second()))?;
                }
            }
            _ => {}
        }
        Ok(Flow::Continue)
    }
}

/// "loss 0.512, train acc 0.811, test acc 0.842"; where there is no accuracy, losses.
fn figures(record: &EpochRecord) -> String {
    let mut line = format!("loss {:.3}", record.train.loss);
    let mut add = |name: &str, scores: &Scores, always: bool| {
        let _ = match scores.accuracy {
            Some(accuracy) => write!(line, ", {name} acc {accuracy:.3}"),
            None if always => write!(line, ", {name} loss {:.3}", scores.loss),
            None => Ok(()),
        };
    };
    add("train", &record.train, false);
    if let Some(validation) = &record.validation {
        add("validation", validation, true);
    }
    add("test", &record.test, true);
    line
}
