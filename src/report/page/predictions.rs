//! `predictions.png`: images of the test set under their true and predicted classes.

use std::path::Path;

use plotters::element::BitMapElement;
use plotters::prelude::*;

use super::content::{LabeledImage, ReportContent, Shown};
use super::drawing::{self, Area, Drawn, FINE, FRAME, INK, QUIET, fit, letters, px};
use super::format;
use crate::Result;

/// Largest number of images in the file.
const MOST: usize = 32;
/// Number of images per row.
const COLUMNS: usize = 8;
/// The side of the square that an image is fitted into.
const SIDE: usize = 144;
/// The width of the frame around an image.
const BORDER: usize = 3;
/// The width of a cell: an image and its frame.
const CELL: usize = SIDE + 2 * BORDER;
/// The height of the two lines above an image.
const TITLE: usize = 44;
/// The height of the line below an image.
const FOOT: usize = 24;
/// The distance between cells.
const GAP: usize = 18;
/// The distance from the edges of the file.
const MARGIN: usize = 24;
/// The height of the line above all images.
const HEAD: usize = 38;
/// Color of wrong predictions.
const WRONG: RGBColor = RGBColor(185, 28, 28);

/// Draws up to 32 images, eight to a row, with their true and predicted classes, into a PNG file. Wrong predictions
/// have a red frame and a cross.
///
/// Without images no file is written.
///
/// # Errors
///
/// [`IoError::Failed`](crate::error::IoError::Failed) or [`IoError::DiskFull`](crate::error::IoError::DiskFull) where
/// the file cannot be written.
pub(crate) fn write(content: &ReportContent, path: &Path) -> Result<()> {
    let images = &content.images[..content.images.len().min(MOST)];
    let columns = images.len().min(COLUMNS);
    if columns == 0 {
        return Ok(());
    }
    // All images of a data set have one size; the rows are as high as the highest one needs.
    let scaled: Vec<_> = images.iter().map(scaled).collect();
    let highest = scaled.iter().map(|image| image.height).max().unwrap_or(0);
    let foot = if images.iter().any(|labeled| labeled.probability.is_some()) { FOOT } else { 0 };
    let cell = TITLE + highest + 2 * BORDER + foot;
    let along = |cells: usize, size: usize| 2 * MARGIN + cells * size + (cells - 1) * GAP;
    let size = (along(columns, CELL), HEAD + along(images.len().div_ceil(columns), cell));

    drawing::write(path, size, |area| {
        let wrong = images.iter().filter(|labeled| !labeled.correct).count();
        let head = format!("{} test images: {} correct, {wrong} wrong", images.len(), images.len() - wrong);
        let style = letters(20, INK);
        let head = fit(&head, &style, px(size.0 - 2 * MARGIN));
        area.draw(&Text::new(head, (px(MARGIN), px(MARGIN - 4)), style))?;
        for (at, (labeled, image)) in images.iter().zip(scaled).enumerate() {
            let corner = (MARGIN + at % columns * (CELL + GAP), MARGIN + HEAD + at / columns * (cell + GAP));
            draw(area, labeled, image, corner)?;
        }
        Ok(())
    })
}

/// Draws one image with its title and its frame; `corner` is in pixels of the file.
fn draw(area: &Area, labeled: &LabeledImage, image: Scaled, (left, top): (usize, usize)) -> Drawn {
    let guess = if labeled.correct { INK } else { WRONG };
    let lines = [format!("true: {}", labeled.truth), format!("pred: {}", labeled.predicted)];
    for (line, (text, color)) in lines.iter().zip([INK, guess]).enumerate() {
        let style = letters(17, color);
        let text = fit(text, &style, px(CELL + GAP / 2));
        area.draw(&Text::new(text, (px(left), px(top + line * 20)), style))?;
    }

    let top = top + TITLE;
    let (right, bottom) = (left + image.width + 2 * BORDER, top + image.height + 2 * BORDER);
    let frame = if labeled.correct { FRAME } else { WRONG };
    let corners = [(px(left), px(top)), (px(right), px(bottom))];
    area.draw(&Rectangle::new(corners, frame.filled()))?;
    if labeled.correct {
        // A thin line is enough: white up to one pixel.
        let inside = [(px(left + 1), px(top + 1)), (px(right - 1), px(bottom - 1))];
        area.draw(&Rectangle::new(inside, WHITE.filled()))?;
    }
    let size = (px(image.width) as u32, px(image.height) as u32);
    let place = (px(left + BORDER), px(top + BORDER));
    if let Some(pixels) = BitMapElement::with_owned_buffer(place, size, image.drawn) {
        area.draw(&pixels)?;
    }
    if !labeled.correct {
        cross(area, (px(right - 10), px(top + 10)))?;
    }
    if let Some(probability) = labeled.probability {
        area.draw(&Text::new(format::percent(probability), (px(left), px(bottom + 7)), letters(15, QUIET)))?;
    }
    Ok(())
}

/// Draws a white cross on a red disc.
fn cross(area: &Area, (x, y): (i32, i32)) -> Drawn {
    area.draw(&Circle::new((x, y), px(12), WHITE.filled()))?;
    area.draw(&Circle::new((x, y), px(10), WRONG.filled()))?;
    let (arm, line) = (px(4), WHITE.stroke_width(px(2) as u32));
    area.draw(&PathElement::new([(x - arm, y - arm), (x + arm, y + arm)], line))?;
    Ok(area.draw(&PathElement::new([(x - arm, y + arm), (x + arm, y - arm)], line))?)
}

