//! `curves.png`: one panel for each metric, with its curves against the epoch.

use std::path::Path;

use plotters::data::float::FloatPrettyPrinter;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::content::{self, Panel, ReportContent, Split};
use super::drawing::{self, Area, Drawn, FRAME, INK, QUIET, fit, letters, lower, px};
use crate::Result;

/// Width of the file, in pixels.
const WIDTH: usize = 1200;
/// Height of a row of panels, in pixels.
const ROW: usize = 400;
/// Height of the title and the legend.
const HEAD: usize = 96;
/// The size of the legend's letters.
const LEGEND: usize = 18;
/// The size of the labels on the axes.
const LABELS: usize = 16;
/// Color of the grid behind the curves.
const GRID: RGBColor = RGBColor(229, 231, 235);
/// Largest number of labels on an axis of epochs.
const EPOCH_LABELS: usize = 12;

/// Draws one panel for each metric into a PNG file 1200 pixels wide, two panels to a row.
///
/// A run without a value that can be drawn gets an empty panel that says so.
///
/// # Errors
///
/// [`IoError::Failed`](crate::error::IoError::Failed) or [`IoError::DiskFull`](crate::error::IoError::DiskFull) where
/// the file cannot be written.
pub(crate) fn write(content: &ReportContent, path: &Path) -> Result<()> {
    let panels = content::panels(&content.epochs);
    let columns = panels.len().clamp(1, 2);
    let rows = panels.len().div_ceil(columns).max(1);
    drawing::write(path, (WIDTH, HEAD + rows * ROW), |root| {
        let style = letters(26, INK);
        root.draw(&Text::new(fit(&content.title, &style, px(WIDTH - 60)), (px(28), px(16)), style))?;
        let (head, below) = root.split_vertically(px(HEAD));
        legend(&head, &panels)?;
        let areas = below.split_evenly((rows, columns));
        for (area, panel) in areas.iter().zip(&panels) {
            chart(area, panel, &content.epochs)?;
        }
        if panels.is_empty() {
            chart(&areas[0], &Panel { metric: "", curves: Vec::new() }, &[])?;
            let centered = letters(22, QUIET).pos(Pos::new(HPos::Center, VPos::Center));
            areas[0].draw(&Text::new("no epoch is finished yet", (px(WIDTH / 2), px(ROW / 2 - 20)), centered))?;
        }
        Ok(())
    })
}

/// Returns the color of a split's curves: Okabe and Ito's, which color-blind readers can tell apart.
fn color(split: Split) -> RGBColor {
    match split {
        Split::Train => RGBColor(0, 114, 178),
        Split::Validation => RGBColor(0, 158, 115),
        Split::Test => RGBColor(213, 94, 0),
    }
}

/// Names the splits in one row, each beside a piece of its curve.
fn legend(area: &Area, panels: &[Panel]) -> Drawn {
    let style = letters(LEGEND, INK).pos(Pos::new(HPos::Left, VPos::Center));
    let (mut x, y) = (px(30), px(70));
    for split in Split::ALL {
        if panels.iter().flat_map(|panel| &panel.curves).any(|curve| curve.split == split) {
            area.draw(&PathElement::new([(x, y), (x + px(34), y)], color(split).stroke_width(px(3) as u32)))?;
            area.draw(&marker((x + px(17), y), split, px(6)))?;
            area.draw(&Text::new(split.name(), (x + px(44), y + lower(LEGEND)), style.clone()))?;
            x += px(44 + 30) + drawing::width(split.name(), &style);
        }
    }
    Ok(())
}

/// Draws the axes and the curves of one metric.
fn chart(area: &Area, panel: &Panel, epochs: &[content::Epoch]) -> Drawn {
    let (first, last) = (epochs.first().map_or(1, |e| e.epoch), epochs.last().map_or(10, |e| e.epoch));
    let values = panel.curves.iter().flat_map(|curve| curve.values.iter().flatten());
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
    let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
    // A single value needs a span too.
    let air = Some(0.08 * (high - low)).filter(|air| *air > 1e-9 * high.abs()).unwrap_or(0.1 * high.abs().max(1e-3));

    let aside = (0.01 * (last - first) as f64).max(0.5);

    let style = letters(20, INK);
    let mut chart = ChartBuilder::on(area)
        .margin_left(px(16))
        .margin_right(px(28))
        .margin_bottom(px(12))
        .caption(fit(panel.metric, &style, px(WIDTH / 2 - 90)), style)
        .x_label_area_size(px(54))
        .y_label_area_size(px(68))
        .build_cartesian_2d(first as f64 - aside..last as f64 + aside, low - air..high + air)?;
    let number = FloatPrettyPrinter { allow_scientific: true, min_decimal: 1, max_decimal: 4 };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(0)
        .bold_line_style(GRID.stroke_width(px(1) as u32))
        .axis_style(FRAME.stroke_width(px(1) as u32))
        .set_all_tick_mark_size(px(5))
        .label_style(letters(LABELS, QUIET))
        .axis_desc_style(letters(17, QUIET))
        .x_desc("epoch")
        // At most one label for each epoch, so that all are integers.
        .x_labels((last - first + 1).min(EPOCH_LABELS))
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .y_labels(7)
        .y_label_offset(lower(LABELS))
        .y_label_formatter(&|value| number.print(*value))
        .draw()?;

    let (radius, width) = match last - first {
        0..=30 => (px(5), px(3)),
        31..=100 => (px(3), px(3)),
        _ => (px(2), px(2)),
    };
    for curve in &panel.curves {
        let color = color(curve.split);
        let points: Vec<_> =
            epochs.iter().zip(&curve.values).map(|(epoch, value)| Some((epoch.epoch as f64, (*value)?))).collect();
        // A missing value leaves a gap.
        let pieces = points.split(|point| point.is_none()).map(|piece| piece.iter().flatten().copied());
        chart.draw_series(
            pieces.map(|piece| PathElement::new(piece.collect::<Vec<_>>(), color.stroke_width(width as u32))),
        )?;
        let marks = points.iter().flatten().map(|at| EmptyElement::at(*at) + marker((0, 0), curve.split, radius));
        chart.draw_series(marks)?;
    }
    Ok(())
}

