//! The test pictures, each under its own title.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::section as part;
use crate::report::page::content::LabelledPicture;
use crate::report::page::{escape, format};

/// The side of the square that a picture is enlarged to fill, by a whole number.
const SIDE: usize = 128;

/// A grid of the pictures; nothing where there are none.
pub(super) fn section(pictures: &[LabelledPicture]) -> String {
    if pictures.is_empty() {
        return String::new();
    }
    let wrong = pictures.iter().filter(|labelled| !labelled.right).count();
    let mark = if wrong == 0 { "" } else { " (red frame, ✗)" };
    let tiles: String = pictures.iter().map(tile).collect();
    let right = pictures.len() - wrong;
    part("Predictions", &format!("<p>{right} right, {wrong} wrong{mark}.</p>\n<ul class=\"pictures\">\n{tiles}</ul>\n"))
}

fn tile(labelled: &LabelledPicture) -> String {
    let (truth, predicted) = (escape::text(&labelled.truth), escape::text(&labelled.predicted));
    let (class, sign) = if labelled.right { ("right", "") } else { ("wrong", "<b title=\"wrong\">✗</b>") };
    let times = labelled.picture.enlargement(SIDE);
    let (width, height) = (labelled.picture.width() * times, labelled.picture.height() * times);
    let data = STANDARD.encode(labelled.picture.png());
    let sure =
        labelled.probability.map(|probability| format!("<p class=\"sure\">{}</p>", format::percent(probability)));
    format!(
        "<li class=\"{class}\"><p title=\"true: {truth}\">true: {truth}</p>\
         <p class=\"guess\" title=\"pre: {predicted}\">pre: {predicted}</p>\
         <div class=\"frame\"><img src=\"data:image/png;base64,{data}\" width=\"{width}\" height=\"{height}\" \
         alt=\"{truth}, taken for {predicted}\">{sign}</div>{}</li>\n",
        sure.unwrap_or_default()
    )
}
