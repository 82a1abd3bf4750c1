//! A handle that ends a run from outside.

#[cfg(feature = "signals")]
use crate::{Error, Result, error::IoError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "signals")]
use std::sync::atomic::AtomicI32;

/// Ends a run after its current step, from any thread: bind it to Ctrl-C, a timer or a button. For use within a
/// callback, take it from the trainer before the callback is added.
///
/// # Examples
///
/// Ctrl-C in your own program, between the configuration of a trainer and its `fit`:
///
/// ```no_run
/// # fn run(mut trainer: densenet::Trainer<densenet::DenseNet>, datasets: densenet::train::Datasets) -> densenet::Result<()> {
/// # #[cfg(feature = "signals")]
/// trainer.stop_handle().on_ctrl_c()?;
/// trainer.fit(&datasets)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct StopHandle(Arc<State>);

#[derive(Debug, Default)]
struct State {
    stopped: AtomicBool,
    /// The first signal that was received; 0 before.
    #[cfg(feature = "signals")]
    signal: AtomicI32,
}

impl StopHandle {
    /// Requests the end of the run after its current step, or within an evaluation after its current batch. Calling
    /// `fit` again, or resuming the run, continues it.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether the end of the run was requested.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }

    /// Withdraws the request, once a run has ended because of it, so that a later call of `fit` continues.
    pub(super) fn reset(&self) {
        self.0.stopped.store(false, Ordering::Relaxed);
    }

    /// Ends the run at Ctrl-C (SIGINT) and at SIGTERM: the first signal ends it after the current step, so that
    /// weights, checkpoint and report are saved; the second one ends the process at once, with 128 plus the signal's
    /// number as its exit code.
    ///
    /// It affects the process from now on. A program that calls `fit` again afterwards should ask [`signal`](Self::signal)
    /// before, since the user may want it to end.
    ///
    /// # Errors
    ///
    /// [`IoError::Signals`] where the operating system does not allow it.
    #[cfg(feature = "signals")]
    pub fn on_ctrl_c(&self) -> Result<()> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let failed = |source| Error::Io(IoError::Signals { source });
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
        let handle = self.clone();
        let wait = move || {
            for signal in signals.forever() {
                match handle.0.signal.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => handle.stop(),
                    // An exit that does not wait for libtorch's threads, one of which may be within a step.
                    Err(_) => signal_hook::low_level::exit(128 + signal),
                }
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop).map_err(failed)
    }

    /// Returns the number of the signal that ended the run, such as 2 for Ctrl-C; `None` without a signal. A shell
    /// expects 128 plus this number as the program's exit code.
    #[cfg(feature = "signals")]
    pub fn signal(&self) -> Option<i32> {
        Some(self.0.signal.load(Ordering::Relaxed)).filter(|&signal| signal != 0)
    }
}
