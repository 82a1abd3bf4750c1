//! What the tests share. The files of `tests/` that are test programs of their own use some of these modules by their path.

pub mod alone;
pub mod datasets;
pub mod golden;
pub mod idx_files;
pub mod memory;
pub mod numbers;
pub mod passes;
pub mod process;
pub mod real_data;
pub mod small_run;
pub mod variables;
