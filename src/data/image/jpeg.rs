//! JPEG files: finds the image in a file, and decodes it only if all of it is there.
//!
//! Decoders are made to show as much as they can: where data is missing they fill in gray, and say nothing. So this
//! module reads the markers itself. It ends the image at its end marker, ignores what follows, and checks that the scans
//! bring every coefficient. Whether the last scan is complete only a decoder can tell, and it tells by a trick: the data
//! is followed by ones. No code of JPEG consists of ones alone (ITU-T T.81, annex C), so that a decoder that needs more
//! data than there is meets an invalid code.

use super::file::ImageFile;
use image::{DynamicImage, GrayImage, RgbImage};
use memchr::memchr;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// The image of a JPEG file.
pub(super) struct Jpeg<'a> {
    /// What a decoder needs of the file: markers with their segments, and scans.
    parts: Vec<&'a [u8]>,
    /// The EXIF metadata; empty where there are none.
    exif: &'a [u8],
    frame: Frame,
    /// Number of scans, in which the coefficients arrive.
    scans: usize,
}

/// The header of a frame.
struct Frame {
    is_progressive: bool,
    height: u16,
    width: u16,
    components: Vec<Component>,
}

struct Component {
    id: u8,
    /// Number of bits that each coefficient still lacks; [`NONE_YET`] before its first bits.
    lacks: [u8; 64],
}

const NONE_YET: u8 = u8::MAX;

/// Most segments and scans that a decoder needs. Files have some dozens; millions of empty ones would take more memory
/// than the file.
const MAX_PARTS: usize = 4096;

/// Most scans. Encoders write about ten; each one passes over all coefficients of the image, however little it has.
const MAX_SCANS: usize = 100;

const CUT_OFF: &str = "it is cut off: a JPEG without its end";

/// Markers (ITU-T T.81, table B.1).
mod marker {
    pub const START: u8 = 0xd8;
    pub const END: u8 = 0xd9;
    pub const SCAN: u8 = 0xda;
    pub const HUFFMAN_TABLES: u8 = 0xc4;
    pub const PROGRESSIVE_FRAME: u8 = 0xc2;
    pub const EXIF: u8 = 0xe1;

    /// Whether a marker stands alone, without a segment.
    pub fn is_alone(marker: u8) -> bool {
        matches!(marker, 0x01 | START | 0xd0..=0xd7)
    }

    /// Whether the marker begins the header of a frame.
    pub fn is_frame(marker: u8) -> bool {
        matches!(marker, 0xc0..=0xcf) && !matches!(marker, HUFFMAN_TABLES | 0xc8 | 0xcc)
    }

    /// Whether a decoder needs the marker's segment: tables, headers, and what JFIF and Adobe say of the colors.
    pub fn is_needed(marker: u8) -> bool {
        matches!(marker, 0xc0..=0xdf | 0xe0 | 0xee)
    }
}

impl<'a> Jpeg<'a> {
    /// Reads the markers up to the end of the image, and checks that nothing is missing between them.
    pub fn find(bytes: &'a [u8]) -> Result<Self, String> {
        let mut parts = Vec::new();
        let (mut at, mut exif, mut frame, mut scans) = (2, &[][..], None::<Frame>, 0);
        loop {
            let code = next_marker(bytes, &mut at).ok_or(CUT_OFF)?;
            if code == marker::END {
                break;
            } else if marker::is_alone(code) {
                continue;
            }
            let segment = segment(bytes, at).ok_or(CUT_OFF)?;
            at += segment.len();
            if marker::is_needed(code) {
                if parts.len() >= MAX_PARTS {
                    return Err(format!("it has more than {MAX_PARTS} segments and scans"));
                }
                // With the marker before it.
                parts.push(&bytes[at - segment.len() - 2..at]);
            }
            let content = &segment[2..];
            match code {
                _ if marker::is_frame(code) && frame.is_some() => return Err("it has several frames".to_owned()),
                _ if marker::is_frame(code) => frame = Some(Frame::parse(code, content)?),
                marker::SCAN => {
                    frame.as_mut().ok_or("it has a scan before its frame")?.add_scan(content)?;
                    scans += 1;
                    if scans > MAX_SCANS {
                        return Err(format!("it has more than {MAX_SCANS} scans"));
                    }
                    let end = end_of_scan(bytes, at).ok_or(CUT_OFF)?;
                    parts.push(&bytes[at..end]);
                    at = end;
                }
                marker::EXIF if exif.is_empty() => exif = content.strip_prefix(EXIF_HEADER).unwrap_or_default(),
                _ => {}
            }
        }
        let frame = frame.ok_or("it has no image")?;
        frame.check_is_complete()?;
        Ok(Jpeg { parts, exif, frame, scans })
    }

    fn is_gray(&self) -> bool {
        self.frame.components.len() == 1
    }

    fn pixels(&self) -> u64 {
        u64::from(self.frame.width) * u64::from(self.frame.height)
    }
}

