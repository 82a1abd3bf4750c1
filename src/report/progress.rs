//! Progress bars.

use crate::Result;
use crate::train::{Callback, Event, Flow, Run};
use indicatif::{ProgressBar as Bar, ProgressStyle};

/// A bar on standard error while an epoch runs: epoch and batch, images a second, loss, time left. Quiet where standard error is
/// no terminal. Add it before whatever prints lines, so that it has cleared itself by then.
#[derive(Debug, Default)]
pub struct ProgressBar {
    bar: Option<Bar>,
    loss_sum: f64,
    samples: usize,
    seconds: f64,
}

impl ProgressBar {
    /// A bar an epoch.
    pub fn new() -> Self {
        ProgressBar::default()
    }

    fn start(&mut self, epoch: usize, run: &Run) {
        let template = "{prefix} {bar:30} batch {pos}/{len}, {msg}, {eta} left";
        let style = ProgressStyle::with_template(template).expect("the template is valid").progress_chars("━╸ ");
        let bar = Bar::new(run.steps_per_epoch as u64).with_style(style);
        bar.set_prefix(format!("epoch {epoch}/{}", run.config.epochs));
        *self = ProgressBar { bar: Some(bar), ..Default::default() };
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Callback for ProgressBar {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<Flow> {
        match event {
            Event::StepEnded { epoch, step, loss, samples, duration } => {
                if *step == 1 {
                    self.start(*epoch, run);
                }
                self.loss_sum += loss * *samples as f64;
                self.samples += samples;
                self.seconds += duration.as_secs_f64();
                if let Some(bar) = &self.bar {
                    let (loss, speed) = (self.loss_sum / self.samples as f64, self.samples as f64 / self.seconds);
                    bar.set_message(format!("loss {loss:.3}, {speed:.0} images/s"));
                    bar.set_position(*step as u64);
                }
            }
            Event::EvaluationStarted { .. } => {
                if let Some(bar) = &self.bar {
                    bar.set_message("evaluating");
                }
            }
            Event::EpochEnded { .. } | Event::FitEnded { .. } => self.clear(),
            Event::FitStarted | Event::Resumed { .. } | Event::CheckpointSaved { .. } => {}
        }
        Ok(Flow::Continue)
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        self.clear();
    }
}
