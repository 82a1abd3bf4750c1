//! Serves predictions over HTTP from a model bundle, such as the file that `fashion_mnist` saves.
//!
//!     cargo run --example serve --features serve -- --weights runs/001/model.safetensors
//!     curl -s --data-binary @shoe.png -H 'content-type: image/png' http://127.0.0.1:8080/predict?top=3
//!     curl -s -H 'content-type: application/json' -d '{"shape": [1, 28, 28], "pixels": [0, 0.5, …]}' http://127.0.0.1:8080/predict
//!
//! Expect `listening on http://127.0.0.1:8080`, and responses such as
//! `{"predictions":[{"class":7,"name":"sneaker","probability":0.98},…]}`, the most likely class first. An error is a
//! response such as `{"error":"the queue is full: …"}` with its status: 408 for a body that does not arrive, 413 for one
//! that is too large, 415 for another content type, 422 for an invalid image, 503 where the server is busy. `GET
//! /health` is 200 while the server runs. Ctrl-C or SIGTERM lets the accepted requests finish, and then ends the server.
//!
//! Memory, connections and waiting are limited, whatever clients do; `--help` lists the limits. `connections` limits
//! what clients hold open, `body` and `budget` what they send, `decode` what becomes of it, and the predictor what waits
//! for the network. `routes` connects them.

mod args;
mod body;
mod budget;
mod connections;
mod decode;
mod environment;
mod failure;
mod routes;

use args::Args;
use clap::Parser;
use densenet::data::Color;
use densenet::error::IoError;
use densenet::predict::{PredictConfig, Predictor, PredictorConfig};
use densenet::tch::Device;
use densenet::weights::Bundle;
use densenet::{Error, Result};
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = environment::complete() {
        eprintln!("the settings of the environment are not completed: {error}");
    }
    match start_predictor(&args).and_then(|(predictor, color)| serve_until_signal(predictor, color, &args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.with_causes());
            ExitCode::FAILURE
        }
    }
}

/// Starts the predictor of a bundle, and returns the channels that images are decoded to.
fn start_predictor(args: &Args) -> Result<(Predictor, Color)> {
    let bundle = Bundle::read(&args.weights)?;
    let color = bundle.color()?;
    let size = bundle.input_shape().map(|[_, height, width]| format!("{height}×{width} pixels"));
    let size = size.unwrap_or_else(|| "their own size".to_owned());
    println!("{} classes, images in {color:?} of {size}", bundle.config.classes);
    let predict = PredictConfig::default().with_device(Device::Cpu).with_batch_size(args.batch_size);
    let max_values = args.max_pixels.saturating_mul(bundle.config.input_channels);
    let config = PredictorConfig::new(predict)
        .with_queue_capacity(args.queue)
        .with_max_image_values(max_values)
        // Images have their share of a budget until they are predicted, which is at least a byte per value.
        .with_max_queued_values((args.image_memory as usize) << 20)
        .with_max_batch_values(args.max_pixels);
    Ok((Predictor::open_with(&args.weights, config)?, color))
}

fn serve_until_signal(predictor: Predictor, color: Color, args: &Args) -> Result<()> {
    let failed =
        |source| Error::Io(IoError::Failed { action: "listen on", path: args.listen.to_string().into(), source });
    // Each image in the queue and the batch has a thread that waits for it.
    let threads = args.queue + args.batch_size + 8;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).max_blocking_threads(threads).enable_all().build().map_err(failed)?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await?;
        println!("listening on http://{}", listener.local_addr()?);
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (ending, ended) = watch::channel(());
        let most = connections::most(args);
        let router = routes::routes(predictor.clone(), color, args, most);
        let mut server = std::pin::pin!(connections::serve(listener, router, args, most, ended));
        tokio::select! {
            () = &mut server => return Ok(()),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        drop(ending);
        // Clients that are slow do not keep the server alive for ever.
        let _ = tokio::time::timeout(Duration::from_secs(args.grace_seconds), server).await;
        Ok(())
    });
    runtime.shutdown_background();
    predictor.shutdown();
    served.map_err(failed)
}