impl ImageFile for Jpeg<'_> {
    fn dimensions(&self) -> (u32, u32) {
        (self.frame.width.into(), self.frame.height.into())
    }

    fn exif(&self) -> &[u8] {
        self.exif
    }

    fn decoded_bytes(&self) -> u64 {
        self.pixels() * if self.is_gray() { 1 } else { 3 }
    }

    /// Returns the most bytes that decoding needs beside its result: the data, and all coefficients, in two bytes each,
    /// where they arrive in several scans.
    fn working_bytes(&self) -> u64 {
        // Coefficients fill the image up to whole units, of at most 32 pixels a side.
        let padded = |side: u16| u64::from(side).next_multiple_of(32);
        let coefficients = padded(self.frame.width) * padded(self.frame.height) * self.frame.components.len() as u64;
        let coefficients = if self.frame.is_progressive || self.scans > 1 { 2 * coefficients } else { 0 };
        // Rows of units, in a few forms.
        let rows = 32 * 16 * padded(self.frame.width);
        coefficients + rows + self.parts.iter().map(|part| part.len() as u64).sum::<u64>()
    }

    fn decode(self: Box<Self>) -> Result<DynamicImage, String> {
        let length: usize = self.parts.iter().map(|part| part.len()).sum();
        let mut data = Vec::with_capacity(length + 70);
        data.extend([0xff, marker::START]);
        self.parts.iter().for_each(|part| data.extend(*part));
        // Bytes of ones, as they are written within a scan.
        data.extend([0xff, 0].repeat(32));
        data.extend([0xff, marker::END]);
        let (width, height) = self.dimensions();
        let color = if self.is_gray() { ColorSpace::Luma } else { ColorSpace::RGB };
        let options = DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(color);
        let options = options
            .set_max_width(usize::from(u16::MAX))
            .set_max_height(usize::from(u16::MAX))
            .jpeg_set_max_scans(MAX_SCANS);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&data), options);
        let values = decoder.decode().map_err(|error| format!("it is damaged: {error}"))?;
        let image = match color {
            ColorSpace::Luma => GrayImage::from_raw(width, height, values).map(DynamicImage::from),
            _ => RgbImage::from_raw(width, height, values).map(DynamicImage::from),
        };
        image.ok_or_else(|| format!("its values are not those of {width}×{height} pixels"))
    }
}

/// The beginning of EXIF metadata in their segment.
const EXIF_HEADER: &[u8] = b"Exif\0\0";

impl Frame {
    /// Reads the header of a frame.
    fn parse(code: u8, content: &[u8]) -> Result<Self, String> {
        let damaged = || "the header of its frame is damaged".to_owned();
        let &[_precision, h1, h2, w1, w2, count, ref rest @ ..] = content else { return Err(damaged()) };
        let components: Vec<_> =
            rest.chunks_exact(3).map(|component| Component { id: component[0], lacks: [NONE_YET; 64] }).collect();
        let (height, width) = (u16::from_be_bytes([h1, h2]), u16::from_be_bytes([w1, w2]));
        if components.len() != usize::from(count) || components.is_empty() || height == 0 || width == 0 {
            return Err(damaged());
        }
        Ok(Frame { is_progressive: code == marker::PROGRESSIVE_FRAME, height, width, components })
    }

    /// Notes which coefficients a scan brings, from its header.
    fn add_scan(&mut self, content: &[u8]) -> Result<(), String> {
        let damaged = || "the header of a scan is damaged".to_owned();
        let (&count, rest) = content.split_first().ok_or_else(damaged)?;
        let (components, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(damaged)?;
        let &[first, last, bits] = rest else { return Err(damaged()) };
        // Other than progressive frames have all bits of all coefficients of a component in one scan.
        let (first, last, lacks) = if self.is_progressive { (first, last, bits & 15) } else { (0, 63, 0) };
        for component in components.chunks_exact(2) {
            let component = self.components.iter_mut().find(|other| other.id == component[0]).ok_or_else(damaged)?;
            component.lacks.get_mut(first.into()..=last.into()).ok_or_else(damaged)?.fill(lacks);
        }
        Ok(())
    }

    /// Checks that the scans brought all bits of all coefficients.
    fn check_is_complete(&self) -> Result<(), String> {
        let is_complete = |component: &Component| component.lacks == [0; 64];
        if self.components.iter().all(is_complete) {
            return Ok(());
        }
        Err("it is cut off: a JPEG that lacks scans".to_owned())
    }
}

/// Returns the code of the next marker, and moves `at` behind it; `None` at the end of the file.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        *at += bytes.get(*at..)?.iter().position(|&byte| byte == 0xff)?;
        *at += bytes[*at..].iter().position(|&byte| byte != 0xff)?;
        *at += 1;
        match bytes[*at - 1] {
            0 => {}
            code => return Some(code),
        }
    }
}

/// Returns a marker's segment with the two bytes of its length.
fn segment(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let length = bytes.get(at..at + 2)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    bytes.get(at..at + length).filter(|segment| segment.len() >= 2)
}

/// Returns the place of the marker that ends a scan; markers of restart are within it.
fn end_of_scan(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr(0xff, bytes.get(at..)?)?;
        match bytes.get(at + 1)? {
            0 | 0xd0..=0xd7 => at += 2,
            0xff => at += 1,
            _ => return Some(at),
        }
    }
}
