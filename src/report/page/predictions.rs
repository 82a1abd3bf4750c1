//! `predictions.png`: test images with their class and the predicted one, for people who look at files.

use std::path::Path;

use crate::Result;
use crate::files::replace;
use crate::report::page::canvas::{Canvas, FINE, Rgb};
use crate::report::page::content::{LabeledImage, ReportContent};
use crate::report::page::{font, format};

const COLUMNS: usize = 8;
/// How many images are drawn at most.
const MOST: usize = 32;
/// The side of the square that an image is scaled to.
const SIDE: usize = 144;
/// The least width of a cell, so that the titles have room.
const CELL: usize = 150;
const MARGIN: usize = 24;
const GAP: usize = 18;
/// Room for the line at the top.
const HEAD: usize = 40;
/// Room for the title of an image: two lines.
const TITLE: usize = 50;
const LETTERS: usize = 18;
/// Room for the line below an image, where a probability is known.
const FOOT: usize = 24;
const FRAME: usize = 3;

const INK: Rgb = [17, 24, 39];
const QUIET: Rgb = [75, 85, 99];
const LINE: Rgb = [209, 213, 219];
pub(super) const WRONG: Rgb = [200, 30, 30];

/// Draws the first 32 images, 8 in a row, into a PNG file; the ones predicted wrong have a red frame and a cross.
///
/// Without images no file is written, and one that is there stays.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io) where the file cannot be written.
pub fn write(content: &ReportContent, path: &Path) -> Result<()> {
    let images = &content.images[..content.images.len().min(MOST)];
    if images.is_empty() { Ok(()) } else { replace(path, &grid(images).png()) }
}

/// Pixels of the file in pixels of the surface.
const fn px(pixels: usize) -> i32 {
    (pixels * FINE) as i32
}

fn grid(images: &[LabeledImage]) -> Canvas {
    let columns = images.len().min(COLUMNS);
    let rows = images.len().div_ceil(COLUMNS);
    let scaled: Vec<_> = images.iter().map(|labeled| labeled.image.scaled(SIDE)).collect();
    let tallest = scaled.iter().map(|image| image.height).max().unwrap_or(0);
    let foot = if images.iter().any(|labeled| labeled.probability.is_some()) { FOOT } else { 0 };
    let cell = TITLE + tallest + 2 * FRAME + foot;
    let mut canvas = Canvas::new(
        2 * MARGIN + columns * CELL + (columns - 1) * GAP,
        2 * MARGIN + HEAD + rows * cell + (rows - 1) * GAP,
    );

    let wrong = images.iter().filter(|labeled| !labeled.right).count();
    let room = (columns * CELL + (columns - 1) * GAP) as f32 * FINE as f32;
    let head = format!("{} test images, {} right, {wrong} wrong", images.len(), images.len() - wrong);
    let head = font::fit(&head, px(20) as f32, room);
    canvas.text(&head, px(20) as f32, (px(MARGIN), px(MARGIN - 4)), INK);

    for (at, (labeled, image)) in images.iter().zip(&scaled).enumerate() {
        let left = MARGIN + at % COLUMNS * (CELL + GAP);
        let top = MARGIN + HEAD + at / COLUMNS * (cell + GAP);
        title(&mut canvas, labeled, (left, top));

        let corner = (left, top + TITLE);
        let color = if labeled.right { LINE } else { WRONG };
        canvas.fill((px(corner.0), px(corner.1)), (px(image.width + 2 * FRAME), px(image.height + 2 * FRAME)), color);
        for (at, pixel) in image.pixels.iter().enumerate() {
            let (x, y) = (corner.0 + FRAME + at % image.width, corner.1 + FRAME + at / image.width);
            canvas.fill((px(x), px(y)), (px(1), px(1)), *pixel);
        }
        if !labeled.right {
            cross(&mut canvas, (px(corner.0 + image.width + 2 * FRAME - 10), px(corner.1 + 10)));
        }
        if let Some(probability) = labeled.probability {
            let below = (px(left), px(corner.1 + image.height + 2 * FRAME + 3));
            canvas.text(&format::percent(probability), px(16) as f32, below, QUIET);
        }
    }
    canvas
}

