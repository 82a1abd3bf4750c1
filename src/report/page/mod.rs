//! The pages and images of a run, made of plain data.

mod canvas;
pub mod content;
pub mod curves;
mod escape;
#[cfg(test)]
mod examples;
mod font;
mod format;
pub mod html;
pub mod image;
pub mod predictions;
mod series;
mod ticks;
