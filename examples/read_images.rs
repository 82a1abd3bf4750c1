//! Measures how fast a folder of images is read: decoded, resized and put into batches, without a network.
//!
//!     cargo run --example read_images -- flowers/train --size 224 --workers 2
//!
//! Expect a line such as `5120 images/s` for each epoch. `benches/image_folder/peer.py` measures torchvision in the same way.

use clap::Parser;
use densenet::Result;
use densenet::data::{Fit, ImageConfig, ImageFolder, LoaderConfig};
use std::path::PathBuf;
use std::time::Instant;

/// Read a folder of images as training does, and print the images per second of each epoch
#[derive(Parser)]
struct Args {
    /// Folder with one folder of images per class
    folder: PathBuf,
    /// Height and width of the samples in pixels; without it, the images have one size already
    #[arg(long)]
    size: Option<usize>,
    /// Number of worker threads
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Number of images per batch
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Number of times that all images are read
    #[arg(long, default_value_t = 3)]
    epochs: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    densenet::tune_allocator()?;
    let mut config = ImageConfig::new();
    if let Some(size) = args.size {
        config = config.with_size([size, size]).with_fit(Fit::CenterCrop { resize_size: size * 256 / 224 });
    }
    let images = ImageFolder::open_with(&args.folder, &config)?;
    let loader = LoaderConfig::new(args.batch).with_shuffle().with_workers(args.workers).build()?;
    for epoch in 0..args.epochs {
        let (start, mut count) = (Instant::now(), 0);
        std::thread::scope(|scope| {
            for batch in loader.batches(scope, &images, epoch)? {
                count += batch?.len();
            }
            Ok::<(), densenet::Error>(())
        })?;
        println!("{:.0} images/s", count as f64 / start.elapsed().as_secs_f64());
    }
    Ok(())
}