/// The class and the predicted one, each cut to the width of the cell.
fn title(canvas: &mut Canvas, labeled: &LabeledImage, (left, top): (usize, usize)) {
    let size = px(LETTERS) as f32;
    let guess = if labeled.right { INK } else { WRONG };
    let lines = [(format!("true: {}", labeled.truth), INK), (format!("pre: {}", labeled.predicted), guess)];
    for (line, (text, color)) in lines.iter().enumerate() {
        let text = font::fit(text, size, px(CELL + GAP / 2) as f32);
        canvas.text(&text, size, (px(left), px(top + line * 23)), *color);
    }
}

/// A white cross on a red disc.
fn cross(canvas: &mut Canvas, (x, y): (i32, i32)) {
    canvas.disc((x, y), px(13), [255; 3]);
    canvas.disc((x, y), px(11), WRONG);
    let arm = px(5);
    for step in -arm..=arm {
        for (x, y) in [(x + step, y + step), (x + step, y - step)] {
            canvas.disc((x, y), px(1), [255; 3]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::page::examples;
    use crate::report::page::image::Image;
    use crate::report::page::image::tests::decoded;

    fn drawn(images: Vec<LabeledImage>) -> (usize, usize, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.png");
        let mut content = examples::content();
        content.images = images;
        write(&content, &path).unwrap();
        let (width, height, bytes) = decoded(&std::fs::read(path).unwrap());
        (width as usize, height as usize, bytes)
    }

    /// Red pixels in the columns of the cell of image `at` of a single row.
    fn red(bytes: &[u8], width: usize, at: usize) -> usize {
        let columns = MARGIN + at * (CELL + GAP)..MARGIN + at * (CELL + GAP) + CELL;
        let rows = bytes.chunks(3 * width);
        rows.map(|row| columns.clone().filter(|x| row[3 * x..][..3] == WRONG).count()).sum()
    }

    #[test]
    fn the_wrong_ones_and_no_others_are_marked() {
        let images = [true, false, true].map(|right| examples::image("coat".into(), right));
        let (width, _, bytes) = drawn(images.to_vec());
        assert_eq!(red(&bytes, width, 0), 0);
        // A frame of 150 by 150 and 3 wide has 1764 pixels.
        assert!(red(&bytes, width, 1) > 1700);
        assert_eq!(red(&bytes, width, 2), 0);
    }

    #[test]
    fn pixels_are_repeated_and_keep_their_values() {
        let (width, _, bytes) = drawn(vec![examples::image("coat".into(), true)]);
        let pixel = |x: usize, y: usize| bytes[3 * ((MARGIN + HEAD + TITLE + FRAME + y) * width + MARGIN + FRAME + x)];
        assert_eq!([pixel(0, 0), pixel(35, 35), pixel(36, 35), pixel(143, 143)], [0, 0, 8, 120]);
    }

    #[test]
    fn there_are_eight_in_a_row_and_at_most_32() {
        let of = |count| drawn(vec![examples::image("a class with a very long name".into(), false); count]);
        let cell = TITLE + SIDE + 2 * FRAME + FOOT;
        let size = |columns, rows| {
            (2 * MARGIN + columns * CELL + (columns - 1) * GAP, 2 * MARGIN + HEAD + rows * cell + (rows - 1) * GAP)
        };
        for (count, columns, rows) in [(1, 1, 1), (8, 8, 1), (9, 8, 2), (32, 8, 4), (40, 8, 4)] {
            let (width, height, _) = of(count);
            assert_eq!((width, height), size(columns, rows), "{count}");
        }
    }

    #[test]
    fn large_and_colored_images_fit_into_their_cells() {
        let mut labeled = examples::image("shark".into(), true);
        labeled.image = Image::new([3, 300, 500], vec![90; 450_000]).unwrap();
        labeled.probability = None;
        let (width, height, _) = drawn(vec![labeled]);
        assert_eq!(width, 2 * MARGIN + CELL);
        assert_eq!(height, 2 * MARGIN + HEAD + TITLE + 75 + 2 * FRAME);
    }

    #[test]
    fn without_images_there_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.png");
        write(&ReportContent::new("empty"), &path).unwrap();
        assert!(!path.exists());
    }
}
