//! A progress bar per epoch.

use super::terminal;
use super::time_estimate::TimeEstimate;
use crate::Result;
use crate::train::{Callback, Event, Run};
use indicatif::{ProgressBar as Bar, ProgressStyle};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Draws a bar on standard error while an epoch runs: epoch, step, loss, images per second, time left. Where standard
/// error is no terminal, as in a log file, it prints a line at least every minute instead. After ten steps it prints
/// how long the run will take.
#[derive(Debug, Default)]
pub struct ProgressBar {
    bar: Option<Bar>,
    loss_sum: f64,
    samples: usize,
    seconds: f64,
    lines: Lines,
    estimate: TimeEstimate,
}

impl ProgressBar {
    /// Creates a callback that draws one bar per epoch.
    pub fn new() -> Self {
        ProgressBar::default()
    }

    fn start(&mut self, epoch: usize, run: &Run) {
        let bar = bar(epoch, run.config.epochs, run.steps_per_epoch);
        terminal::set_bar(Some(bar.clone()));
        (self.bar, self.loss_sum, self.samples, self.seconds) = (Some(bar), 0.0, 0, 0.0);
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            terminal::set_bar(None);
            bar.finish_and_clear();
        }
    }

    /// Formats "loss 0.512, 972 images/s", over the steps of this epoch.
    fn message(&self) -> String {
        let (loss, speed) = (self.loss_sum / self.samples as f64, self.samples as f64 / self.seconds);
        format!("loss {loss:.3}, {speed:.0} images/s")
    }

    fn step_ended(&mut self, epoch: usize, step: usize, duration: Duration, run: &Run) {
        let message = self.message();
        let Some(bar) = &self.bar else { return };
        if bar.is_hidden() && self.lines.is_due(duration) {
            let (epochs, steps) = (run.config.epochs, run.steps_per_epoch);
            // An error is ignored: progress output is not essential.
            let _ = writeln!(io::stderr(), "epoch {epoch}/{epochs}, step {step}/{steps}, {message}");
        }
        bar.set_message(message);
        bar.set_position(step as u64);
    }
}

/// Creates a bar that fills the terminal's line, whatever its width.
fn bar(epoch: usize, epochs: usize, steps: usize) -> Bar {
    let template = "{prefix} {wide_bar} {pos}/{len}, {msg}, {eta} left";
    let style = ProgressStyle::with_template(template).expect("the template is valid").progress_chars("━╸ ");
    Bar::new(steps as u64).with_style(style).with_prefix(format!("epoch {epoch}/{epochs}"))
}

impl Callback for ProgressBar {
    fn on_event(&mut self, event: &Event, run: &Run) -> Result<ControlFlow<()>> {
        match event {
            Event::StepEnded { epoch, step, loss, samples, duration, .. } => {
                if self.bar.is_none() {
                    self.start(*epoch, run);
                }
                self.loss_sum += loss * *samples as f64;
                self.samples += samples;
                self.seconds += duration.as_secs_f64();
                self.step_ended(*epoch, *step, *duration, run);
                self.estimate.step_ended(*samples, *duration, run);
            }
            Event::EvaluationStarted { .. } => {
                if let Some(bar) = &self.bar {
                    bar.set_message("evaluating");
                }
            }
            Event::EpochEnded { .. } | Event::FitEnded { .. } | Event::FitFailed { .. } => self.clear(),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A run can do without its bar.
    fn is_essential(&self) -> bool {
        false
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The times at which lines are printed where there is no terminal.
#[derive(Debug)]
struct Lines {
    printed: Instant,
    every: Duration,
}

impl Default for Lines {
    fn default() -> Self {
        Lines { printed: Instant::now(), every: Duration::from_secs(60) }
    }
}

impl Lines {
    /// Whether to print now, because after another step of this duration it would be too late.
    fn is_due(&mut self, step: Duration) -> bool {
        let is_due = self.printed.elapsed() + step >= self.every;
        if is_due {
            self.printed = Instant::now();
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{ProgressDrawTarget, TermLike};
    use std::sync::{Arc, Mutex};

    /// A terminal of 80 columns that keeps what is written.
    #[derive(Clone, Debug, Default)]
    struct Terminal(Arc<Mutex<String>>);

    impl Terminal {
        fn write(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write(&format!("{text}\n"))
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.write(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            self.write("\n")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_longest_line_fits_80_columns() {
        let terminal = Terminal::default();
        let bar = bar(1000, 1000, 100_000);
        bar.set_draw_target(ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255));
        let mut progress = ProgressBar::new();
        (progress.loss_sum, progress.samples, progress.seconds) = (1234.5, 10, 1e-3);
        bar.set_message(progress.message());
        bar.set_position(99_999);
        bar.force_draw();
        let text = terminal.0.lock().unwrap().clone();
        let line = text.lines().find(|line| line.contains("99999/100000")).expect("a line with the step");
        assert!(line.contains("epoch 1000/1000") && line.contains("loss 123.450, 10000 images/s"), "{line}");
        assert!(line.ends_with("left") && line.contains('━'), "{line}");
        assert!(line.trim_end().chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }

    /// Stops the run after every second step, and checks that there is a bar at every step.
    struct StopAtTwo(crate::train::StopHandle);

    impl Callback for StopAtTwo {
        fn on_event(&mut self, event: &Event, _: &Run) -> Result<ControlFlow<()>> {
            if let Event::StepEnded { step, .. } = event {
                assert!(terminal::has_bar(), "step {step}");
                if *step == 2 {
                    self.0.stop();
                }
            }
            Ok(ControlFlow::Continue(()))
        }
    }

    #[test]
    fn a_run_that_continues_inside_of_an_epoch_has_a_bar_from_its_first_step_on() {
        use crate::data::SyntheticConfig;
        use crate::{Datasets, DenseNetConfig, SgdConfig, TrainConfig, Trainer};
        let vs = tch::nn::VarStore::new(tch::Device::Cpu);
        let net = DenseNetConfig::new(10).with_input_channels(1).with_initial_channels(4).with_growth_rate(4);
        let model = net.with_layers_per_block([1]).build(&vs.root()).unwrap();
        let optimizer = SgdConfig::new(0.1).build(&vs).unwrap();
        let trainer = Trainer::new(vs, model, optimizer, TrainConfig::new(1).with_batch_size(4)).unwrap();
        let stop = trainer.stop_handle();
        let mut trainer = trainer.with_callback(ProgressBar::new()).with_callback(StopAtTwo(stop));
        let samples = SyntheticConfig::new(16).with_sample_shape([1, 16, 16]).build().unwrap();
        assert_eq!(trainer.fit(&Datasets::new(&samples)).unwrap().epochs.len(), 0);
        assert!(!terminal::has_bar());
        assert_eq!(trainer.fit(&Datasets::new(&samples)).unwrap().epochs.len(), 1);
    }

    #[test]
    fn a_line_comes_before_its_minute_is_over() {
        let mut lines = Lines::default();
        assert!(!lines.is_due(Duration::from_secs(1)));
        assert!(lines.is_due(Duration::from_secs(60)), "the next step would end too late");
        let minute = Duration::from_secs(60);
        lines.printed = Instant::now().checked_sub(minute).expect("the clock runs for a minute already");
        assert!(lines.is_due(Duration::ZERO) && !lines.is_due(Duration::ZERO));
    }
}
