//! Tests of `report.html`, which parse the page: it is well-formed XML but for its scripts and styles.

use roxmltree::{Document, Node, ParsingOptions};
use serde_json::Value;

use super::content::{MetricValue, ReportContent, RunStatus, Split};
use super::{examples, html};
use crate::metrics::ConfusionMatrix;

/// The page without the contents of its scripts and styles, ready to be parsed.
fn markup(content: &ReportContent) -> String {
    let mut page = html::page(content).unwrap();
    for (start, end) in [("<script", "</script>"), ("<style", "</style>")] {
        let mut from = 0;
        while let Some(at) = page[from..].find(start) {
            let open = from + at + page[from + at..].find('>').unwrap() + 1;
            let close = open + page[open..].find(end).unwrap();
            page.replace_range(open..close, "");
            from = open;
        }
    }
    page
}

fn parse(markup: &str) -> Document<'_> {
    Document::parse_with_options(markup, ParsingOptions { allow_dtd: true, ..ParsingOptions::default() }).unwrap()
}

/// The data of the curves, as the script in the page reads them.
fn curves(content: &ReportContent) -> Value {
    let page = html::page(content).unwrap();
    let json = page.split_once("id=\"curve-data\">").unwrap().1.split_once("</script>").unwrap().0;
    serde_json::from_str(json).unwrap()
}

/// All elements with this name.
fn elements<'a>(node: Node<'a, 'a>, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.descendants().filter(move |node| node.has_tag_name(name))
}

/// The element with this name and class.
fn element<'a>(document: &'a Document, name: &'a str, class: &str) -> Option<Node<'a, 'a>> {
    elements(document.root(), name).find(|node| node.attribute("class") == Some(class))
}

/// The text of an element and all that it contains.
fn text(node: Node) -> String {
    let texts = node.descendants().filter(Node::is_text).filter_map(|node| node.text());
    texts.collect::<String>().trim().to_owned()
}

/// The texts of a table's cells, row by row.
fn cells(table: Node) -> Vec<Vec<String>> {
    let row = |row: Node| row.children().filter(Node::is_element).map(text).collect();
    table.descendants().filter(|node| node.has_tag_name("tr")).map(row).collect()
}

