//! GIF files: the first image of each. The whole file is walked, so that a part that is missing is noticed.

use super::file::{ImageFile, check_size};
use image::{DynamicImage, RgbImage, RgbaImage};
use weezl::{BitOrder, decode::Decoder};

/// The first image of a GIF file, and the screen it is shown on.
pub(super) struct Gif<'a> {
    /// Width and height of the screen, which holds the image.
    screen: (u32, u32),
    palette: Palette,
    image: Frame<'a>,
    transparent: Option<u8>,
}

/// The colors, red, green and blue; those that are not in the file are black.
type Palette = [[u8; 3]; 256];

struct Frame<'a> {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    palette: Option<Palette>,
    is_interlaced: bool,
    /// Number of bits of a color in the compressed data.
    bits: u8,
    /// The compressed data with the lengths of their blocks.
    blocks: &'a [u8],
}

const CUT_OFF: &str = "it is cut off: a GIF without its end";
const DAMAGED: &str = "it is damaged: a GIF with unknown parts";

/// Most bits of a color in compressed data.
const MAX_BITS: u8 = 8;

/// Takes values from the beginning of a file.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn short(&mut self) -> Result<u16, String> {
        self.take(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// Takes blocks, each after its length, to an empty one, and returns them with their lengths.
    fn blocks(&mut self) -> Result<&'a [u8], String> {
        let start = self.0;
        loop {
            match self.byte()? {
                0 => return Ok(&start[..start.len() - self.0.len()]),
                length => self.take(length.into())?,
            };
        }
    }

    /// Takes the palette that a byte of flags says there is.
    fn palette(&mut self, flags: u8) -> Result<Option<Palette>, String> {
        if flags & 0x80 == 0 {
            return Ok(None);
        }
        let mut palette = [[0; 3]; 256];
        let (colors, _) = self.take(3 << ((flags & 7) + 1))?.as_chunks();
        palette[..colors.len()].copy_from_slice(colors);
        Ok(Some(palette))
    }

    fn frame(&mut self) -> Result<Frame<'a>, String> {
        let [left, top, width, height] = [self.short()?, self.short()?, self.short()?, self.short()?].map(usize::from);
        let flags = self.byte()?;
        let palette = self.palette(flags)?;
        let bits = self.byte()?;
        let blocks = self.blocks()?;
        Ok(Frame { left, top, width, height, palette, is_interlaced: flags & 0x40 != 0, bits, blocks })
    }
}

impl<'a> Gif<'a> {
    /// Reads all of the file but the compressed data.
    pub fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let mut bytes = Bytes(bytes);
        bytes.take(6)?;
        let screen = (bytes.short()?, bytes.short()?);
        let flags = bytes.byte()?;
        bytes.take(2)?;
        let global_palette = bytes.palette(flags)?;
        let (mut first, mut transparent) = (None, None);
        loop {
            match bytes.byte()? {
                // Some programs write one empty block too many.
                0 => {}
                b'!' => {
                    let label = bytes.byte()?;
                    let blocks = bytes.blocks()?;
                    if let (0xf9, &[4..=u8::MAX, flags, _, _, color, ..], None) = (label, blocks, &first) {
                        transparent = (flags & 1 != 0).then_some(color);
                    }
                }
                b',' => {
                    let frame = bytes.frame()?;
                    first.get_or_insert(frame);
                }
                b';' => break,
                _ => return Err(DAMAGED.to_owned()),
            }
        }
        let image = first.ok_or("it has no image")?;
        if image.width == 0 || image.height == 0 || !(1..=MAX_BITS).contains(&image.bits) {
            let Frame { width, height, bits, .. } = image;
            return Err(format!("it is damaged: an image of {width}×{height} pixels, compressed with {bits} bits"));
        }
        // An image that is larger than the screen enlarges it, as in PIL.
        let width = (image.left + image.width).max(screen.0.into()) as u32;
        let height = (image.top + image.height).max(screen.1.into()) as u32;
        check_size((width, height))?;
        let gray = std::array::from_fn(|value| [value as u8; 3]);
        let palette = image.palette.or(global_palette).unwrap_or(gray);
        Ok(Gif { screen: (width, height), palette, image, transparent })
    }

    /// Decompresses the colors of the image, row by row as they are in the file.
    fn colors(&self) -> Result<Vec<u8>, String> {
        let Frame { width, height, bits, mut blocks, .. } = self.image;
        let mut colors = vec![0; width * height];
        let mut data = Vec::with_capacity(blocks.len());
        while let [length @ 1..=u8::MAX, rest @ ..] = blocks {
            let (block, rest) = rest.split_at(usize::from(*length));
            data.extend(block);
            blocks = rest;
        }
        let (mut decoder, mut read, mut done) = (Decoder::new(BitOrder::Lsb, bits), 0, 0);
        while done < colors.len() {
            let result = decoder.decode_bytes(&data[read..], &mut colors[done..]);
            result.status.map_err(|error| format!("it is damaged: {error}"))?;
            if (result.consumed_in, result.consumed_out) == (0, 0) {
                let pixels = colors.len();
                return Err(format!("it is cut off or damaged: {done} of {pixels} pixels are there"));
            }
            (read, done) = (read + result.consumed_in, done + result.consumed_out);
        }
        Ok(colors)
    }
}

impl ImageFile for Gif<'_> {
    fn dimensions(&self) -> (u32, u32) {
        self.screen
    }

    fn decoded_bytes(&self) -> u64 {
        let channels = if self.transparent.is_some() { 4 } else { 3 };
        channels * u64::from(self.screen.0) * u64::from(self.screen.1)
    }

    fn working_bytes(&self) -> u64 {
        // The colors, the compressed data, and tables of 4096 codes.
        (self.image.width * self.image.height + self.image.blocks.len() + (1 << 16)) as u64
    }

    fn exif(&self) -> &[u8] {
        &[]
    }

    fn decode(self: Box<Self>) -> Result<DynamicImage, String> {
        let colors = self.colors()?;
        let (width, height) = self.screen;
        // What the image leaves of the screen has the color that is transparent, or else the first.
        let background = self.transparent.unwrap_or(0);
        let color = |index: u8| self.palette[usize::from(index)];
        let alpha = |index: u8| if self.transparent == Some(index) { 0 } else { u8::MAX };
        if self.transparent.is_some() {
            let [red, green, blue] = color(background);
            let mut image = RgbaImage::from_pixel(width, height, [red, green, blue, alpha(background)].into());
            self.for_each(&colors, |x, y, index| {
                let [red, green, blue] = color(index);
                image.put_pixel(x, y, [red, green, blue, alpha(index)].into());
            });
            return Ok(image.into());
        }
        let mut image = RgbImage::from_pixel(width, height, color(background).into());
        self.for_each(&colors, |x, y, index| image.put_pixel(x, y, color(index).into()));
        Ok(image.into())
    }
}

impl Gif<'_> {
    /// Calls a function with the place on the screen of each pixel of the image, and its color.
    fn for_each(&self, colors: &[u8], mut set: impl FnMut(u32, u32, u8)) {
        let Frame { left, top, width, height, .. } = self.image;
        let every = |first: usize, step: usize| (first..height).step_by(step);
        let rows: Box<dyn Iterator<Item = usize>> = match self.image.is_interlaced {
            true => Box::new(every(0, 8).chain(every(4, 8)).chain(every(2, 4)).chain(every(1, 2))),
            false => Box::new(0..height),
        };
        for (y, row) in rows.zip(colors.chunks_exact(width)) {
            for (x, &index) in row.iter().enumerate() {
                set((left + x) as u32, (top + y) as u32, index);
            }
        }
    }
}
