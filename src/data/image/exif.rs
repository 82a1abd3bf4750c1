//! The orientation of an image, from its EXIF metadata. Nothing else of them is read, so that nothing in them can take
//! memory or time.

use image::metadata::Orientation;

/// The tag of the orientation (EXIF 2.32, section 4.6.4).
const ORIENTATION: u16 = 0x112;

/// Returns the orientation that EXIF metadata name. None, or damaged ones, leave the image as it is.
pub(super) fn orientation(exif: &[u8]) -> Orientation {
    let value = find(exif).and_then(|value| Orientation::from_exif(value.try_into().ok()?));
    value.unwrap_or(Orientation::NoTransforms)
}

/// Finds the orientation in the first directory, which is that of the image itself.
fn find(exif: &[u8]) -> Option<u32> {
    let is_little = match exif.get(..2)? {
        b"II" => true,
        b"MM" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = exif.get(at..)?.first_chunk()?;
        Some(if is_little { u16::from_le_bytes(*bytes) } else { u16::from_be_bytes(*bytes) })
    };
    let long = |at: usize| {
        let bytes = exif.get(at..)?.first_chunk()?;
        Some(if is_little { u32::from_le_bytes(*bytes) } else { u32::from_be_bytes(*bytes) })
    };
    if short(2)? != 42 {
        return None;
    }
    let directory = long(4)? as usize;
    for entry in 0..usize::from(short(directory)?) {
        let at = directory + 2 + 12 * entry;
        if short(at)? == ORIENTATION {
            // Its type is SHORT; some programs write LONG.
            return match (short(at + 2)?, long(at + 4)?) {
                (3, 1) => short(at + 8).map(u32::from),
                (4, 1) => long(at + 8),
                _ => None,
            };
        }
    }
    None
}
