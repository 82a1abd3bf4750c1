//! The real Fashion-MNIST.

use densenet::error::DataError;
use densenet::{Error, FashionMnist, Split};

/// A split of the real data. A test that cannot run without them says so and, in CI, fails.
pub fn real_data(split: Split) -> Option<FashionMnist> {
    match FashionMnist::open(split) {
        Ok(dataset) => Some(dataset),
        Err(error @ Error::Data(DataError::DatasetNotFound { .. })) => {
            assert!(std::env::var_os("CI").is_none(), "the real data are needed in CI: {error}");
            eprintln!("not run: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
