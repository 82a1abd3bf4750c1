//! A surface to draw on, for plotters and by hand.
//!
//! plotters' own bitmap surface takes its letters from whatever text feature any crate in the build has turned on, the
//! system's fonts among them, and leaves thick lines with hard edges. This one brings its font, and draws everything
//! twice as fine as it is shown.

use std::convert::Infallible;

use plotters::style::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind as ErrorKind,
};

use crate::report::page::{font, image};

/// How many pixels of the surface make one of the file, along a side.
pub(super) const FINE: usize = 2;

/// Red, green and blue.
pub(super) type Rgb = [u8; 3];

/// A surface, white at first. Its coordinates are fine pixels: [`FINE`] of them make one of the file.
pub(super) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
}

impl Canvas {
    /// A surface for a file of this size.
    pub(super) fn new(width: usize, height: usize) -> Self {
        let (width, height) = (width * FINE, height * FINE);
        Canvas { width, height, pixels: vec![[255; 3]; width * height] }
    }

    /// Lays a color over a pixel; outside of the surface nothing happens.
    pub(super) fn dot(&mut self, x: i32, y: i32, color: Rgb, alpha: f32) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x < self.width && y < self.height {
            let under = &mut self.pixels[y * self.width + x];
            for (under, over) in under.iter_mut().zip(color) {
                *under = (f32::from(*under) + (f32::from(over) - f32::from(*under)) * alpha).round() as u8;
            }
        }
    }

    /// Fills a rectangle.
    pub(super) fn fill(&mut self, (left, top): (i32, i32), (width, height): (i32, i32), color: Rgb) {
        for y in top..top + height {
            for x in left..left + width {
                self.dot(x, y, color, 1.0);
            }
        }
    }

    /// Fills a circle.
    pub(super) fn disc(&mut self, center: (i32, i32), radius: i32, color: Rgb) {
        for y in -radius..=radius {
            for x in -radius..=radius {
                let edge = radius as f32 + 0.5 - ((x * x + y * y) as f32).sqrt();
                self.dot(center.0 + x, center.1 + y, color, edge.clamp(0.0, 1.0));
            }
        }
    }

    /// Writes a line of text; its left end and its top are at the corner.
    pub(super) fn text(&mut self, text: &str, size: f32, corner: (i32, i32), color: Rgb) {
        font::draw(text, size, |x, y, coverage| self.dot(corner.0 + x, corner.1 + y, color, coverage));
    }

    /// The file: each of its pixels is the mean of the fine ones.
    pub(super) fn png(&self) -> Vec<u8> {
        let (width, height) = (self.width / FINE, self.height / FINE);
        let mut bytes = Vec::with_capacity(width * height * 3);
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            for channel in 0..3 {
                let rows = (y * FINE..).take(FINE).map(|row| &self.pixels[row * self.width + x * FINE..][..FINE]);
                let sum: usize = rows.flatten().map(|pixel| usize::from(pixel[channel])).sum();
                bytes.push((sum / (FINE * FINE)) as u8);
            }
        }
        image::encode(png::ColorType::Rgb, width, height, &bytes)
    }
}

impl DrawingBackend for &mut Canvas {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (self.width as u32, self.height as u32)
    }

    fn ensure_prepared(&mut self) -> Result<(), ErrorKind<Infallible>> {
        Ok(())
    }

    fn present(&mut self) -> Result<(), ErrorKind<Infallible>> {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Result<(), ErrorKind<Infallible>> {
        self.dot(x, y, color.rgb.into(), color.alpha as f32);
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        center: BackendCoord,
        radius: u32,
        style: &S,
        _fill: bool,
    ) -> Result<(), ErrorKind<Infallible>> {
        self.disc(center, radius as i32, style.color().rgb.into());
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        pos: BackendCoord,
    ) -> Result<(), ErrorKind<Infallible>> {
        let (width, height) = self.estimate_text_size(text, style)?;
        let left = match style.anchor().h_pos {
            HPos::Left => 0,
            HPos::Center => width as i32 / 2,
            HPos::Right => width as i32,
        };
        let above = match style.anchor().v_pos {
            VPos::Top => 0,
            VPos::Center => height as i32 / 2,
            VPos::Bottom => height as i32,
        };
        let (turn, color) = (style.transform(), style.color());
        font::draw(text, style.size() as f32, |x, y, coverage| {
            let (x, y) = turn.transform(x - left, y - above);
            self.dot(pos.0 + x, pos.1 + y, color.rgb.into(), coverage * color.alpha as f32);
        });
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), ErrorKind<Infallible>> {
        let size = style.size() as f32;
        Ok((font::width(text, size).ceil() as u32, font::height(size).ceil() as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::page::image::tests::decoded;

    #[test]
    fn a_file_has_the_means_of_the_fine_pixels() {
        let mut canvas = Canvas::new(2, 1);
        canvas.fill((0, 0), (1, 2), [1, 101, 55]);
        canvas.fill((-5, 1), (100, 100), [1, 101, 55]);
        let mean = |part: usize| ((part * 255 + (4 - part)) / 4) as u8;
        assert_eq!(mean(1), 64);
        let (width, height, bytes) = decoded(&canvas.png());
        assert_eq!((width, height), (2, 1));
        assert_eq!((bytes[0], bytes[3]), (mean(1), mean(2)));
    }

    #[test]
    fn what_is_outside_is_not_drawn() {
        let mut canvas = Canvas::new(3, 3);
        canvas.disc((-20, -20), 3, [0; 3]);
        canvas.text("far away", 12.0, (500, -300), [0; 3]);
        assert!(canvas.pixels.iter().all(|pixel| *pixel == [255; 3]));
    }
}