/// A mark in the color and the shape of its split, so that curves differ without their colors too.
fn marker<'a>(at: (i32, i32), split: Split, radius: i32) -> DynElement<'static, BitMapBackend<'a>, (i32, i32)> {
    let ((x, y), filled) = (at, color(split).filled());
    match split {
        Split::Train => Circle::new(at, radius, filled).into_dyn(),
        Split::Validation => {
            let half = radius * 9 / 10;
            Rectangle::new([(x - half, y - half), (x + half, y + half)], filled).into_dyn()
        }
        Split::Test => {
            let far = radius * 13 / 10;
            Polygon::new(vec![(x, y - far), (x + far, y), (x, y + far), (x - far, y)], filled).into_dyn()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::drawing::tests::Decoded;
    use super::*;
    use crate::report::page::content::{Epoch, MetricValue};
    use crate::report::page::examples;

    fn drawn(epochs: Vec<Epoch>) -> Decoded {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("curves.png");
        let mut content = examples::content();
        content.epochs = epochs;
        write(&content, &path).unwrap();
        Decoded::new(&std::fs::read(path).unwrap())
    }

    /// The places of a split's color in the panel in this column and row.
    fn places(file: &Decoded, split: Split, (column, row): (usize, usize)) -> Vec<(usize, usize)> {
        let panel = |&(x, y): &(usize, usize)| y >= HEAD && (x / (WIDTH / 2), (y - HEAD) / ROW) == (column, row);
        file.places(color(split)).into_iter().filter(panel).collect()
    }

    fn span(values: impl Iterator<Item = usize> + Clone) -> (usize, usize) {
        (values.clone().min().unwrap(), values.max().unwrap())
    }

    #[test]
    fn each_curve_appears_in_its_color_for_any_number_of_epochs() {
        for epochs in [1, 2, 10, 300] {
            let file = drawn(examples::epochs(epochs));
            assert_eq!((file.width, file.height), (WIDTH, HEAD + ROW));
            for (split, column) in [(Split::Train, 0), (Split::Test, 0), (Split::Train, 1), (Split::Test, 1)] {
                let places = places(&file, split, (column, 0));
                assert!(places.len() > 40, "{split:?} {column} of {epochs} epochs: {}", places.len());
                let (left, right) = span(places.iter().map(|place| place.0));
                assert_eq!(right - left > 200, epochs > 1, "{epochs} epochs");
            }
            assert!(file.places(color(Split::Validation)).is_empty());
        }
    }

    #[test]
    fn each_metric_has_a_panel() {
        let mut epochs = examples::epochs(3);
        for epoch in &mut epochs {
            epoch.values.push(MetricValue { metric: "F1".into(), split: Split::Validation, value: 0.5 });
        }
        let file = drawn(epochs);
        assert_eq!((file.width, file.height), (WIDTH, HEAD + 2 * ROW));
        assert!(places(&file, Split::Validation, (0, 1)).len() > 40);
        for (split, panel) in [(Split::Validation, (0, 0)), (Split::Validation, (1, 0)), (Split::Train, (0, 1))] {
            assert!(places(&file, split, panel).is_empty(), "{split:?} {panel:?}");
        }
    }

    #[test]
    fn a_run_without_an_epoch_gets_an_empty_panel() {
        let file = drawn(Vec::new());
        assert!(file.places(FRAME).len() > 500);
        assert!(Split::ALL.iter().all(|split| file.places(color(*split)).is_empty()));
    }

    #[test]
    fn a_value_that_cannot_be_drawn_is_left_out_and_leaves_a_gap() {
        let mut epochs = examples::epochs(4);
        epochs[1].values[0].value = f64::NAN;
        epochs[2].values[0].value = f64::MAX;
        epochs[3].values.pop();
        let file = drawn(epochs);
        // Markers at the first and the last epoch, and no line between them.
        let train_loss = places(&file, Split::Train, (0, 0));
        let (left, right) = span(train_loss.iter().map(|place| place.0));
        assert!(right - left > 300, "{left} to {right}");
        assert!(train_loss.iter().all(|(x, _)| *x < left + 20 || *x > right - 20));
        // The axis is that of the other values: the test loss falls through much of the panel.
        let (top, bottom) = span(places(&file, Split::Test, (0, 0)).iter().map(|place| place.1));
        assert!(bottom - top > 60, "{top} to {bottom}");
        // The accuracy over the test set ends one epoch early.
        let end = |split| span(places(&file, split, (1, 0)).iter().map(|place| place.0)).1;
        assert!(end(Split::Train) - end(Split::Test) > 80);

        let mut nothing = examples::regression(2);
        nothing.iter_mut().for_each(|epoch| epoch.values[0].value = f64::INFINITY);
        let file = drawn(nothing);
        assert!(file.places(color(Split::Train)).is_empty() && !file.places(color(Split::Test)).is_empty());
    }
}
