//! Requests and their responses.

use crate::args::Args;
use crate::body::{Received, receive};
use crate::budget::Budget;
use crate::connections::Waiting;
use crate::decode::Content;
use crate::failure::Failure;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use densenet::data::Color;
use densenet::metrics::ClassPrediction;
use densenet::predict::Predictor;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What the requests share.
#[derive(Clone)]
struct Shared {
    predictor: Predictor,
    /// Memory of bodies that are received or wait.
    bodies: Budget,
    /// Memory of images that are decoded or predicted.
    images: Budget,
    /// Requests whose body has arrived. They are fewer than connections, so that one of these can always be closed.
    in_work: Arc<Semaphore>,
    args: Arc<Args>,
    /// Channels that images are decoded to.
    color: Color,
}

/// Creates the routes of a server with this many connections.
pub fn routes(predictor: Predictor, color: Color, args: &Args, connections: usize) -> Router {
    let shared = Shared {
        predictor,
        bodies: Budget::new("bodies", args.body_memory, args.wait_time()),
        images: Budget::new("images", args.image_memory, args.wait_time()),
        in_work: Arc::new(Semaphore::new(connections.div_ceil(2))),
        args: Arc::new(args.clone()),
        color,
    };
    Router::new()
        .route("/health", get(async || Json(json!({ "status": "ok" }))))
        .route("/predict", post(predict))
        .fallback(async || Failure(StatusCode::NOT_FOUND, "there are /health and /predict".to_owned()))
        .method_not_allowed_fallback(async || {
            Failure(StatusCode::METHOD_NOT_ALLOWED, "the methods are GET /health and POST /predict".to_owned())
        })
        .with_state(shared)
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

/// Handles a request `POST /predict`.
async fn predict(
    State(shared): State<Shared>,
    Extension(waiting): Extension<Arc<Waiting>>,
    options: Result<Query<Options>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Failure> {
    let received = receive(body, &headers, &shared.bodies, &shared.args).await?;
    waiting.end();
    let busy = |_| Failure(StatusCode::SERVICE_UNAVAILABLE, "the server is busy: too many requests".to_owned());
    let _in_work = shared.in_work.try_acquire().map_err(busy)?;
    let Query(options) = options.map_err(|error| Failure(StatusCode::BAD_REQUEST, error.body_text()))?;
    let content = Content::of(&headers)?;
    predict_body(&shared, content, received, options.top).await
}

/// Decodes and predicts on threads for work that blocks, which own the memory that they use.
async fn predict_body(
    shared: &Shared,
    content: Content,
    received: Received,
    top: usize,
) -> Result<Json<Value>, Failure> {
    let (args, color) = (Arc::clone(&shared.args), shared.color);
    let (received, memory) = run_blocking(move || {
        let memory = content.memory(&received.bytes, color, &args)?;
        Ok((received, memory))
    })
    .await?;
    let share = shared.images.share(memory).await?;
    let predictor = shared.predictor.clone();
    run_blocking(move || {
        let image = content.decode(&received.bytes, color)?;
        drop(received);
        let prediction = predictor.try_predict(image)?;
        drop(share);
        let predictions = prediction.top(top).into_iter().map(|ClassPrediction { class, probability }| {
            json!({ "class": class, "name": prediction.name(class), "probability": probability })
        });
        Ok(Json(json!({ "predictions": predictions.collect::<Vec<_>>() })))
    })
    .await
}

/// Runs work that blocks on a thread for such work.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())))
}
