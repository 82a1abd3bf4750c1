//! The test images, each under its own title.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::section as part;
use crate::report::page::content::LabeledImage;
use crate::report::page::{escape, format};

/// The side of the square that an image is enlarged to fill, by a whole number.
const SIDE: usize = 128;

/// A grid of the images; nothing where there are none.
pub(super) fn section(images: &[LabeledImage]) -> String {
    if images.is_empty() {
        return String::new();
    }
    let wrong = images.iter().filter(|labeled| !labeled.right).count();
    let mark = if wrong == 0 { "" } else { " (red frame, ✗)" };
    let tiles: String = images.iter().map(tile).collect();
    let right = images.len() - wrong;
    part("Predictions", &format!("<p>{right} right, {wrong} wrong{mark}.</p>\n<ul class=\"images\">\n{tiles}</ul>\n"))
}

fn tile(labeled: &LabeledImage) -> String {
    let (truth, predicted) = (escape::text(&labeled.truth), escape::text(&labeled.predicted));
    let (class, sign) = if labeled.right { ("right", "") } else { ("wrong", "<b title=\"wrong\">✗</b>") };
    let times = labeled.image.enlargement(SIDE);
    let (width, height) = (labeled.image.width() * times, labeled.image.height() * times);
    let data = STANDARD.encode(labeled.image.png());
    let sure = labeled.probability.map(|probability| format!("<p class=\"sure\">{}</p>", format::percent(probability)));
    format!(
        "<li class=\"{class}\"><p title=\"true: {truth}\">true: {truth}</p>\
         <p class=\"guess\" title=\"pre: {predicted}\">pre: {predicted}</p>\
         <div class=\"frame\"><img src=\"data:image/png;base64,{data}\" width=\"{width}\" height=\"{height}\" \
         alt=\"{truth}, taken for {predicted}\">{sign}</div>{}</li>\n",
        sure.unwrap_or_default()
    )
}
