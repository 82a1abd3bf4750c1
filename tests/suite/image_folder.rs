//! Folders of images: classes, files, splits, and everything that people's folders have in them.

use densenet::data::{BadFilePolicy, Color, Dataset, Fit, ImageConfig, ImageFolder, Phase, SampleKey, Values};
use densenet::error::{DataError, FolderProblem};
use densenet::train::{Callback, DataPlacement, Event, Run};
use densenet::{Datasets, DenseNetConfig, Error, SgdConfig, TrainConfig, Trainer};
use image::{DynamicImage, ImageBuffer, ImageFormat, Rgb};
use std::cell::RefCell;
use std::fs;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::rc::Rc;
use tch::nn::VarStore;

/// A PNG of one color.
pub fn png(width: u32, height: u32, color: [u8; 3]) -> Vec<u8> {
    let image: DynamicImage = ImageBuffer::from_pixel(width, height, Rgb(color)).into();
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
    bytes
}

/// Writes a file, and the folders that it needs.
pub fn write(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A folder of two classes with two images of 8×8 pixels each, the red value of which is their number.
fn two_classes() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (number, path) in ["cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png"].iter().enumerate() {
        write(folder.path(), path, &png(8, 8, [number as u8, 0, 0]));
    }
    folder
}

/// The number of each sample, by its first value, and the classes.
fn samples(folder: &ImageFolder) -> (Vec<u8>, Vec<u32>) {
    let keys: Vec<SampleKey> = (0..folder.len()).map(key).collect();
    let batch = folder.fetch(&keys).unwrap();
    let Values::U8(values) = &batch.values else { panic!("bytes") };
    let width: usize = folder.sample_shape().iter().product();
    let densenet::data::Targets::Classes(classes) = batch.targets else { panic!("classes") };
    (values.chunks(width).map(|sample| sample[0]).collect(), classes)
}

fn key(index: usize) -> SampleKey {
    SampleKey { index, epoch: 0, seed: 0, phase: Phase::Evaluation }
}

fn problem(result: densenet::Result<ImageFolder>) -> FolderProblem {
    match result {
        Err(Error::Data(DataError::ImageFolder { problem, .. })) => problem,
        other => panic!("{other:?}"),
    }
}

fn skipping() -> ImageConfig {
    ImageConfig::new().with_bad_files(BadFilePolicy::Skip)
}

#[test]
fn classes_and_samples_are_sorted_by_bytes_and_hidden_entries_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let files = ["b/2.png", "b/10.png", "B/x.png", "a/deep/er/1.png", "a/z.png", "ä/1.png", "10/1.png", "9/1.png"];
    for (number, path) in files.iter().enumerate() {
        write(root, path, &png(4, 4, [number as u8, 0, 0]));
    }
    for hidden in [".git/config", "b/.DS_Store", "b/Thumbs.db", "a/desktop.ini", "__MACOSX/b/2.png", "a/__MACOSX/1.png"]
    {
        write(root, hidden, b"nothing");
    }
    write(root, "LICENSE.txt", b"beside the classes");
    let images = ImageFolder::open(root).unwrap();
    assert_eq!(images.classes(), ["10", "9", "B", "a", "b", "ä"]);
    assert_eq!(samples(&images), (vec![6, 7, 2, 3, 4, 1, 0, 5], vec![0, 1, 2, 3, 3, 4, 4, 5]));
    assert_eq!((images.hidden_files(), images.bad_files().len(), images.sample_shape()), (4, 0, &[3, 4, 4][..]));
}

#[test]
fn one_class_is_a_data_set_and_none_or_an_empty_one_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(problem(ImageFolder::open(folder.path())), FolderProblem::NoClasses);
    write(folder.path(), "cat/1.png", &png(4, 4, [1, 2, 3]));
    assert_eq!(ImageFolder::open(folder.path()).unwrap().classes(), ["cat"]);
    fs::create_dir(folder.path().join("dog")).unwrap();
    assert_eq!(problem(ImageFolder::open(folder.path())), FolderProblem::EmptyClass { class: "dog".to_owned() });
    let missing = folder.path().join("nowhere");
    let error = ImageFolder::open(&missing).unwrap_err().with_causes();
    assert!(error.contains("nowhere"), "{error}");
}

