//! The confusion matrix, and how well each class was predicted.

use super::section as part;
use crate::metrics::ConfusionMatrix;
use crate::report::page::content::ReportContent;
use crate::report::page::{escape, format};

/// With more classes than this a matrix is unreadable; the most frequent mistakes are listed in its place.
const MOST_CLASSES: usize = 40;
/// How many mistakes are listed.
const MOST_MISTAKES: usize = 20;

/// The matrix as a table; nothing where no sample was counted.
pub(super) fn matrix(content: &ReportContent) -> String {
    let Some(matrix) = counted(content) else { return String::new() };
    if matrix.classes() > MOST_CLASSES { mistakes(content, matrix) } else { table(content, matrix) }
}

fn table(content: &ReportContent, matrix: &ConfusionMatrix) -> String {
    let classes = || 0..matrix.classes();
    let name = |class| escape::text(&content.class_name(class));
    let unpredicted = |truth| matrix.samples_of(truth) - classes().map(|class| matrix.count(truth, class)).sum::<u64>();
    let any_unpredicted = classes().any(|truth| unpredicted(truth) > 0);

    let mut heads: String = classes().map(|class| column(&name(class))).collect();
    if any_unpredicted {
        heads.push_str(&column("no prediction"));
    }
    let row = |truth| {
        let samples = matrix.samples_of(truth);
        let mut cells: String =
            classes().map(|class| cell(matrix.count(truth, class), samples, truth == class)).collect();
        if any_unpredicted {
            cells.push_str(&cell(unpredicted(truth), samples, false));
        }
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", name(truth))
    };
    let rows: String = classes().map(row).collect();
    let body = format!(
        "<p>Rows are the true classes, columns the predicted ones. Blue is right, red is wrong; the darker, the larger \
         the share of its row.</p>\n<div class=\"scroll\"><table class=\"confusion\">\n\
         <thead><tr><td></td>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    );
    part("Confusion matrix", &body)
}

fn column(name: &str) -> String {
    format!("<th scope=\"col\"><span>{name}</span></th>")
}

fn cell(count: u64, samples: u64, right: bool) -> String {
    if count == 0 {
        return "<td class=\"none\">0</td>".to_owned();
    }
    let share = count as f64 / samples as f64;
    // The square root keeps rare mistakes visible. White letters from where black ones get hard to read.
    let shade = if right { 0.1 + 0.8 * share } else { 0.06 + 0.84 * share.sqrt() };
    let color = if right { "29,78,216" } else { "185,28,28" };
    let dark = if shade > 0.5 { " class=\"dark\"" } else { "" };
    format!("<td{dark} style=\"background:rgba({color},{shade:.2})\">{count}</td>")
}

fn mistakes(content: &ReportContent, matrix: &ConfusionMatrix) -> String {
    let classes = || 0..matrix.classes();
    let pairs = classes().flat_map(|truth| classes().map(move |class| (truth, class)));
    let pairs = pairs.filter(|(truth, class)| truth != class);
    let mut found: Vec<_> = pairs.map(|(truth, class)| (matrix.count(truth, class), truth, class)).collect();
    found.retain(|mistake| mistake.0 > 0);
    found.sort_unstable_by_key(|&(count, truth, class)| (std::cmp::Reverse(count), truth, class));
    let row = |&(count, truth, class): &(u64, usize, usize)| {
        let (truth, class) = (content.class_name(truth), content.class_name(class));
        format!(
            "<tr><th scope=\"row\">{}</th><td class=\"text\">{}</td><td>{}</td></tr>\n",
            escape::text(&truth),
            escape::text(&class),
            format::thousands(count)
        )
    };
    let rows: String = found.iter().take(MOST_MISTAKES).map(row).collect();
    let body = format!(
        "<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">true class</th><th scope=\"col\" class=\"text\">taken \
         for</th><th scope=\"col\">samples</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    );
    part("Most frequent mistakes", &body)
}

/// A table of each class's accuracy with bars; nothing where no sample was counted.
pub(super) fn classes(content: &ReportContent) -> String {
    let Some(matrix) = counted(content) else { return String::new() };
    let row = |class| {
        let recall = matrix.recall(class);
        format!(
            "<tr><th scope=\"row\">{}</th><td class=\"bar\"><i style=\"width:{:.1}%\"></i></td><td>{}</td><td>{}</td>\
             <td>{}</td></tr>\n",
            escape::text(&content.class_name(class)),
            100.0 * recall.unwrap_or(0.0),
            format::optional(recall),
            format::optional(matrix.precision(class)),
            format::thousands(matrix.samples_of(class)),
        )
    };
    let rows: String = (0..matrix.classes()).map(row).collect();
    let body = format!(
        "<p>Accuracy: the share of a class's samples that were predicted right (recall). Precision: the share of \
         predictions of a class that were right.</p>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">class</th>\
         <th scope=\"col\" class=\"text\" colspan=\"2\">accuracy</th><th scope=\"col\">precision</th>\
         <th scope=\"col\">samples</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    );
    part("Accuracy of each class", &body)
}

fn counted(content: &ReportContent) -> Option<&ConfusionMatrix> {
    content.confusion.as_ref().filter(|matrix| matrix.samples() > 0)
}
