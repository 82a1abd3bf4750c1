//! The font of the images that are drawn here, and where its letters go.
//!
//! It comes with a crate, so that drawing needs no fonts on the machine. It covers the Latin, Greek and Cyrillic letters;
//! others appear as boxes (`report.html` uses the reader's fonts).

use std::borrow::Cow;
use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, GlyphId, PxScale, ScaleFont};

static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).expect("the bundled font can be read")
});

/// The font at a size: `pixels` from the baseline of one line to the next, roughly.
fn scaled(pixels: f32) -> ab_glyph::PxScaleFont<&'static FontRef<'static>> {
    FONT.as_scaled(PxScale::from(pixels * 1.15))
}

/// The height of a line, in pixels.
pub(super) fn height(pixels: f32) -> f32 {
    scaled(pixels).height()
}

/// The width of a text, in pixels.
pub(super) fn width(text: &str, pixels: f32) -> f32 {
    let mut end = 0.0;
    place(text, pixels, |glyph, x| end = x + scaled(pixels).h_advance(glyph));
    end
}

/// Calls `dot` with the place of each pixel that a text covers, from the top left corner of its line, and how much of it.
pub(super) fn draw(text: &str, pixels: f32, mut dot: impl FnMut(i32, i32, f32)) {
    let font = scaled(pixels);
    place(text, pixels, |glyph, x| {
        let glyph = glyph.with_scale_and_position(font.scale(), ab_glyph::point(x, font.ascent()));
        if let Some(outline) = font.outline_glyph(glyph) {
            let corner = outline.px_bounds().min;
            outline.draw(|x, y, coverage| dot(corner.x as i32 + x as i32, corner.y as i32 + y as i32, coverage));
        }
    });
}

/// The text, or its beginning and an ellipsis where it is wider than `limit`.
pub(super) fn fit(text: &str, pixels: f32, limit: f32) -> Cow<'_, str> {
    if width(text, pixels) <= limit {
        return Cow::Borrowed(text);
    }
    let cuts = text.char_indices().map(|(at, _)| at).rev();
    let shorter = cuts.map(|at| format!("{}…", text[..at].trim_end())).find(|short| width(short, pixels) <= limit);
    Cow::Owned(shorter.unwrap_or_default())
}

/// Calls `put` with each letter and where it begins.
fn place(text: &str, pixels: f32, mut put: impl FnMut(GlyphId, f32)) {
    let font = scaled(pixels);
    let mut x = 0.0;
    let mut previous = None;
    for letter in text.chars() {
        let glyph = font.glyph_id(letter);
        x += previous.map_or(0.0, |previous| font.kern(previous, glyph));
        put(glyph, x);
        x += font.h_advance(glyph);
        previous = Some(glyph);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_leave_ink_inside_of_their_box() {
        let text = "true: ankle boot, 0.93 % jg";
        let mut ink = 0.0;
        draw(text, 20.0, |x, y, coverage| {
            if coverage > 0.0 {
                assert!((-1..=width(text, 20.0) as i32 + 1).contains(&x), "{x}");
                assert!((0..=height(20.0) as i32 + 1).contains(&y), "{y}");
                ink += coverage;
            }
        });
        assert!(ink > 500.0, "{ink}");
    }

    #[test]
    fn a_long_text_is_cut_to_its_place() {
        assert_eq!(fit("boot", 20.0, 100.0), "boot");
        let short = fit("great white shark, man-eater", 20.0, 100.0);
        assert!(short.starts_with("great") && short.ends_with('…'), "{short}");
        assert!(width(&short, 20.0) <= 100.0);
        assert_eq!(fit("boot", 20.0, 1.0), "");
    }
}