#[test]
fn names_that_are_not_utf_8_are_read_as_files_and_refused_as_classes() {
    let folder = two_classes();
    let file = folder.path().join("cat").join(std::ffi::OsStr::from_bytes(b"\xff.png"));
    fs::write(&file, png(8, 8, [9, 0, 0])).unwrap();
    let images = ImageFolder::open(folder.path()).unwrap();
    assert_eq!(samples(&images).0, [0, 1, 9, 2, 3]);
    let class = folder.path().join(std::ffi::OsStr::from_bytes(b"\xfe"));
    fs::create_dir(&class).unwrap();
    assert_eq!(problem(ImageFolder::open(folder.path())), FolderProblem::ClassName { class: "\u{fffd}".to_owned() });
}

#[test]
fn links_are_followed_within_the_folder_only() {
    let (folder, other) = (two_classes(), two_classes());
    let root = folder.path();
    symlink(root.join("dog/3.png"), root.join("cat/link.png")).unwrap();
    symlink(root.join("dog"), root.join("bird")).unwrap();
    symlink(other.path().join("cat"), root.join("outside")).unwrap();
    let images = ImageFolder::open(root).unwrap();
    assert_eq!(images.classes(), ["bird", "cat", "dog"]);
    assert_eq!(samples(&images), (vec![2, 3, 0, 1, 2, 2, 3], vec![0, 0, 1, 1, 1, 2, 2]));

    symlink(other.path().join("cat/1.png"), root.join("cat/outside.png")).unwrap();
    symlink(root.join("nothing.png"), root.join("cat/broken.png")).unwrap();
    symlink(root, root.join("cat/circle")).unwrap();
    let error = ImageFolder::open(root).unwrap_err();
    assert!(matches!(error, Error::Data(DataError::BadFiles { count: 3, .. })), "{error}");
    let images = ImageFolder::open_with(root, &skipping()).unwrap();
    assert_eq!((images.len(), images.bad_files().len()), (7, 3));
}

#[test]
fn files_that_are_no_images_are_an_error_or_left_out_and_listed() {
    let folder = two_classes();
    let root = folder.path();
    write(root, "cat/0-empty.png", b"");
    write(root, "cat/notes.txt", b"these are cats");
    write(root, "dog/animation.webp", b"RIFF\x40\0\0\0WEBPVP8X");
    // A name says nothing about the content.
    write(root, "dog/5.jpeg", &png(8, 8, [4, 0, 0]));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("dog/pipe.png"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    match ImageFolder::open(root).unwrap_err() {
        Error::Data(DataError::BadFiles { count: 4, path, problem }) => {
            assert!(path.ends_with("cat/0-empty.png"), "{path:?}");
            assert_eq!(problem, "it is empty");
        }
        other => panic!("{other:?}"),
    }
    let images = ImageFolder::open_with(root, &skipping()).unwrap();
    assert_eq!(samples(&images), (vec![0, 1, 2, 3, 4], vec![0, 0, 1, 1, 1]));
    let listed: Vec<String> = images.bad_files().iter().map(|bad| bad.problem.clone()).collect();
    let expected = [
        "it is empty",
        "it is neither PNG nor JPEG, GIF or BMP",
        "it is WebP, and PNG, JPEG, GIF and BMP are read",
        "it is no regular file",
    ];
    assert_eq!(listed, expected);
}

#[test]
fn images_of_several_sizes_need_a_size() {
    let folder = two_classes();
    write(folder.path(), "dog/wide.png", &png(12, 8, [4, 0, 0]));
    match ImageFolder::open(folder.path()).unwrap_err() {
        Error::Data(DataError::MixedSizes { size: [8, 8], other, other_size: [8, 12], .. }) => {
            assert!(other.ends_with("dog/wide.png"), "{other:?}");
        }
        other => panic!("{other:?}"),
    }
    let images = ImageFolder::open_with(folder.path(), &ImageConfig::new().with_size([6, 6])).unwrap();
    assert_eq!(images.sample_shape(), [3, 6, 6]);
    assert_eq!(samples(&images).0, [0, 1, 2, 3, 4]);
    for size in [[0, 6], [6, 16_385]] {
        let config = ImageConfig::new().with_size(size);
        assert!(matches!(ImageFolder::open_with(folder.path(), &config), Err(Error::Config(_))), "{size:?}");
    }
    let config = ImageConfig::new().with_size([6, 6]).with_fit(Fit::CenterCrop { resize_size: 5 });
    assert!(matches!(ImageFolder::open_with(folder.path(), &config), Err(Error::Config(_))));
}

#[test]
fn splits_share_the_classes_of_the_training_set() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let config = ImageConfig::new();
    let split = |name: &str| root.join(name);
    let open = || ImageFolder::open_splits(root, &config).map(|(_, validation)| validation);
    assert_eq!(problem(open()), FolderProblem::NoSplit { names: vec!["train".to_owned(), "training".to_owned()] });
    for path in ["train/cat/1.png", "train/dog/1.png", "valid/dog/1.png"] {
        write(root, path, &png(4, 4, [0, 0, 0]));
    }
    assert_eq!(problem(open()), FolderProblem::MissingClass { class: "cat".to_owned() });
    fs::create_dir(split("valid/cat")).unwrap();
    let (train, validation) = ImageFolder::open_splits(root, &config).unwrap();
    assert_eq!(train.classes(), validation.classes());
    // An empty class does not shift the others.
    assert_eq!(samples(&validation).1, [1]);
    write(root, "valid/bird/1.png", &png(4, 4, [0, 0, 0]));
    assert_eq!(problem(open()), FolderProblem::UnknownClass { class: "bird".to_owned() });
    let expected = FolderProblem::HasSplits { train: "train".to_owned(), validation: "valid".to_owned() };
    assert_eq!(problem(ImageFolder::open(root)), expected);
}

