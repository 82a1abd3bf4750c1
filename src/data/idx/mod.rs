//! IDX, the file format of MNIST and its relatives: an array of bytes or numbers behind a short header.
//!
//! Two zero bytes, a type byte, a rank byte, `rank` big-endian sizes of four bytes, then the data, row-major and big-endian.

mod array;
mod header;
mod pair;
mod read;

pub use array::IdxArray;
pub use pair::open_idx_pair;
pub use read::{IdxLimits, read_idx};

pub(super) use pair::pair_dataset;
pub(super) use read::read_idx_with_digest;
