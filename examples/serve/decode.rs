//! Images in the bodies of requests: their types, the memory that decoding takes, and decoding.

use crate::args::Args;
use crate::failure::Failure;
use axum::http::{HeaderMap, StatusCode, header};
use densenet::data::{Color, Image, ImageHeader, Values};
use serde::Deserialize;

/// What a body holds.
#[derive(Clone, Copy)]
pub enum Content {
    /// Pixels as JSON.
    Json,
    /// A PNG, JPEG, GIF or BMP file; its first bytes say which.
    File,
}

impl Content {
    /// Reads the content type of a request, whose case and parameters do not matter.
    pub fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match &kind[..] {
            "application/json" => Ok(Content::Json),
            "image/png" | "image/jpeg" | "image/jpg" => Ok(Content::File),
            other => {
                let text =
                    format!("the content type is {other:?}, but has to be application/json, image/png or image/jpeg");
                Err(Failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
            }
        }
    }

    /// Returns the most memory in bytes that decoding takes; an error for an image with too many pixels.
    pub fn memory(self, bytes: &[u8], color: Color, args: &Args) -> Result<u64, Failure> {
        match self {
            Content::Json => json_memory(bytes, color, args),
            Content::File => file_memory(bytes, color, args),
        }
    }

    /// Decodes an image.
    pub fn decode(self, bytes: &[u8], color: Color) -> Result<Image, Failure> {
        match self {
            Content::Json => json_image(bytes),
            Content::File => Ok(Image::decode(bytes, color)?),
        }
    }
}

/// An image as JSON, with pixels from 0 to 1.
#[derive(Deserialize)]
struct Pixels {
    /// Channels, height and width.
    shape: [usize; 3],
    /// Values in row-major order: one channel after the other, row by row.
    pixels: Vec<f32>,
}

fn json_image(bytes: &[u8]) -> Result<Image, Failure> {
    let pixels: Pixels =
        serde_json::from_slice(bytes).map_err(|error| invalid(format!("the JSON is no image: {error}")))?;
    Ok(Image::new(pixels.shape, Values::F32(pixels.pixels))?)
}

/// Values are separated by commas. A vector of f32 that grows has up to twice its values, and the parser copies a text
/// or a number that has escapes or many digits.
fn json_memory(bytes: &[u8], color: Color, args: &Args) -> Result<u64, Failure> {
    let channels = if color == Color::Gray { 1 } else { 3 };
    let most = args.max_pixels.saturating_mul(channels);
    let values = bytes.iter().filter(|&&byte| byte == b',').count();
    // Beside the values there are three commas in an image.
    if values > most.saturating_add(3) {
        return Err(invalid(format!("the JSON has {values} values, and at most {most} are accepted")));
    }
    Ok(bytes.len() as u64 + 8 * values as u64)
}

/// The file, and what its decoder takes.
fn file_memory(bytes: &[u8], color: Color, args: &Args) -> Result<u64, Failure> {
    let ImageHeader { width, height, memory, .. } = ImageHeader::read(bytes, color)?;
    if width * height > args.max_pixels {
        let text = format!("the image has {width}×{height} pixels, and at most {} are accepted", args.max_pixels);
        return Err(invalid(text));
    }
    Ok(bytes.len() as u64 + memory)
}

fn invalid(text: String) -> Failure {
    Failure(StatusCode::UNPROCESSABLE_ENTITY, text)
}