/// An image scaled to its size in the file.
struct Scaled {
    width: usize,
    height: usize,
    /// Red, green and blue of the drawn pixels: [`FINE`] times the size, along each side.
    drawn: Vec<u8>,
}

/// Fits an image into its square: each pixel is repeated an integer number of times, or, where the image is too large,
/// each is the mean of a block of pixels.
fn scaled(labeled: &LabeledImage) -> Scaled {
    let ((rows, columns), pixels) = (labeled.size(), labeled.rgb());
    let (large, small) = (labeled.enlargement(SIDE), rows.max(columns).div_ceil(SIDE));
    let (height, width) = ((rows * large / small).max(1), (columns * large / small).max(1));
    let mean = |row: usize, column: usize| {
        let near = |at: usize, end: usize| (at * small / large..).take(small).map(move |at| at.min(end - 1));
        let around = near(row, rows).flat_map(|y| near(column, columns).map(move |x| y * columns + x));
        let sum = around.fold([0; 3], |sum, at| [0, 1, 2].map(|c| sum[c] + usize::from(pixels[at][c])));
        sum.map(|sum| (sum / (small * small)) as u8)
    };
    let drawn = (0..height * FINE).flat_map(|y| (0..width * FINE).flat_map(move |x| mean(y / FINE, x / FINE)));
    Scaled { width, height, drawn: drawn.collect() }
}

#[cfg(test)]
mod tests {
    use super::drawing::tests::Decoded;
    use super::*;
    use crate::data::{Image, Values};
    use crate::report::page::examples;

    fn drawn(images: Vec<LabeledImage>) -> Decoded {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.png");
        let mut content = examples::content();
        content.images = images;
        write(&content, &path).unwrap();
        Decoded::new(&std::fs::read(path).unwrap())
    }

    fn sized(shape: [usize; 3], bytes: Vec<u8>) -> LabeledImage {
        let image = Image::new(shape, Values::U8(bytes)).unwrap();
        LabeledImage { image, probability: None, ..examples::image("shark".into(), true) }
    }

    #[test]
    fn the_wrong_ones_and_no_others_are_marked() {
        let file = drawn([true, false, true].map(|correct| examples::image("coat".into(), correct)).to_vec());
        let red = file.places(WRONG);
        let columns = |at: usize| MARGIN + at * (CELL + GAP)..MARGIN + at * (CELL + GAP) + CELL;
        let count = |at: usize| red.iter().filter(|(x, _)| columns(at).contains(x)).count();
        // A frame of 150 by 150 pixels and 3 wide has 1764, less some under the cross.
        assert!(count(1) > 1650, "{}", count(1));
        assert_eq!([count(0), count(2)], [0, 0]);
    }

    #[test]
    fn pixels_are_repeated_and_keep_their_values() {
        let file = drawn(vec![examples::image("coat".into(), true)]);
        let pixel = |x: usize, y: usize| file.at(MARGIN + BORDER + x, MARGIN + HEAD + TITLE + BORDER + y).0;
        assert_eq!([pixel(0, 0), pixel(35, 35), pixel(36, 35), pixel(143, 143)], [0, 0, 8, 120]);
    }

    #[test]
    fn a_small_image_is_repeated_and_a_large_one_averaged() {
        let small = scaled(&sized([1, 2, 2], vec![0, 50, 100, 250]));
        assert_eq!((small.width, small.height), (SIDE, SIDE));
        let at = |x: usize, y: usize| small.drawn[3 * (y * SIDE * FINE + x)];
        let half = SIDE * FINE / 2;
        assert_eq!([at(half - 1, 0), at(half, 0), at(0, half), at(2 * half - 1, half)], [0, 50, 100, 250]);

        let thin = scaled(&sized([3, 1, 2 * SIDE], (0..6 * SIDE).map(|at| (at % 200) as u8).collect()));
        assert_eq!((thin.width, thin.height), (SIDE, 1));
        // The mean of the first two pixels, in each of the three channels.
        assert_eq!(thin.drawn[..3], [0, 88, 176]);
    }

    #[test]
    fn there_are_eight_in_a_row_and_at_most_32() {
        let cell = TITLE + SIDE + 2 * BORDER + FOOT;
        let size = |columns: usize, rows: usize| {
            (2 * MARGIN + columns * CELL + (columns - 1) * GAP, 2 * MARGIN + HEAD + rows * cell + (rows - 1) * GAP)
        };
        for (count, columns, rows) in [(1, 1, 1), (8, 8, 1), (9, 8, 2), (32, 8, 4), (40, 8, 4)] {
            let file = drawn(vec![examples::image("a class with a very long name".into(), false); count]);
            assert_eq!((file.width, file.height), size(columns, rows), "{count}");
        }
    }

    #[test]
    fn large_and_colored_images_fit_into_their_cells() {
        let file = drawn(vec![sized([3, 300, 500], vec![90; 450_000])]);
        assert_eq!(file.width, 2 * MARGIN + CELL);
        assert_eq!(file.height, 2 * MARGIN + HEAD + TITLE + 75 + 2 * BORDER);
    }

    #[test]
    fn without_images_there_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.png");
        write(&ReportContent::new("empty"), &path).unwrap();
        assert!(!path.exists());
    }
}
