//! Public behavior, one file per subject.

mod augment;
mod augment_runs;
mod autograd;
mod builder_errors;
mod bundle;
mod callbacks;
mod checkpoints;
mod counts;
mod data_cifar;
mod data_fashion_mnist;
mod data_fetch;
mod data_idx;
mod data_loader;
mod data_placement;
mod data_sets;
mod devices;
mod dropout;
mod engine_edges;
mod freezing;
mod full_disk;
mod fused;
mod gradient_mode;
mod history_files;
#[cfg(feature = "images")]
mod image_damage;
#[cfg(feature = "images")]
mod image_folder;
#[cfg(feature = "images")]
mod image_folder_runs;
#[cfg(feature = "images")]
mod image_kinds;
#[cfg(feature = "images")]
mod image_table;
#[cfg(feature = "images")]
mod images;
mod layers;
mod mixing;
mod non_finite;
mod optimizers;
mod parameter_groups;
mod parity;
mod precision;
mod predictor;
mod process_state;
mod recording;
#[cfg(feature = "report")]
mod report_images;
mod run_ends;
mod run_folder;
mod run_identity;
mod support;
mod sync_interval;
mod test_time;
mod timm;
mod trainer;
mod trainer_errors;
mod trainer_stop;
mod weights_files;
mod weights_formats;
#[cfg(feature = "pth")]
mod weights_hostile;
mod weights_options;
#[cfg(feature = "pth")]
mod weights_pytorch;
#[cfg(feature = "pth")]
mod weights_saves;

use support::{alone, datasets, golden, idx_files, memory, numbers, passes, process, real_data, small_run, variables};
