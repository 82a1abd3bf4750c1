//! Error responses: a status, and JSON that says what is wrong.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use densenet::Error;
use densenet::error::{ConfigError, DataError, InputError, PredictionError};
use serde_json::json;

/// An error response: status and reason.
pub struct Failure(pub StatusCode, pub String);

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
