//! Repeated fetches, for data sets whose errors may pass: a network file system, a busy server.

use crate::data::Batch;
use crate::error::DataError;
use crate::{Error, Result};
use std::time::Duration;

/// Pause before the first repetition; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause before a repetition.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Fetches a batch, and repeats that up to `retries` times after an error. `pause` waits before a repetition, and returns
/// false where the batch is not needed any more.
pub(super) fn fetch_with_retries(
    retries: usize,
    fetch: impl Fn() -> Result<Batch>,
    pause: impl Fn(Duration) -> bool,
) -> Result<Batch> {
    let mut duration = FIRST_PAUSE;
    for _ in 0..retries {
        match fetch() {
            Err(error) if may_pass(&error) => {
                if !pause(duration) {
                    return Err(error);
                }
            }
            result => return result,
        }
        duration = LONGEST_PAUSE.min(2 * duration);
    }
    fetch()
}

/// Whether an error is the data set's own, and not a fault of its code.
fn may_pass(error: &Error) -> bool {
    !matches!(error, Error::Data(DataError::DatasetPanicked { .. } | DataError::WrongBatch { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn pauses_double_from_a_tenth_of_a_second_to_five_seconds() {
        let pauses = RefCell::new(Vec::new());
        let pause = |duration: Duration| {
            pauses.borrow_mut().push(duration.as_millis());
            true
        };
        assert!(fetch_with_retries(8, || Err(Error::other("busy")), pause).is_err());
        assert_eq!(*pauses.borrow(), [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}