#[test]
fn gray_samples_have_one_channel_and_fits_keep_or_change_the_aspect_ratio() {
    let folder = tempfile::tempdir().unwrap();
    // The left half is black and the right half white.
    let halves = ImageBuffer::from_fn(16, 8, |x, _| if x < 8 { Rgb([0_u8; 3]) } else { Rgb([255_u8; 3]) });
    let mut bytes = Vec::new();
    DynamicImage::from(halves).write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
    write(folder.path(), "a/1.png", &bytes);
    let row = |fit: Fit| {
        let config = ImageConfig::new().with_size([4, 4]).with_fit(fit).with_color(Color::Gray);
        let images = ImageFolder::open_with(folder.path(), &config).unwrap();
        assert_eq!(images.sample_shape(), [1, 4, 4]);
        let Values::U8(values) = images.fetch(&[key(0)]).unwrap().values else { panic!("bytes") };
        [values[..4].to_vec(), values[4..8].to_vec()]
    };
    let [crop, stretch] = [row(Fit::Crop), row(Fit::Stretch)];
    // 16×8 becomes 8×4, of which the middle is black on its left and white on its right; antialiasing mixes at the border.
    assert!(crop[0][0] == 0 && crop[0][3] == 255 && crop[0][1] < 128 && crop[0][2] > 127, "{crop:?}");
    assert!(stretch[0][0] < 40 && stretch[0][3] > 215, "{stretch:?}");
    // 16×8 becomes 4×2, with a bar above and below: its luma is that of pure green.
    let pad = row(Fit::Pad { fill: [0, 255, 0] });
    assert_eq!(pad[0], [150; 4]);
    assert!(pad[1][0] < 40 && pad[1][3] > 215, "{pad:?}");
}

#[test]
fn a_scan_finds_damaged_equal_and_misnamed_files() {
    let folder = two_classes();
    let root = folder.path();
    let whole = png(8, 8, [7, 0, 0]);
    write(root, "cat/cut.png", &whole[..whole.len() - 20]);
    write(root, "cat/copy.png", &png(8, 8, [0, 0, 0]));
    write(root, "dog/copy.png", &png(8, 8, [1, 0, 0]));
    write(root, "dog/wrong.jpg", &png(8, 8, [8, 0, 0]));
    let images = ImageFolder::open_with(root, &ImageConfig::new().with_size([8, 8])).unwrap();
    let report = images.scan();
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let names = |groups: &[Vec<std::path::PathBuf>]| -> Vec<Vec<String>> {
        groups.iter().map(|group| group.iter().map(|path| name(path)).collect()).collect()
    };
    assert_eq!(report.images, 7);
    assert_eq!(report.bad.iter().map(|bad| name(&bad.path)).collect::<Vec<_>>(), ["cat/cut.png"]);
    assert_eq!(names(&report.duplicates), [["cat/1.png", "cat/copy.png"], ["cat/2.png", "dog/copy.png"]]);
    assert_eq!(names(&report.conflicts), [["cat/2.png", "dog/copy.png"]]);
    assert_eq!(report.extensions.iter().map(|path| name(path)).collect::<Vec<_>>(), ["dog/wrong.jpg"]);
    let text = report.to_string();
    assert!(text.starts_with("7 images, 1 file"), "{text}");
    assert!(text.contains("cut.png") && text.contains("in several classes: "), "{text}");
    let rest = images.without(&report).unwrap();
    assert_eq!((rest.len(), rest.bad_files().len()), (7, 1));
    assert_eq!(rest.scan().bad, report.bad);
}

