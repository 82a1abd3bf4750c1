//! What the decoder needs of a file of any format, and the limits that apply before an image is decoded.

use super::MAX_SIDE;
use image::DynamicImage;

/// Largest number of pixels.
const MAX_PIXELS: u64 = 1 << 26;

/// A file of one of the formats, whose header has been read.
pub(super) trait ImageFile {
    /// Returns width and height in pixels.
    fn dimensions(&self) -> (u32, u32);

    /// Returns the number of bytes of the decoded image.
    fn decoded_bytes(&self) -> u64;

    /// Returns the most bytes that decoding needs beside the file and its result.
    fn working_bytes(&self) -> u64;

    /// Returns the EXIF metadata; empty where there are none.
    fn exif(&self) -> &[u8];

    /// Decodes the image, with 8 bits per channel.
    fn decode(self: Box<Self>) -> Result<DynamicImage, String>;
}

/// Checks that an image has at least one pixel, and no more than are read.
pub(super) fn check_size((width, height): (u32, u32)) -> Result<(), String> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS || width.max(height) as usize > MAX_SIDE {
        let limits = format!("at most {MAX_PIXELS}, and {MAX_SIDE} a side, are read");
        return Err(format!("it has {width}×{height} pixels, and {limits}"));
    }
    if pixels == 0 {
        return Err(format!("it has no pixels: {width}×{height}"));
    }
    Ok(())
}
