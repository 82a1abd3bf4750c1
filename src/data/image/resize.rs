//! Resizing of images, antialiased as by PIL and torchvision.

use super::pixels::{Pixels, Rectangle};
use super::{Fit, Image, Interpolation, MAX_SIDE, Values};
use crate::{Error, Result};
use fast_image_resize::images::{CroppedImage, Image as Buffer, ImageRef};
use fast_image_resize::{CropBox, FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use std::cell::RefCell;

impl Interpolation {
    fn algorithm(self) -> ResizeAlg {
        match self {
            Interpolation::Nearest => ResizeAlg::Nearest,
            Interpolation::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
            Interpolation::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
            Interpolation::Lanczos => ResizeAlg::Convolution(FilterType::Lanczos3),
        }
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "images")))]
impl Image {
    /// Resizes an image of bytes to a height and width in pixels, whatever its aspect ratio. Where it becomes smaller,
    /// it is antialiased: the result is that of PIL and of torchvision's `resize`, up to a rounding of 1 in 255.
    ///
    /// # Errors
    ///
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) for a side that is not from 1 to 16,384,
    /// and for an image of f32.
    ///
    /// # Examples
    ///
    /// ```
    /// use densenet::data::{Image, Interpolation, Values};
    ///
    /// let image = Image::new([3, 480, 640], Values::U8(vec![128; 3 * 480 * 640]))?;
    /// assert_eq!(image.resize([224, 224], Interpolation::Bilinear)?.shape(), [3, 224, 224]);
    /// # Ok::<(), densenet::Error>(())
    /// ```
    pub fn resize(&self, [height, width]: [usize; 2], interpolation: Interpolation) -> Result<Image> {
        check_size([height, width])?;
        let bytes = self.bytes_to_resize()?;
        let [channels, old_height, old_width] = self.shape;
        // Up to four channels together, which is the most that are resized at once.
        let mut resized = Vec::with_capacity(channels * height * width);
        for planes in bytes.chunks(MAX_CHANNELS * old_height * old_width) {
            let pixels = Pixels::from_planes([planes.len() / (old_height * old_width), old_height, old_width], planes);
            let pixels = pixels.resize([height, width], interpolation);
            let start = resized.len();
            resized.resize(start + pixels.values.len(), 0);
            pixels.write_planes(&mut resized[start..]);
        }
        Ok(Image { shape: [channels, height, width], values: Values::U8(resized) })
    }
}

/// Most channels that are resized together.
const MAX_CHANNELS: usize = 4;

#[cfg_attr(docsrs, doc(cfg(feature = "images")))]
impl Image {
    /// Gives an image of bytes with one or three channels a height and width in pixels, as an
    /// [`ImageFolder`](crate::data::ImageFolder) does in evaluation.
    ///
    /// # Errors
    ///
    /// Those of [`resize`](Self::resize);
    /// [`ConfigError::InvalidValue`](crate::error::ConfigError::InvalidValue) for a fit that cannot give this size, and
    /// for another number of channels.
    pub fn fit(&self, size: [usize; 2], fit: Fit, interpolation: Interpolation) -> Result<Image> {
        check_size(size)?;
        fit.check(size)?;
        let [channels, ..] = self.shape;
        if !matches!(channels, 1 | 3) {
            return Err(Error::invalid_value("number of channels", channels, "1 or 3"));
        }
        let pixels = Pixels::from_planes(self.shape, self.bytes_to_resize()?);
        Ok(fit.apply(pixels, size, interpolation).into_image())
    }

    fn bytes_to_resize(&self) -> Result<&[u8]> {
        self.bytes().ok_or_else(|| {
            let expected = "bytes: resize before the conversion to f32";
            Error::invalid_value("image to resize", format!("f32 {:?}", self.shape), expected)
        })
    }
}

fn check_size([height, width]: [usize; 2]) -> Result<()> {
    let sides = 1..=MAX_SIDE;
    match sides.contains(&height) && sides.contains(&width) {
        true => Ok(()),
        false => Err(Error::invalid_value("size of an image", format!("{height}×{width}"), "1 to 16384 pixels a side")),
    }
}