/// Collects the warnings of a run.
struct Warnings(Rc<RefCell<Vec<String>>>);

impl Callback for Warnings {
    fn on_event(&mut self, event: &Event, _: &Run) -> densenet::Result<ControlFlow<()>> {
        if let Event::Warning { message } = event {
            self.0.borrow_mut().push((*message).to_owned());
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[test]
fn a_damaged_image_stops_a_run_with_its_name_or_is_skipped_and_counted() {
    let folder = two_classes();
    let root = folder.path();
    let whole = png(8, 8, [7, 0, 0]);
    write(root, "cat/cut.png", &whole[..whole.len() - 20]);
    let fit = |policy, placement| {
        let vs = VarStore::new(tch::Device::Cpu);
        let model = DenseNetConfig::new(2).with_initial_channels(4).with_growth_rate(2).with_layers_per_block([1]);
        let model = model.build(&vs.root()).unwrap();
        let optimizer = SgdConfig::new(0.1).build(&vs).unwrap();
        let warnings = Rc::new(RefCell::new(Vec::new()));
        let mut trainer =
            Trainer::new(vs, model, optimizer, TrainConfig::new(2).with_data_placement(placement).with_batch_size(5))
                .unwrap()
                .with_callback(Warnings(Rc::clone(&warnings)));
        let images = ImageConfig::new().with_size([32, 32]).with_bad_files(policy);
        let images = ImageFolder::open_with(root, &images).unwrap();
        let history = trainer.fit(&Datasets::new(&images).with_validation(&images));
        (history, warnings.take(), trainer.evaluate(&images))
    };
    let (history, _, _) = fit(BadFilePolicy::Error, DataPlacement::Host);
    match history.unwrap_err() {
        Error::Data(DataError::ImageFile { path, .. }) => assert!(path.ends_with("cat/cut.png"), "{path:?}"),
        other => panic!("{other:?}"),
    }
    for placement in [DataPlacement::Host, DataPlacement::Device] {
        let (history, warnings, evaluation) = fit(BadFilePolicy::Skip, placement);
        // In training and in the evaluation of each epoch.
        let skipped: Vec<usize> = history.unwrap().epochs.iter().map(|record| record.skipped_samples).collect();
        assert_eq!(skipped, [2, 2], "{placement:?}");
        assert_eq!(warnings.len(), 4);
        assert!(warnings[0].contains("cat/cut.png"), "{warnings:?}");
        let skipped = evaluation.unwrap().skipped;
        assert_eq!((skipped.len(), skipped[0].index), (1, 2));
    }
}

#[test]
fn cached_images_are_those_of_the_files() {
    let folder = two_classes();
    let root = folder.path();
    let cached = |bytes| {
        let config = ImageConfig::new().with_cache_bytes(bytes).with_size([8, 8]);
        ImageFolder::open_with(root, &config).unwrap()
    };
    let (none, two, all) = (cached(0), cached(2 * 3 * 64), cached(1 << 20));
    for images in [&none, &two, &all] {
        assert_eq!(samples(images).0, [0, 1, 2, 3]);
    }
    // What is in memory does not notice a change.
    for (number, path) in ["cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png"].iter().enumerate() {
        write(root, path, &png(8, 8, [10 + number as u8, 0, 0]));
    }
    assert_eq!([&none, &two, &all].map(|images| samples(images).0), [[10, 11, 12, 13], [0, 1, 12, 13], [0, 1, 2, 3]]);
}

#[test]
fn a_skipped_sample_of_a_subset_has_the_index_that_the_subset_gives_it() {
    let folder = two_classes();
    let whole = png(8, 8, [7, 0, 0]);
    write(folder.path(), "dog/5-cut.png", &whole[..whole.len() - 20]);
    let images = ImageFolder::open_with(folder.path(), &skipping().with_size([8, 8])).unwrap();
    let subset = densenet::data::Subset::new(images, vec![3, 4]).unwrap();
    let skipped = subset.fetch(&[key(0), key(1)]).unwrap().skipped;
    assert_eq!(skipped.iter().map(|skipped| skipped.index).collect::<Vec<_>>(), [1]);
}
