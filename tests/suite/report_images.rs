//! The images in a run's report: mistakes, and training images as the network sees them.

use crate::small_run::{fit, images, trainer};
use densenet::data::augment::{Augment, RandomShift};
use densenet::data::{Augmented, Dataset};
use densenet::report::Report;
use densenet::train::Mixing;
use densenet::{Preprocess, TrainConfig};
use std::fs;

/// The page of a run of one epoch.
fn page(train: &dyn Dataset, config: TrainConfig) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(config.with_batch_size(16)).with_callback(Report::in_folder(folder.path()));
    fit(&mut trainer, train, &images(40, 1)).unwrap();
    fs::read_to_string(folder.path().join("report.html")).unwrap()
}

/// The images in the table of training images, as their PNG files.
fn training(page: &str) -> Vec<&str> {
    let table = page.split_once("<table class=\"training\">").unwrap().1.split_once("</table>").unwrap().0;
    table.split("base64,").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect()
}

#[test]
fn training_images_are_shown_in_several_epochs_where_they_differ() {
    let config = || TrainConfig::new(1).with_preprocess(Preprocess::new().with_normalize([0.5], [0.25]));
    let plain = page(&images(32, 0), config());
    let shown = training(&plain);
    assert_eq!(shown.len(), 4);
    // The normalization is undone: without it, the same images are shown.
    assert_eq!(training(&page(&images(32, 0), TrainConfig::new(1))), shown);
    let augmented = Augmented::new(images(32, 0), Augment::new().with(RandomShift::new(4))).unwrap();
    for page in [page(&augmented, config()), page(&images(32, 0), config().with_mixing(Mixing::MixUp { alpha: 1.0 }))] {
        let shown = training(&page);
        assert_eq!(shown.len(), 4 * 6);
        assert!(shown[1..6].iter().any(|image| *image != shown[0]));
    }
}

#[test]
fn mistakes_are_listed_by_class_with_the_most_confident_first() {
    // A network that has hardly learned makes many.
    let page = page(&images(32, 0), TrainConfig::new(1));
    let section = page.split_once("<h2>Mistakes</h2>").unwrap().1.split_once("</section>").unwrap().0;
    assert!(!section.contains("class=\"correct\""));
    let items: Vec<(String, f64)> = section
        .split("<li class=\"wrong\">")
        .skip(1)
        .map(|item| {
            let truth = item.split_once("title=\"true: ").unwrap().1.split_once('"').unwrap().0;
            let share = item.split_once("class=\"probability\">").unwrap().1.split_once('%').unwrap().0;
            (truth.to_owned(), share.trim().parse().unwrap())
        })
        .collect();
    assert!(items.len() > 8, "{items:?}");
    for pair in items.windows(2) {
        assert!(pair[0].0 < pair[1].0 || (pair[0].0 == pair[1].0 && pair[0].1 >= pair[1].1), "{pair:?}");
    }
}
