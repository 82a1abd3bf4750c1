use super::*;
use crate::report::page::content::ReportContent;
use crate::report::page::{examples, series};
use crate::train::History;

/// The page without the text of plotly.js.
fn own(content: &ReportContent) -> String {
    let page = page(content);
    let (before, after) = page.split_once(&curves::plotly_js()).expect("plotly.js is inside");
    format!("{before}{after}")
}

fn figure(history: &History) -> serde_json::Value {
    curves::figure(&series::of(history))
}

#[test]
fn a_classifier_has_three_traces_with_lines_and_markers_against_whole_epochs() {
    let figure = figure(&examples::history(3));
    let traces = figure["data"].as_array().unwrap();
    let names: Vec<_> = traces.iter().map(|trace| trace["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["train loss", "train acc", "test acc"]);
    for trace in traces {
        assert_eq!(trace["mode"], "lines+markers");
        assert_eq!(trace["x"], serde_json::json!([1, 2, 3]));
        assert_eq!(trace["y"].as_array().unwrap().len(), 3);
    }
    assert_eq!([&traces[0]["yaxis"], &traces[1]["yaxis"], &traces[2]["yaxis"]], ["y", "y2", "y2"]);
    assert_eq!(figure["layout"]["xaxis"]["title"]["text"], "epoch");
}

#[test]
fn the_figure_in_the_page_is_the_one_that_was_made() {
    let content = examples::content();
    let page = own(&content);
    let json = page.split_once("id=\"figure\">").unwrap().1.split_once("</script>").unwrap().0;
    assert_eq!(serde_json::from_str::<serde_json::Value>(json).unwrap(), figure(&content.history));
}

#[test]
fn a_value_that_is_no_number_is_a_gap_and_never_printed() {
    let mut content = examples::content();
    examples::set(&mut content.history.epochs[1].train, "loss", f64::NAN);
    examples::set(content.history.epochs[2].test.as_mut().unwrap(), "loss", f64::INFINITY);
    examples::set(&mut content.history.epochs[2].train, "accuracy", f64::NAN);
    content.history.epochs[2].learning_rate = f64::NAN;
    content.history.epochs[2].train_seconds = f64::NAN;
    content.images[0].probability = Some(f64::NAN);
    let page = own(&content);
    for word in ["NaN", "inf<", "inf "] {
        assert!(!page.contains(word), "{word}");
    }
    assert_eq!(figure(&content.history)["data"][0]["y"][1], serde_json::Value::Null);
}

#[test]
fn nothing_is_fetched_and_no_text_of_the_user_becomes_markup() {
    let page = own(&examples::content());
    for word in [
        "http:",
        "https:",
        "@import",
        "url(",
        "<link rel=\"stylesheet",
        "<iframe",
        "<Fashion>",
        "<7x7>",
        "</script> \"",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("DenseNet on &lt;Fashion&gt;"));
    assert!(page.contains("true: R&amp;D &lt;/script&gt; &quot;coat&quot;"));
    for attribute in ["src=", "href="] {
        for (at, _) in page.match_indices(attribute) {
            assert!(page[at + attribute.len()..].starts_with("\"data:"), "{}", &page[at..at + 40]);
        }
    }
    assert_eq!(page.matches("<script").count(), page.matches("</script>").count());
    assert_eq!(page.matches("<script").count(), 3);
    assert!(!curves::plotly_js().contains("</script"));
    assert!(curves::plotly_js().contains("plotly.js v") && !curves::plotly_js().contains("MathJax.js"));
}

#[test]
fn the_wrong_ones_and_no_others_are_marked() {
    let page = own(&examples::content());
    let tiles: Vec<_> = page.lines().filter(|line| line.starts_with("<li ")).collect();
    let [right, wrong] = tiles[..] else { panic!("{} tiles", tiles.len()) };
    assert!(right.contains("true: trouser") && right.contains("pre: trouser") && !right.contains('✗'));
    assert!(wrong.starts_with("<li class=\"wrong\">") && wrong.contains('✗'));
    assert!(page.contains("1 right, 1 wrong (red frame, ✗)."));
}

#[test]
fn the_confusion_matrix_counts_true_classes_in_rows() {
    let page = own(&examples::content());
    assert!(
        page.contains(
            "<th scope=\"row\">trouser</th><td class=\"dark\" style=\"background:rgba(29,78,216,0.90)\">3</td>"
        )
    );
    // One sample each: taken for the other class, right, without a prediction.
    assert_eq!(page.matches("no prediction").count(), 1);
    assert!(page.contains("width:33.3%") && page.contains("<td>0.333</td>"));
}

#[test]
fn with_very_many_classes_the_mistakes_are_listed() {
    let mut content = examples::content();
    let mut matrix = crate::metrics::ConfusionMatrix::new(100);
    for _ in 0..7 {
        matrix.add(70, Some(1));
    }
    matrix.add(0, Some(99));
    content.confusion = Some(matrix);
    let page = own(&content);
    assert!(!page.contains("class=\"confusion\""));
    let first = page.find("<th scope=\"row\">class 70</th>").unwrap();
    assert!(first < page.find("<td class=\"text\">class 99</td>").unwrap());
}

#[test]
fn what_a_run_lacks_is_left_out() {
    let empty = page(&ReportContent::new("nothing yet"));
    assert!(empty.contains("Running: no epoch done."));
    assert!(!empty.contains("<section") && !empty.contains("<script") && !empty.contains("<dl"));
    assert!(empty.len() < 20_000, "{}", empty.len());

    let mut content = ReportContent::new("regression");
    content.status = RunStatus::Stopped { epoch: 2, step: 300 };
    content.history = examples::regression(1);
    let regression = own(&content);
    assert!(regression.contains("Stopped in epoch 2 after step 300: 1 epoch done."));
    assert!(!regression.contains("acc"), "no accuracy");
    assert_eq!(figure(&content.history)["data"].as_array().unwrap().len(), 2);
}

#[test]
fn the_file_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let content = examples::content();
    write(&content, &path).unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), page(&content));
}
