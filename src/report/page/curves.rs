//! `curves.png`: the curves of a run, for people who look at files.

use std::convert::Infallible;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::files::replace;
use crate::report::page::canvas::{Canvas, FINE};
use crate::report::page::content::ReportContent;
use crate::report::page::series::{self, Part, Quantity, Series};
use crate::report::page::{font, ticks};
use crate::train::History;
use crate::{Error, Result};

const WIDTH: usize = 1200;
const HEIGHT: usize = 840;
/// Room for the title and the legend.
const HEAD: usize = 96;

type Area<'a> = DrawingArea<&'a mut Canvas, Shift>;
type Mark<'c> = DynElement<'static, &'c mut Canvas, (i32, i32)>;
type Drawn<T = ()> = std::result::Result<T, DrawingAreaErrorKind<Infallible>>;

const INK: RGBColor = RGBColor(17, 24, 39);
const QUIET: RGBColor = RGBColor(55, 65, 81);
const FRAME: RGBColor = RGBColor(156, 163, 175);
const GRID: RGBColor = RGBColor(229, 231, 235);

/// Draws the losses and, below them, the accuracies against the epoch into a PNG file of 1200 by 840 pixels.
///
/// A run without a finished epoch gets an empty frame that says so.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be written.
pub fn write(content: &ReportContent, path: &Path) -> Result<()> {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    draw(&mut canvas, &content.title, &content.history).map_err(|error| Error::Io {
        action: "draw",
        path: path.to_owned(),
        source: std::io::Error::other(error.to_string()),
    })?;
    replace(path, &canvas.png())
}

/// Pixels of the file in pixels of the surface.
const fn px(pixels: usize) -> i32 {
    (pixels * FINE) as i32
}

fn rgb([r, g, b]: [u8; 3]) -> RGBColor {
    RGBColor(r, g, b)
}

fn letters(pixels: usize, color: RGBColor) -> TextStyle<'static> {
    ("sans-serif", px(pixels)).into_font().color(&color)
}

fn draw(canvas: &mut Canvas, title: &str, history: &History) -> Drawn {
    let root = canvas.into_drawing_area();
    let title = font::fit(title, px(28) as f32, px(WIDTH - 60) as f32).into_owned();
    root.draw(&Text::new(title, (px(30), px(18)), letters(28, INK)))?;
    let curves = series::of(history);
    legend(&root, &curves)?;

    let (_, below) = root.split_vertically(px(HEAD));
    let quantities = [Quantity::Loss, Quantity::Accuracy];
    let shown: Vec<_> =
        quantities.into_iter().filter(|quantity| curves.iter().any(|c| c.quantity == *quantity)).collect();
    let shown = if shown.is_empty() { vec![Quantity::Loss] } else { shown };
    for (panel, quantity) in below.split_evenly((shown.len(), 1)).iter().zip(&shown) {
        let curves: Vec<_> = curves.iter().filter(|curve| curve.quantity == *quantity).collect();
        chart(panel, *quantity, &curves)?;
    }
    if history.epochs.is_empty() {
        let middle = letters(24, QUIET).pos(Pos::new(HPos::Center, VPos::Center));
        root.draw(&Text::new("no epoch is finished yet", (px(WIDTH / 2), px(HEIGHT / 2)), middle))?;
    }
    root.present()
}

/// The names of the curves in one row, each beside a piece of its curve.
fn legend(root: &Area, curves: &[Series]) -> Drawn {
    let mut x = px(32);
    let y = px(74);
    for curve in curves {
        let color = rgb(curve.color);
        root.draw(&PathElement::new([(x, y), (x + px(36), y)], color.stroke_width(px(3) as u32)))?;
        root.draw(&marker((x + px(18), y), curve.part, px(6), color))?;
        let style = letters(20, INK).pos(Pos::new(HPos::Left, VPos::Center));
        root.draw(&Text::new(curve.name, (x + px(46), y), style))?;
        x += px(46 + 34) + font::width(curve.name, px(20) as f32) as i32;
    }
    Ok(())
}