thread_local! {
    /// Keeps its buffers between images.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

impl Pixels {
    /// Resizes pixels of 1 to 4 channels to a height and width of 1 to 16,384.
    pub fn resize(&self, size: [usize; 2], interpolation: Interpolation) -> Pixels {
        let whole = Rectangle { left: 0, top: 0, width: self.width, height: self.height };
        self.resize_part(whole, size, interpolation)
    }

    /// Does the same with a rectangle of the pixels, whose surroundings have no influence.
    pub fn resize_part(&self, part: Rectangle, size: [usize; 2], interpolation: Interpolation) -> Pixels {
        if [part.height, part.width] == size {
            return self.crop(part);
        }
        let whole = CropBox { left: 0.0, top: 0.0, width: part.width as f64, height: part.height as f64 };
        self.resize_box(part, whole, size, interpolation)
    }

    /// Resizes to a height and width, and computes only a part of the result.
    pub fn resize_to_part(&self, resized: [usize; 2], part: Rectangle, interpolation: Interpolation) -> Pixels {
        if [self.height, self.width] == resized {
            return self.crop(part);
        }
        let (y, x) = (self.height as f64 / resized[0] as f64, self.width as f64 / resized[1] as f64);
        let (left, top) = (part.left as f64 * x, part.top as f64 * y);
        // Rounding must not lead beyond the edge.
        let width = (part.width as f64 * x).min(self.width as f64 - left);
        let height = (part.height as f64 * y).min(self.height as f64 - top);
        let whole = Rectangle { left: 0, top: 0, width: self.width, height: self.height };
        let size = [part.height, part.width];
        self.resize_box(whole, CropBox { left, top, width, height }, size, interpolation)
    }

    /// Resizes what is in a box of a rectangle of the pixels; only pixels of the rectangle have an influence.
    fn resize_box(&self, part: Rectangle, area: CropBox, size: [usize; 2], interpolation: Interpolation) -> Pixels {
        let [height, width] = size;
        if matches!(interpolation, Interpolation::Nearest | Interpolation::Bilinear) {
            return self.resize_axes(part, area, size, interpolation);
        }
        // Where a filter has negative weights, and values are cut off between the axes, their order matters: it is PIL's.
        let CropBox { left, top, width: area_width, height: area_height } = area;
        let rows = CropBox { left, top: 0.0, width: area_width, height: part.height as f64 };
        let wide = self.resize_axes(part, rows, [part.height, width], interpolation);
        let part = Rectangle { left: 0, top: 0, width, height: part.height };
        let columns = CropBox { left: 0.0, top, width: width as f64, height: area_height };
        wide.resize_axes(part, columns, [height, width], interpolation)
    }

    fn resize_axes(
        &self,
        part: Rectangle,
        area: CropBox,
        [height, width]: [usize; 2],
        interpolation: Interpolation,
    ) -> Pixels {
        let pixel_type = match self.channels {
            1 => PixelType::U8,
            2 => PixelType::U8x2,
            3 => PixelType::U8x3,
            _ => PixelType::U8x4,
        };
        let size = |size: usize| size as u32;
        let mut values = vec![0; width * height * self.channels];
        let result = (|| {
            let image = ImageRef::new(size(self.width), size(self.height), &self.values, pixel_type).ok()?;
            let Rectangle { left, top, width: part_width, height: part_height } = part;
            let part = CroppedImage::new(&image, size(left), size(top), size(part_width), size(part_height)).ok()?;
            let mut resized = Buffer::from_slice_u8(size(width), size(height), &mut values, pixel_type).ok()?;
            let options = ResizeOptions::new().resize_alg(interpolation.algorithm()).use_alpha(false);
            let options = options.crop(area.left, area.top, area.width, area.height);
            RESIZER.with_borrow_mut(|resizer| resizer.resize(&part, &mut resized, &options)).ok()
        })();
        result.expect("a rectangle within pixels of 1 to 4 channels");
        Pixels { width, height, channels: self.channels, values }
    }
}
