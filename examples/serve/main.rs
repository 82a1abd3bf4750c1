//! Serves predictions over HTTP from a network that `fashion_mnist` trained.
//!
//!     cargo run --example serve --features serve -- --weights runs/001/model.safetensors
//!     curl -s --data-binary @shoe.png -H 'content-type: image/png' http://127.0.0.1:8080/predict?top=3
//!     curl -s -H 'content-type: application/json' -d '{"shape": [1, 28, 28], "pixels": [0, 0.5, …]}' http://127.0.0.1:8080/predict
//!
//! Expect `listening on http://127.0.0.1:8080`, and responses such as
//! `{"predictions":[{"class":7,"name":"sneaker","probability":0.98},…]}`, the most likely class first. An error is a
//! response such as `{"error":"the queue is full: …"}` with its status: 413 for a request that is too large, 415 for
//! another content type, 422 for an invalid image, 503 for a full queue. `GET /health` is 200 while the server runs.
//! Ctrl-C or SIGTERM lets the accepted requests finish, and then ends the server.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use densenet::data::{Color, Image, Values};
use densenet::error::{ConfigError, DataError, InputError, IoError, PredictionError};
use densenet::metrics::ClassPrediction;
use densenet::predict::{PredictConfig, Predictor, PredictorConfig};
use densenet::tch::{Device, nn::VarStore};
use densenet::weights::{LoadConfig, load};
use densenet::{DenseNetConfig, Error, FashionMnist, Model, Preprocess, Result};
use serde::Deserialize;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

/// Serve predictions over HTTP from a network trained on Fashion-MNIST
#[derive(Parser)]
struct Args {
    /// Weights that the example `fashion_mnist` saved, such as runs/001/model.safetensors
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// IP address and port to listen on; the system chooses a port instead of 0
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Height and width in pixels that images are resized to: those of the training
    #[arg(long, value_name = "PIXELS", default_value_t = 96)]
    resize: usize,
    /// Most images that go through the network together
    #[arg(long, value_name = "IMAGES", default_value_t = 32)]
    batch_size: usize,
    /// Most images that wait in the queue; more are refused with status 503
    #[arg(long, value_name = "IMAGES", default_value_t = 256)]
    queue: usize,
    /// Most bytes of a request's body; more are refused with status 413
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20)]
    max_bytes: usize,
    /// Longest time in seconds that accepted requests may take after Ctrl-C or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    grace_seconds: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match start_predictor(&args).and_then(|predictor| serve_until_signal(predictor, &args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.with_causes());
            ExitCode::FAILURE
        }
    }
}

fn start_predictor(args: &Args) -> Result<Predictor> {
    let vs = VarStore::new(Device::Cpu);
    let model = DenseNetConfig::fashion_mnist().build(&vs.root())?;
    println!("weights: {}", load(&vs, &args.weights, &LoadConfig::new())?);
    let side = args.resize;
    model.check_input(&[1, 1, side as i64, side as i64], densenet::nn::Mode::Eval)?;
    let predict = PredictConfig::default()
        .with_device(Device::Cpu)
        .with_batch_size(args.batch_size)
        .with_preprocess(Preprocess::new().with_size([side, side]));
    let config = PredictorConfig::new(predict)
        .with_queue_capacity(args.queue)
        .with_max_image_values(1 << 23)
        .with_sample_shape([1, side, side])
        .with_classes(FashionMnist::CLASSES.map(str::to_owned).into());
    Predictor::start(model, config)
}

fn serve_until_signal(predictor: Predictor, args: &Args) -> Result<()> {
    let failed =
        |source| Error::Io(IoError::Failed { action: "listen on", path: args.listen.to_string().into(), source });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(failed)?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await?;
        println!("listening on http://{}", listener.local_addr()?);
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (ending, ended) = tokio::sync::oneshot::channel::<()>();
        let server = axum::serve(listener, routes(predictor.clone(), args)).with_graceful_shutdown(async move {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            let _ = ending.send(());
        });
        let grace = Duration::from_secs(args.grace_seconds);
        tokio::select! {
            served = async { server.await } => served,
            // Idle clients do not keep the server alive for ever.
            _ = async { let _ = ended.await; tokio::time::sleep(grace).await } => Ok(()),
        }
    });
    predictor.shutdown();
    served.map_err(failed)
}

fn routes(predictor: Predictor, args: &Args) -> Router {
    Router::new()
        .route("/health", get(async || Json(json!({ "status": "ok" }))))
        .route("/predict", post(predict))
        .layer(DefaultBodyLimit::max(args.max_bytes))
        .with_state(predictor)
}

/// The query of a request to predict.
#[derive(Deserialize)]
struct Options {
    /// Number of classes in the response.
    #[serde(default = "three")]
    top: usize,
}

fn three() -> usize {
    3
}

/// An image as JSON, with pixels from 0 to 1.
#[derive(Deserialize)]
struct Pixels {
    /// Channels, height and width.
    shape: [usize; 3],
    /// Values in row-major order: one channel after the other, row by row.
    pixels: Vec<f32>,
}

/// An error response: status and reason.
struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::Prediction(PredictionError::QueueFull { .. }) | Error::Prediction(PredictionError::Stopped) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Error::Data(DataError::Image { .. })
            | Error::Input(InputError::SampleShape { .. })
            | Error::Prediction(PredictionError::NonFiniteOutput { .. })
            | Error::Config(ConfigError::InvalidValue { .. }) => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Failure(status, error.with_causes())
    }
}

/// Handles a request `POST /predict`.
async fn predict(
    State(predictor): State<Predictor>,
    Query(options): Query<Options>,
    headers: HeaderMap,
    body: Bytes,
) -> std::result::Result<Response, Failure> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let image = decode(content_type.split(';').next().unwrap_or_default().trim(), body).await?;
    // Waiting for the model would keep other requests from being read.
    let prediction = run_blocking(move || Ok(predictor.try_predict(image)?)).await?;
    let predictions = prediction.top(options.top).into_iter().map(|ClassPrediction { class, probability }| {
        json!({ "class": class, "name": prediction.name(class), "probability": probability })
    });
    let predictions: Vec<_> = predictions.collect();
    Ok(Json(json!({ "predictions": predictions })).into_response())
}

/// Decodes the image in the body of a request.
async fn decode(content_type: &str, body: Bytes) -> std::result::Result<Image, Failure> {
    // Decoded images can be much larger than their files, so that few may be decoded at the same time.
    static DECODING: Semaphore = Semaphore::const_new(4);
    match content_type {
        "application/json" => pixels(&body),
        "image/png" | "image/jpeg" => {
            let _permit = DECODING.acquire().await;
            run_blocking(move || Ok(Image::decode(&body, Color::Gray)?)).await
        }
        other => {
            let text =
                format!("the content type is {other:?}, but has to be application/json, image/png or image/jpeg");
            Err(Failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
        }
    }
}

/// Runs work that blocks on a thread for such work.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, Failure> + Send + 'static,
) -> std::result::Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())))
}

fn pixels(body: &[u8]) -> std::result::Result<Image, Failure> {
    let pixels: Pixels = serde_json::from_slice(body)
        .map_err(|error| Failure(StatusCode::UNPROCESSABLE_ENTITY, format!("the JSON is no image: {error}")))?;
    Ok(Image::new(pixels.shape, Values::F32(pixels.pixels))?)
}
