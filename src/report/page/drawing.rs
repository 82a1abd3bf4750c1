//! Drawing with plotters: the bundled font, a finer grid than the file's, and PNG.
//!
//! plotters draws thick lines and filled shapes with hard edges. So everything is drawn [`FINE`] times as large, and
//! each pixel of the file is the mean of the drawn pixels within it.

use crate::error::IoError;
use std::path::Path;
use std::sync::LazyLock;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;

use crate::{Error, Result, files};

/// Number of drawn pixels per pixel of the file, along a side.
pub(super) const FINE: usize = 2;

/// Color of text and of correct predictions.
pub(super) const INK: RGBColor = RGBColor(31, 41, 55);
/// Color of labels of axes and of probabilities.
pub(super) const QUIET: RGBColor = RGBColor(75, 85, 99);
/// Color of frames of charts and images.
pub(super) const FRAME: RGBColor = RGBColor(156, 163, 175);

/// The surface of an image that is being drawn.
pub(super) type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
/// The result of a drawing function.
pub(super) type Drawn = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// The family under which plotters knows the bundled font.
///
/// It is Ubuntu Light, with Latin, Greek and Cyrillic letters; others appear as boxes (`report.html` uses the reader's
/// fonts).
static FAMILY: LazyLock<&str> = LazyLock::new(|| {
    let family = "densenet-report";
    let registered = register_font(family, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
    assert!(registered.is_ok(), "the bundled font can be read");
    family
});

/// Converts pixels of the file to drawn pixels.
pub(super) const fn px(pixels: usize) -> i32 {
    (pixels * FINE) as i32
}

/// Returns a text style; `size` is in pixels of the file.
pub(super) fn letters(size: usize, color: RGBColor) -> TextStyle<'static> {
    (*FAMILY, px(size)).into_font().color(&color)
}

/// Returns by how many drawn pixels a text of this size has to be moved down to stand in the middle: plotters centers
/// the box of its lines with the letters in the upper part.
pub(super) const fn lower(size: usize) -> i32 {
    px(size) / 5
}

/// Returns the width of a text, in drawn pixels.
pub(super) fn width(text: &str, style: &TextStyle) -> i32 {
    style.font.box_size(text).map_or(0, |(width, _)| width as i32)
}

/// Returns the text, or its beginning and an ellipsis where it is wider than `limit` drawn pixels.
pub(super) fn fit(text: &str, style: &TextStyle, limit: i32) -> String {
    if width(text, style) <= limit {
        return text.to_owned();
    }
    let cuts = text.char_indices().map(|(at, _)| at).rev();
    let mut shortened = cuts.map(|at| format!("{}…", text[..at].trim_end()));
    shortened.find(|short| width(short, style) <= limit).unwrap_or_default()
}

/// Draws an image of `size` (width and height) in pixels of the file, on white, and writes it as PNG.
///
/// # Errors
///
/// [`IoError::Failed`] where it cannot be drawn or written, [`IoError::DiskFull`].
pub(super) fn write(path: &Path, size: (usize, usize), draw: impl FnOnce(&Area) -> Drawn) -> Result<()> {
    let failed = |error: String| {
        Error::Io(IoError::Failed { action: "draw", path: path.to_owned(), source: std::io::Error::other(error) })
    };
    let mut drawn = vec![255; size.0 * size.1 * FINE * FINE * 3];
    {
        let area = BitMapBackend::with_buffer(&mut drawn, (px(size.0) as u32, px(size.1) as u32)).into_drawing_area();
        draw(&area).and_then(|()| Ok(area.present()?)).map_err(|error| failed(error.to_string()))?;
    }
    let file = png(size, &reduced(size, &drawn)).map_err(|error| failed(error.to_string()))?;
    files::replace(path, &file)
}

/// Returns the pixels of the file: each is the mean of the drawn ones.
fn reduced((width, height): (usize, usize), drawn: &[u8]) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(width * height * 3);
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        for channel in 0..3 {
            let rows = (y * FINE..).take(FINE).map(|row| (row * width + x) * FINE);
            let sum: usize =
                rows.flat_map(|row| (row..row + FINE).map(|at| usize::from(drawn[3 * at + channel]))).sum();
            pixels.push((sum / (FINE * FINE)) as u8);
        }
    }
    pixels
}

/// Encodes red, green and blue bytes as a PNG file.
///
/// # Errors
///
/// An error where a side is 0 or does not fit PNG's 31 bits, or `rgb` is not `3 · width · height` bytes long.
pub(super) fn png((width, height): (usize, usize), rgb: &[u8]) -> std::result::Result<Vec<u8>, png::EncodingError> {
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side(width), side(height));
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(file)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A PNG file after decoding.
    pub(in crate::report::page) struct Decoded {
        pub(in crate::report::page) width: usize,
        pub(in crate::report::page) height: usize,
        rgb: Vec<u8>,
    }

    impl Decoded {
        pub(in crate::report::page) fn new(file: &[u8]) -> Self {
            let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
            let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
            let frame = reader.next_frame(&mut rgb).unwrap();
            assert_eq!(frame.color_type, png::ColorType::Rgb);
            Decoded { width: frame.width as usize, height: frame.height as usize, rgb }
        }

        /// Returns the color of a pixel.
        pub(in crate::report::page) fn at(&self, x: usize, y: usize) -> RGBColor {
            let at = 3 * (y * self.width + x);
            RGBColor(self.rgb[at], self.rgb[at + 1], self.rgb[at + 2])
        }

        /// Returns the places of all pixels of this color.
        pub(in crate::report::page) fn places(&self, color: RGBColor) -> Vec<(usize, usize)> {
            let all = (0..self.height).flat_map(|y| (0..self.width).map(move |x| (x, y)));
            all.filter(|&(x, y)| self.at(x, y) == color).collect()
        }
    }

    #[test]
    fn a_file_has_the_means_of_the_drawn_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drawn.png");
        let color = RGBColor(1, 101, 55);
        write(&path, (2, 1), |area| Ok(area.draw(&Rectangle::new([(0, 0), (1, 2)], color.filled()))?)).unwrap();
        let file = Decoded::new(&std::fs::read(path).unwrap());
        assert_eq!((file.width, file.height), (2, 1));
        assert_eq!([file.at(0, 0), file.at(1, 0)], [RGBColor(128, 178, 155), RGBColor(255, 255, 255)]);
    }

    #[test]
    fn letters_leave_ink_within_their_width() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drawn.png");
        let (text, style) = ("true: ankle boot, 93 % jg", letters(40, INK));
        write(&path, (600, 80), |area| Ok(area.draw(&Text::new(text, (px(20), px(10)), style.clone()))?)).unwrap();
        let file = Decoded::new(&std::fs::read(path).unwrap());
        let ink = file.places(INK);
        assert!(ink.len() > 100, "{}", ink.len());
        let end = 21 + width(text, &style) as usize / FINE;
        assert!(ink.iter().all(|&(x, y)| (19..end).contains(&x) && (0..60).contains(&y)));
    }

    #[test]
    fn a_long_text_is_cut_to_its_place() {
        let style = letters(20, INK);
        assert_eq!(fit("boot", &style, px(100)), "boot");
        let short = fit("great white shark, man-eater", &style, px(100));
        assert!(short.starts_with("great") && short.ends_with('…'), "{short}");
        assert!(width(&short, &style) <= px(100));
        assert_eq!(fit("boot", &style, 1), "");
    }
}
