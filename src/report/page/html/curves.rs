//! The interactive curves: their figure for plotly.js, and plotly.js itself.

use plotly::color::NamedColor;
use plotly::common::{Anchor, Font, Line, Marker, MarkerSymbol, Mode, Orientation, Title};
use plotly::configuration::ModeBarButtonName;
use plotly::layout::{Axis, HoverMode, Legend, Margin, ModeBar, RangeMode};
use plotly::{Configuration, Layout, Plot, Scatter};
use serde_json::Value;

use super::section as part;
use crate::report::page::escape;
use crate::report::page::series::{self, Part, Quantity, Series};
use crate::train::History;

const INK: &str = "#1f2937";
const GRID: &str = "#e5e7eb";
const FRAME: &str = "#9ca3af";

/// The place of the curves.
pub(super) fn section(history: &History) -> String {
    if history.epochs.is_empty() {
        return String::new();
    }
    let body = "<div id=\"curves\"></div>\n<noscript><p>The curves need JavaScript; curves.png shows them without.</p></noscript>\n";
    part("Curves", body)
}

/// plotly.js, the figure and what draws it; nothing where no epoch is finished.
pub(super) fn scripts(history: &History) -> String {
    if history.epochs.is_empty() {
        return String::new();
    }
    format!(
        "<script>{}</script>\n<script type=\"application/json\" id=\"figure\">{}</script>\n<script>\n{}</script>\n",
        plotly_js(),
        escape::json(&figure(&series::of(history))),
        include_str!("report.js"),
    )
}

/// The text of plotly.js. The crate hands it out in a script element before one with MathJax, which nothing here needs.
pub(super) fn plotly_js() -> String {
    let sources = Plot::offline_js_sources();
    let from = sources.find('>').map_or(0, |end| end + 1);
    let to = sources.find("</script>").unwrap_or(sources.len());
    sources[from..to].to_owned()
}

/// Data, layout and configuration: the losses above, the accuracies below, one epoch axis for both.
pub(super) fn figure(curves: &[Series]) -> Value {
    let both = [Quantity::Loss, Quantity::Accuracy].iter().all(|q| curves.iter().any(|curve| curve.quantity == *q));
    let mut plot = Plot::new();
    for curve in curves {
        plot.add_trace(trace(curve));
    }
    let axis = || Axis::new().grid_color(GRID).line_color(FRAME).show_line(true).zero_line(false).auto_margin(true);
    let named = |name| Title::with_text(name).font(Font::new().size(14));
    let (loss, accuracy) = if both { ([0.56, 1.0], [0.0, 0.44]) } else { ([0.0, 1.0], [0.0, 1.0]) };
    let mut layout = Layout::new()
        .auto_size(true)
        .height(if both { 620 } else { 420 })
        .margin(Margin::new().left(56).right(12).top(28).bottom(48))
        .font(Font::new().family("system-ui, sans-serif").size(13).color(INK))
        .paper_background_color(NamedColor::Transparent)
        .plot_background_color(NamedColor::Transparent)
        .mode_bar(ModeBar::new().background_color(NamedColor::Transparent).color(FRAME).active_color(INK))
        .hover_mode(HoverMode::XUnified)
        .show_legend(true)
        .legend(
            Legend::new()
                .orientation(Orientation::Horizontal)
                .x(0.0)
                .x_anchor(Anchor::Left)
                .y(1.02)
                .y_anchor(Anchor::Bottom),
        )
        .x_axis(axis().title(named("epoch")).anchor(if both { "y2" } else { "y" }).tick_format("d"))
        .y_axis(
            axis()
                .title(named(Quantity::Loss.name()))
                .domain(&loss)
                .range_mode(RangeMode::ToZero)
                .zero_line(true)
                .zero_line_color(FRAME),
        );
    if both {
        layout = layout.y_axis2(axis().title(named(Quantity::Accuracy.name())).domain(&accuracy).anchor("x"));
    }
    plot.set_layout(layout);
    plot.set_configuration(Configuration::new().responsive(true).display_logo(false).mode_bar_buttons_to_remove(vec![
        ModeBarButtonName::Select2d,
        ModeBarButtonName::Lasso2d,
        ModeBarButtonName::ZoomIn2d,
        ModeBarButtonName::ZoomOut2d,
        ModeBarButtonName::AutoScale2d,
    ]));

    let mut figure = serde_json::to_value(&plot).unwrap_or_default();
    // One box for the values of both panels; the crate has no name for this setting.
    figure["layout"]["hoversubplots"] = "axis".into();
    figure
}

fn trace(curve: &Series) -> Box<Scatter<usize, Option<f64>>> {
    let (symbol, larger) = match curve.part {
        Part::Train => (MarkerSymbol::Circle, 0),
        Part::Validation => (MarkerSymbol::Square, 0),
        Part::Test => (MarkerSymbol::Diamond, 1),
    };
    let size = match curve.points.len() {
        0..=30 => 8,
        31..=100 => 5,
        _ => 4,
    };
    let color = curve.css_color();
    let (epochs, values) = curve.points.iter().copied().unzip();
    Scatter::new(epochs, values)
        .name(curve.name)
        .mode(Mode::LinesMarkers)
        .line(Line::new().color(color.clone()).width(2.0))
        .marker(Marker::new().color(color).symbol(symbol).size(size + larger))
        .hover_template("%{y:.4~g}")
        .y_axis(match curve.quantity {
            Quantity::Loss => "y",
            Quantity::Accuracy => "y2",
        })
}
