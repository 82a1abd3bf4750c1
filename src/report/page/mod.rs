//! The pages and pictures of a run, made of plain data.

mod canvas;
pub mod content;
pub mod curves;
mod escape;
#[cfg(test)]
mod examples;
mod font;
mod format;
pub mod html;
pub mod picture;
pub mod predictions;
mod series;
mod ticks;
