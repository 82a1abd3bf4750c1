//! A log of a run in lines of text.

use super::terminal::beside_bar;
use crate::metrics::Metrics;
use crate::torch::device_name;
use crate::train::{Callback, EpochRecord, Event, Outcome, Run};
use crate::{Error, Result};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::ops::ControlFlow;

/// Prints a line per epoch, then the last metrics, the seconds spent training, and the speed:
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
/// Metrics are those over the training samples of the epoch, in training mode, then those of the validation and the
/// test set; the seconds are those of the training steps, without evaluation. There is also a line per checkpoint and
/// per warning.
///
/// When the output cannot be written, as after the end of `head` in `| head`, the run continues without the log.
pub struct ConsoleLog {
    out: Box<dyn Write>,
}

impl Default for ConsoleLog {
    fn default() -> Self {
        ConsoleLog::to(io::stdout())
    }
}

impl ConsoleLog {
    /// Creates a log on standard output.
    pub fn new() -> Self {
        ConsoleLog::default()
    }

    /// Creates a log that is written to `out`.
    pub fn to(out: impl Write + 'static) -> Self {
        ConsoleLog { out: Box::new(out) }
    }

    fn line(&mut self, line: &str) -> Result<()> {
        beside_bar(|| writeln!(self.out, "{line}").and_then(|()| self.out.flush()))
            .map_err(Error::io("write to", "the console"))
    }

    fn end(&mut self, outcome: &Outcome, run: &Run) -> Result<()> {
        if *outcome != Outcome::Finished && run.step > 0 {
            self.line(&format!("stopped in epoch {} after step {} of {}", run.epoch, run.step, run.steps_per_epoch))?;
        }
        if let Some(last) = run.history.last() {
            self.line(&metrics(last))?;
            self.line(&format!("{:.1} sec, on {}", run.history.train_seconds(), device_name(run.vs.device())))?;
            self.line(&format!("{:.1} images/s", run.history.samples_per_second()))?;
        }
        Ok(())
    }
}

impl Callback for ConsoleLog {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<ControlFlow<()>> {
        match event {
            Event::FitStarted => self.line("----------------start------------------")?,
            Event::Resumed { epoch, step, skipped } => {
                for error in *skipped {
                    self.line(&format!("warning: skipped a newer checkpoint: {}", error.with_causes()))?;
                }
                self.line(&format!("resumed in epoch {epoch} after step {step} of {}", run.steps_per_epoch))?;
            }
            Event::Warning { message } => self.line(&format!("warning: {message}"))?,
            Event::CheckpointSaved { steps } => self.line(&format!("saved after step {steps}"))?,
            Event::EpochEnded { record, .. } => self.line(&format!("[epoch {}] {}", record.epoch, metrics(record)))?,
            Event::FitEnded { outcome } => self.end(outcome, run)?,
            Event::StepSkipped { epoch, step, error } => {
                self.line(&format!("warning: step {step} of epoch {epoch} is skipped: {}", error.with_causes()))?;
            }
            Event::FitFailed { .. } if run.step > 0 => {
                self.line(&format!(
                    "failed in epoch {} after step {} of {}",
                    run.epoch, run.step, run.steps_per_epoch
                ))?;
            }
            Event::StepEnded { .. } | Event::EvaluationStarted { .. } | Event::FitFailed { .. } => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A run can do without its log.
    fn is_essential(&self) -> bool {
        false
    }
}

/// Formats metrics as "loss 0.512, train acc 0.811, test acc 0.842"; without an accuracy it shows losses, and other
/// metrics follow under their names.
fn metrics(record: &EpochRecord) -> String {
    let mut line = format!("loss {:.3}", record.train.loss());
    let mut add = |set: &str, metrics: &Metrics| {
        let has_accuracy = metrics.accuracy().is_some();
        for (name, value) in metrics.iter() {
            let name = match name {
                "loss" if has_accuracy || set == "train" => continue,
                "accuracy" => "acc",
                name => name,
            };
            let _ = write!(line, ", {set} {name} {value:.3}");
        }
    };
    add("train", &record.train);
    record.validation.iter().for_each(|metrics| add("validation", metrics));
    record.test.iter().for_each(|metrics| add("test", metrics));
    line
}
