//! Predictions over HTTP: a network trained by `fashion_mnist`, one process, any number of clients.
//!
//!     cargo run --example serve --features serve -- --weights runs/001/model.safetensors
//!     curl -s --data-binary @shoe.png -H 'content-type: image/png' http://127.0.0.1:8080/predict?top=3
//!     curl -s -H 'content-type: application/json' -d '{"shape": [1, 28, 28], "pixels": [0, 0.5, …]}' http://127.0.0.1:8080/predict
//!
//! Expect `listening on http://127.0.0.1:8080`, and responses such as `{"classes":[{"class":7,"name":"sneaker","probability":0.98},…]}`.
//! `/health` says whether it is there. Too large a request is 413, what is no image 422, and a full queue 503. Ctrl-C or SIGTERM
//! finishes the open requests and ends.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use densenet::data::{Color, Image, Values};
use densenet::predict::{PredictConfig, Predictor, PredictorConfig};
use densenet::tch::{Device, nn::VarStore};
use densenet::weights::{LoadConfig, load};
use densenet::{DenseNetConfig, Error, FashionMnist, Model, Preprocess, Result};
use serde::Deserialize;
use serde_json::json;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

#[derive(Parser)]
#[command(about = "Serves a network trained on Fashion-MNIST over HTTP")]
struct Args {
    /// Weights that `fashion_mnist` saved
    #[arg(long)]
    weights: PathBuf,
    /// Address and port; with port 0 the system chooses one
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Side of the images that the network was trained with, in pixels
    #[arg(long, default_value_t = 96)]
    resize: usize,
    /// Largest number of images that go through the network together
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    /// Largest number of images that wait
    #[arg(long, default_value_t = 256)]
    queue: usize,
    /// Largest size of a request in bytes
    #[arg(long, default_value_t = 8 << 20)]
    max_bytes: usize,
    /// Seconds that open requests may take after a signal to end
    #[arg(long, default_value_t = 10)]
    grace_seconds: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match predictor(&args).and_then(|predictor| serve_until_signal(predictor, &args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.with_causes());
            ExitCode::FAILURE
        }
    }
}

fn predictor(args: &Args) -> Result<Predictor> {
    let vs = VarStore::new(Device::Cpu);
    let model = DenseNetConfig::fashion_mnist().build(&vs.root())?;
    let _ = writeln!(io::stdout(), "weights: {}", load(&vs, &args.weights, &LoadConfig::new())?);
    let side = args.resize;
    model.check_input(&[1, 1, side as i64, side as i64], densenet::nn::Mode::Eval)?;
    let how = PredictConfig::default()
        .with_device(Device::Cpu)
        .with_batch_size(args.batch_size)
        .with_preprocess(Preprocess::new().with_size([side, side]));
    let config = PredictorConfig::new(how)
        .with_queue(args.queue)
        .with_largest_sample(1 << 23)
        .with_sample_shape([1, side, side])
        .with_classes(FashionMnist::CLASSES.map(str::to_owned).into());
    Predictor::start(model, config)
}

fn serve_until_signal(predictor: Predictor, args: &Args) -> Result<()> {
    let failed = |source| Error::Io { action: "listen on", path: args.listen.to_string().into(), source };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(failed)?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await?;
        let _ = writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?);
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (ending, ended) = tokio::sync::oneshot::channel::<()>();
        let server = axum::serve(listener, routes(predictor.clone(), args)).with_graceful_shutdown(async move {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            let _ = ending.send(());
        });
        let grace = Duration::from_secs(args.grace_seconds);
        tokio::select! {
            served = async { server.await } => served,
            // Clients that do not go away do not keep it for ever.
            _ = async { let _ = ended.await; tokio::time::sleep(grace).await } => Ok(()),
        }
    });
    predictor.shutdown();
    served.map_err(failed)
}

fn routes(predictor: Predictor, args: &Args) -> Router {
    Router::new()
        .route("/health", get(async || Json(json!({ "status": "ok" }))))
        .route("/predict", post(respond))
        .layer(DefaultBodyLimit::max(args.max_bytes))
        .with_state(predictor)
}

#[derive(Deserialize)]
struct Options {
    /// How many classes
    #[serde(default = "three")]
    top: usize,
}

fn three() -> usize {
    3
}

/// An image as numbers from 0 to 1.
#[derive(Deserialize)]
struct Pixels {
    /// Channels, height, width.
    shape: [usize; 3],
    pixels: Vec<f32>,
}

/// A reason and the status that goes with it.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::QueueFull { .. } | Error::PredictorStopped => StatusCode::SERVICE_UNAVAILABLE,
            Error::Image { .. }
            | Error::SampleShape { .. }
            | Error::NonFiniteOutput { .. }
            | Error::InvalidConfig { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal(status, error.with_causes())
    }
}

async fn respond(
    State(predictor): State<Predictor>,
    Query(options): Query<Options>,
    headers: HeaderMap,
    body: Bytes,
) -> std::result::Result<Response, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let image = image(kind.split(';').next().unwrap_or_default().trim(), body).await?;
    // Waiting for the model would keep other requests from being read.
    let prediction = aside(move || Ok(predictor.try_predict(image)?)).await?;
    let classes = prediction.top(options.top).into_iter();
    let classes =
        classes.map(|ranked| json!({ "class": ranked.class, "name": ranked.name, "probability": ranked.probability }));
    let classes: Vec<_> = classes.collect();
    Ok(Json(json!({ "classes": classes })).into_response())
}

/// The image that a request is about.
async fn image(kind: &str, body: Bytes) -> std::result::Result<Image, Refusal> {
    // Images can be much larger than their files: few are decoded at the same time.
    static DECODING: Semaphore = Semaphore::const_new(4);
    match kind {
        "application/json" => pixels(&body),
        "image/png" | "image/jpeg" => {
            let _permit = DECODING.acquire().await;
            aside(move || Ok(Image::decode(&body, Color::Gray)?)).await
        }
        other => {
            let text =
                format!("the content type is {other:?}, and application/json, image/png and image/jpeg are read");
            Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
        }
    }
}

/// Runs what takes its time on a thread for that.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, Refusal> + Send + 'static,
) -> std::result::Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())))
}

fn pixels(body: &[u8]) -> std::result::Result<Image, Refusal> {
    let pixels: Pixels = serde_json::from_slice(body)
        .map_err(|error| Refusal(StatusCode::UNPROCESSABLE_ENTITY, format!("the JSON is not as wanted: {error}")))?;
    Ok(Image::new(pixels.shape, Values::F32(pixels.pixels))?)
}