/// One frame with its axes and curves.
fn chart(area: &Area, quantity: Quantity, curves: &[&Series]) -> Drawn {
    let epochs = || curves.iter().flat_map(|curve| &curve.points).map(|point| point.0);
    let (first, last) = (epochs().min().unwrap_or(1), epochs().max().unwrap_or(10));
    let values = curves.iter().flat_map(|curve| &curve.points).filter_map(|point| point.1);
    let values: Vec<_> = values.filter(|value| drawable(*value)).collect();
    let y = match quantity {
        Quantity::Loss => ticks::axis(values.iter().copied().chain([0.0]), (0.0, f64::INFINITY), 6),
        Quantity::Accuracy => ticks::axis(values.iter().copied(), (0.0, 1.0), 6),
    };
    let air = (0.02 * (last - first) as f64).max(if first == last { 0.5 } else { 0.15 });
    let x = ticks::Axis {
        from: first as f64 - air,
        to: last as f64 + air,
        values: ticks::epochs(first, last, 12).into_iter().map(|epoch| epoch as f64).collect(),
        decimals: 0,
    };

    let mut chart = ChartBuilder::on(area)
        .margin_left(px(24))
        .margin_right(px(30))
        .margin_top(px(10))
        .margin_bottom(px(14))
        .x_label_area_size(px(64))
        .y_label_area_size(px(92))
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(GRID.stroke_width(px(1) as u32))
        .axis_style(FRAME.stroke_width(px(1) as u32))
        .set_all_tick_mark_size(px(6))
        .label_style(letters(18, QUIET))
        .axis_desc_style(letters(20, INK))
        .x_desc("epoch")
        .y_desc(quantity.name())
        .draw()?;

    let (radius, width) = match last - first {
        0..=30 => (px(6), px(3)),
        31..=100 => (px(4), px(3)),
        _ => (px(3), px(2)),
    };
    for curve in curves {
        let color = rgb(curve.color);
        let place = |&(epoch, value): &(usize, Option<f64>)| Some((epoch as f64, value.filter(|v| drawable(*v))?));
        let places: Vec<_> = curve.points.iter().map(place).collect();
        let pieces = places.windows(2).filter_map(|pair| Some([pair[0]?, pair[1]?]));
        chart.draw_series(pieces.map(|piece| PathElement::new(piece, color.stroke_width(width as u32))))?;
        let mark = |at| EmptyElement::at(at) + marker((0, 0), curve.part, radius, color);
        chart.draw_series(places.iter().flatten().map(|at| mark(*at)))?;
    }
    Ok(())
}

/// Whether a value lets an axis be cut into steps without overflow.
fn drawable(value: f64) -> bool {
    value.abs() < 1e30
}

/// A disc for the training samples, a square for the validation split, a diamond for the test set.
fn marker<'c>(at: (i32, i32), part: Part, radius: i32, color: RGBColor) -> Mark<'c> {
    let (x, y) = at;
    match part {
        Part::Train => Circle::new(at, radius, color.filled()).into_dyn(),
        Part::Validation => {
            let half = radius * 9 / 10;
            Rectangle::new([(x - half, y - half), (x + half, y + half)], color.filled()).into_dyn()
        }
        Part::Test => {
            let far = radius * 13 / 10;
            Polygon::new(vec![(x, y - far), (x + far, y), (x, y + far), (x - far, y)], color.filled()).into_dyn()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::page::examples;
    use crate::report::page::image::tests::decoded;

    fn drawn(history: History) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("curves.png");
        let mut content = examples::content();
        content.history = history;
        write(&content, &path).unwrap();
        let (width, height, bytes) = decoded(&std::fs::read(path).unwrap());
        assert_eq!((width, height), (WIDTH as u32, HEIGHT as u32));
        bytes
    }

    fn count(bytes: &[u8], color: [u8; 3]) -> usize {
        bytes.chunks(3).filter(|pixel| *pixel == color).count()
    }

    #[test]
    fn each_curve_appears_in_its_color_for_any_number_of_epochs() {
        for epochs in [1, 2, 10, 300] {
            let history = examples::history(epochs);
            let bytes = drawn(history.clone());
            for curve in series::of(&history) {
                let pixels = count(&bytes, curve.color);
                // The legend alone has about 150.
                assert!(pixels > 200, "{} of {epochs} epochs: {pixels}", curve.name);
            }
        }
    }

    #[test]
    fn a_run_without_an_epoch_gets_an_empty_frame() {
        let bytes = drawn(History::default());
        assert!(count(&bytes, [FRAME.0, FRAME.1, FRAME.2]) > 500);
        assert_eq!(count(&bytes, [29, 78, 216]), 0);
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        let mut history = examples::history(4);
        examples::set(&mut history.epochs[1].train, "loss", f64::NAN);
        examples::set(&mut history.epochs[2].train, "loss", f64::MAX);
        history.epochs[3].test = None;
        drawn(history);
        let mut nothing = examples::regression(2);
        nothing.epochs.iter_mut().for_each(|record| examples::set(&mut record.train, "loss", f64::INFINITY));
        drawn(nothing);
    }
}