#[test]
fn each_metric_has_a_panel_with_its_values_against_whole_epochs() {
    let mut content = examples::content();
    for (epoch, f1) in content.epochs.iter_mut().zip([0.25, 0.5, 0.75]) {
        epoch.values.push(MetricValue { metric: "macro </script> F1".into(), split: Split::Validation, value: f1 });
    }
    let curves = curves(&content);
    assert_eq!(curves["epochs"], serde_json::json!([1, 2, 3]));
    let panels = curves["panels"].as_array().unwrap();
    let names: Vec<_> = panels.iter().map(|panel| panel["metric"].as_str().unwrap()).collect();
    assert_eq!(names, ["loss", "accuracy", "macro </script> F1"]);
    let splits = |panel: &Value| {
        let curves = panel["curves"].as_array().unwrap().iter();
        curves.map(|curve| curve["split"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!([splits(&panels[0]), splits(&panels[1])], [["train", "test"], ["train", "test"]]);
    let f1 = serde_json::json!([{ "split": "validation", "values": [0.25, 0.5, 0.75] }]);
    assert_eq!(panels[2]["curves"], f1);
}

#[test]
fn mistakes_and_training_images_have_their_sections_where_there_are_any() {
    let headings = |content: &ReportContent| {
        let page = markup(content);
        elements(parse(&page).root(), "h2").map(text).collect::<Vec<_>>()
    };
    let mut content = examples::content();
    assert!(!headings(&content).iter().any(|heading| heading == "Mistakes" || heading == "Training images"));
    content.mistakes = vec![examples::image("R&D coat".into(), false)];
    let image = content.images[0].image.clone();
    content.training = vec![vec![image.clone(), image.clone()], vec![image.clone(), image]];
    assert!(["Mistakes", "Training images"].iter().all(|heading| headings(&content).contains(&(*heading).to_owned())));
    let page = markup(&content);
    let document = parse(&page);
    let table = element(&document, "table", "training").unwrap();
    assert_eq!((elements(table, "tr").count(), elements(table, "img").count()), (2, 4));
    // Two predictions and one mistake.
    assert_eq!(elements(document.root(), "li").count(), 3);
}

#[test]
fn the_curve_data_in_the_page_are_those_that_were_made() {
    let content = examples::content();
    assert_eq!(curves(&content), html::curves(&content.epochs));
}

#[test]
fn a_value_that_is_no_number_is_a_gap_and_never_printed() {
    let mut content = examples::content();
    content.epochs[1].values[0].value = f64::NAN;
    content.epochs[2].values[1].value = f64::INFINITY;
    content.epochs[2].values[2].value = f64::NAN;
    content.epochs[2].learning_rate = f64::NAN;
    content.epochs[2].train_seconds = f64::NAN;
    content.images[0].probability = Some(f64::NAN);
    let markup = markup(&content);
    let document = parse(&markup);
    let shown = text(document.root());
    for word in ["NaN", "inf"] {
        assert!(!shown.contains(word), "{word}");
    }
    assert!(shown.contains("not finite"));
    let loss = &curves(&content)["panels"][0]["curves"];
    assert_eq!([&loss[0]["values"][1], &loss[1]["values"][2]], [&Value::Null, &Value::Null]);
    assert!(loss[0]["values"][2].is_f64());
}

#[test]
fn nothing_is_fetched_and_no_text_of_the_user_becomes_markup() {
    let content = examples::content();
    let markup = markup(&content);
    let document = parse(&markup);
    let title = "DenseNet on <Fashion>";
    for name in ["title", "h1"] {
        assert_eq!(elements(document.root(), name).map(text).collect::<Vec<_>>(), [title]);
    }
    let coat = "true: R&D </script> \"coat\"";
    assert!(elements(document.root(), "p").any(|p| p.attribute("title") == Some(coat) && text(p) == coat));
    assert_eq!(cells(element(&document, "table", "metadata").unwrap())[1], ["stem", "<7x7>"]);
    for node in document.descendants().filter(Node::is_element) {
        assert!(!["iframe", "object", "embed", "base"].contains(&node.tag_name().name()));
        for name in ["src", "href", "srcset"] {
            let link = node.attribute(name).unwrap_or("data:");
            assert!(link.starts_with("data:"), "{link}");
        }
    }
    // The library, the data and the script that draws them; none of them ends early.
    assert_eq!(elements(document.root(), "script").count(), 3);
    let policy = elements(document.root(), "meta").filter_map(|meta| meta.attribute("content"));
    assert!(policy.into_iter().any(|content| content.starts_with("default-src 'none';")));
    let page = html::page(&content).unwrap();
    for word in ["@import", "url(", "<link rel=\"stylesheet"] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn the_wrong_ones_and_no_others_are_marked() {
    let markup = markup(&examples::content());
    let document = parse(&markup);
    let tiles: Vec<_> = elements(document.root(), "li").collect();
    let [correct, wrong] = tiles[..] else { panic!("{} tiles", tiles.len()) };
    assert_eq!([correct, wrong].map(|tile| tile.attribute("class").unwrap()), ["correct", "wrong"]);
    assert!(text(correct).starts_with("true: trouser") && text(correct).contains("pred: trouser"));
    assert_eq!([correct, wrong].map(|tile| text(tile).contains('✗')), [false, true]);
    assert!(text(document.root()).contains("1 correct, 1 wrong (red frame, ✗)."));
}

#[test]
fn the_confusion_matrix_counts_true_classes_in_rows() {
    let markup = markup(&examples::content());
    let document = parse(&markup);
    let table = element(&document, "table", "confusion").unwrap();
    let coat = "R&D </script> \"coat\"";
    assert_eq!(
        cells(table),
        [
            vec!["", "trouser", coat, "no prediction"],
            vec!["trouser", "3", "0", "0"],
            // One sample each: taken for the other class, correct, without a prediction.
            vec![coat, "1", "1", "1"],
        ]
    );
    let classes: Vec<_> = elements(table, "td").filter_map(|cell| cell.attribute("class")).collect();
    assert_eq!(classes[..3], ["correct strong", "none", "none"]);
    assert!(classes[3].starts_with("wrong") && classes[4] == "correct" && classes[5].starts_with("wrong"));
}

#[test]
fn each_class_has_its_accuracy_and_precision() {
    let markup = markup(&examples::content());
    let document = parse(&markup);
    let table = element(&document, "table", "classes").unwrap();
    let rows = cells(table);
    assert_eq!(rows[1], ["trouser", "", "1.000", "0.750", "3"]);
    assert_eq!(rows[2][2..], ["0.333", "1.000", "3"]);
    let bars: Vec<_> = elements(table, "i").filter_map(|bar| bar.attribute("style")).collect();
    assert_eq!(bars, ["width:100.0%", "width:33.3%"]);
}

#[test]
fn with_very_many_classes_the_mistakes_are_listed() {
    let mut content = examples::content();
    let mut matrix = ConfusionMatrix::new(100);
    for _ in 0..7 {
        matrix.add(70, Some(1));
    }
    matrix.add(0, Some(99));
    matrix.add(5, Some(5));
    content.confusion = Some(matrix);
    let markup = markup(&content);
    let document = parse(&markup);
    assert!(element(&document, "table", "confusion").is_none());
    let rows = cells(element(&document, "table", "mistakes").unwrap());
    let coat = "R&D </script> \"coat\"";
    assert_eq!(rows[1..], [["class 70", coat, "7"], ["trouser", "class 99", "1"]]);
}

#[test]
fn the_table_of_epochs_has_a_column_for_each_metric_and_split() {
    let mut content = examples::content();
    content.epochs[1].values.push(MetricValue { metric: "top5".into(), split: Split::Validation, value: 0.5 });
    let markup = markup(&content);
    let document = parse(&markup);
    let rows = cells(element(&document, "table", "epochs").unwrap());
    let names = ["epoch", "train loss", "test loss", "train accuracy", "test accuracy", "validation top5"];
    assert_eq!(rows[0][..6], names);
    let top5: Vec<_> = rows[1..].iter().map(|row| row[5].as_str()).collect();
    assert_eq!(top5, ["–", "0.500", "–"]);
}

#[test]
fn what_a_run_lacks_is_left_out() {
    let empty = ReportContent::new("nothing yet");
    let markup_of_empty = markup(&empty);
    let document = parse(&markup_of_empty);
    assert_eq!(element(&document, "p", "status running").map(text).unwrap(), "Running: no epoch complete.");
    for name in ["section", "script", "dl", "table", "img"] {
        assert_eq!(elements(document.root(), name).count(), 0, "{name}");
    }
    assert!(html::page(&empty).unwrap().len() < 20_000);

    let mut content = ReportContent::new("regression");
    content.status = RunStatus::Stopped { epoch: 2, step: 300 };
    content.epochs = examples::regression(1);
    let markup = markup(&content);
    let document = parse(&markup);
    let shown = text(document.root());
    assert!(shown.contains("Stopped in epoch 2 after step 300: 1 epoch complete."));
    assert!(!shown.to_lowercase().contains("accuracy") && !shown.contains("Predictions"));
    assert_eq!(curves(&content)["panels"].as_array().unwrap().len(), 1);
}

#[test]
fn the_file_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let content = examples::content();
    html::write(&content, &path).unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), html::page(&content).unwrap());
}

#[test]
fn a_browser_draws_the_curves_of_any_metric() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let mut content = examples::content();
    for epoch in &mut content.epochs {
        let value = 1.0 / epoch.epoch as f64;
        let error = |(split, at)| MetricValue { metric: "top-5 error".into(), split, value: value + f64::from(at) };
        epoch.values.extend(Split::ALL.into_iter().zip(0..3).map(error));
    }
    // A curve with a gap, and one of a single point.
    content.epochs[1].values[0].value = f64::NAN;
    content.epochs[2].values.push(MetricValue { metric: "F1".into(), split: Split::Validation, value: 0.5 });
    html::write(&content, &path).unwrap();
    let panels = ["loss=train,test", "accuracy=train,test", "top-5 error=train,validation,test", "F1=validation"];
    let check = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/check_report.py");
    let mut command = std::process::Command::new("python3");
    command.arg(check).arg(&path).args(["--images", "2"]).args(panels.iter().flat_map(|panel| ["--panel", panel]));
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) if output.status.code() != Some(2) => panic!("{}", String::from_utf8_lossy(&output.stdout)),
        cannot => {
            assert!(std::env::var_os("CI").is_none(), "the page cannot be checked in a browser: {cannot:?}");
            eprintln!("not checked in a browser: {cannot:?}");
        }
    }
}
