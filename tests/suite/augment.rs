//! Augmentation of single images: shapes, draws and bad input.

use densenet::data::augment::{
    AffineInterpolation, AlternatingFlip, Augment, ColorJitter, Cutout, Operation, PaddingMode, RandAugment,
    RandomAffine, RandomCrop, RandomErasing, RandomGrayscale, RandomHorizontalFlip, RandomRotation, RandomShift,
    RandomVerticalFlip, TrivialAugmentWide,
};
use densenet::data::{Image, Phase, SampleKey, Values};
use densenet::error::ConfigError;
use densenet::{Error, Result};
use std::collections::HashSet;

/// An image whose pixels all differ from their neighbors.
fn image(shape: [usize; 3]) -> Image {
    let len = shape.iter().product::<usize>();
    Image::new(shape, Values::U8((0..len).map(|value| (value * 37 % 251) as u8).collect())).unwrap()
}

fn key(index: usize, epoch: u64, seed: u64) -> SampleKey {
    SampleKey { index, epoch, seed, phase: Phase::Train }
}

fn of(operation: impl Into<Operation>) -> Augment {
    Augment::new().with(operation)
}

/// Every operation that keeps the shape of a colored image, with something random about it.
fn operations() -> Vec<Augment> {
    vec![
        of(RandomHorizontalFlip::new()),
        of(RandomVerticalFlip::new()),
        of(AlternatingFlip::new()),
        of(RandomCrop::new([20, 24]).with_padding(3).with_padding_mode(PaddingMode::Reflect)),
        of(RandomShift::new(3).with_fill([1, 2, 3])),
        of(RandomRotation::new(30.0).with_interpolation(AffineInterpolation::Bilinear)),
        of(RandomAffine::new(10.0).with_translate([0.1, 0.2]).with_scale([0.8, 1.2]).with_shear_x([-5.0, 5.0])),
        of(ColorJitter::new().with_brightness(0.4).with_contrast(0.4).with_saturation(0.4).with_hue(0.1)),
        of(RandomGrayscale::new().with_p(0.5)),
        of(RandomErasing::new()),
        of(Cutout::new(8)),
        of(TrivialAugmentWide::new()),
        of(RandAugment::new()),
    ]
}

#[test]
fn each_operation_keeps_the_declared_shape_and_is_a_function_of_the_key() {
    let image = image([3, 20, 24]);
    for augment in operations() {
        let shape = augment.output_shape(image.shape()).unwrap();
        let mut results = HashSet::new();
        for index in 0..40 {
            let augmented = augment.apply(&image, &key(index, 1, 2)).unwrap();
            assert_eq!(augmented.shape(), shape, "{augment:?}");
            assert_eq!(augmented, augment.apply(&image, &key(index, 1, 2)).unwrap(), "{augment:?}");
            results.insert(augmented.bytes().unwrap().to_vec());
        }
        assert!(results.len() >= 2, "{augment:?} gives {} results", results.len());
    }
}

#[test]
fn samples_epochs_seeds_and_places_in_the_list_have_draws_of_their_own() {
    let image = image([1, 64, 64]);
    let augment = of(RandomShift::new(31));
    let mut results = HashSet::new();
    let keys = (0..4).flat_map(|index| (0..4).flat_map(move |epoch| (0..4).map(move |seed| key(index, epoch, seed))));
    for key in keys {
        results.insert(augment.apply(&image, &key).unwrap().bytes().unwrap().to_vec());
    }
    // 64 of 3969 shifts: two are equal in half of all cases, more than three in next to none.
    assert!(results.len() >= 61, "{}", results.len());

    // A second flip with the same draw would undo the first one.
    let twice = of(RandomHorizontalFlip::new()).with(RandomHorizontalFlip::new());
    assert!((0..40).any(|index| twice.apply(&image, &key(index, 0, 0)).unwrap() != image));
}

#[test]
fn an_augmentation_is_the_same_after_a_way_through_json() {
    for augment in operations().into_iter().chain([Augment::cifar(), Augment::fashion_mnist()]) {
        let json = serde_json::to_string(&augment).unwrap();
        assert_eq!(serde_json::from_str::<Augment>(&json).unwrap(), augment, "{json}");
    }
}

#[test]
fn presets_fit_their_images() {
    assert_eq!(Augment::cifar().output_shape([3, 32, 32]).unwrap(), [3, 32, 32]);
    assert_eq!(Augment::fashion_mnist().output_shape([1, 28, 28]).unwrap(), [1, 28, 28]);
    assert_eq!(Augment::new().operations(), []);
}

#[cfg(feature = "images")]
#[test]
fn a_resized_crop_has_its_size_for_images_of_any_size() {
    use densenet::data::augment::RandomResizedCrop;
    for shape in [[3, 50, 80], [1, 7, 300], [4, 1, 1]] {
        let augmented = of(RandomResizedCrop::new([16, 20])).apply(&image(shape), &key(0, 0, 0)).unwrap();
        assert_eq!(augmented.shape(), [shape[0], 16, 20]);
    }
    assert_eq!(Augment::imagenet([24, 24]).output_shape([3, 500, 375]).unwrap(), [3, 24, 24]);
    assert_eq!(
        refused(of(RandomResizedCrop::new([8, 8])), [5, 9, 9]),
        "image of a resized crop is 5 channels, but has to be 1 to 4 channels"
    );
    refused(of(RandomResizedCrop::new([0, 8])), [3, 9, 9]);
    refused(of(RandomResizedCrop::new([8, 8]).with_scale([0.5, 0.1])), [3, 9, 9]);
    refused(of(RandomResizedCrop::new([8, 8]).with_ratio([0.0, 1.0])), [3, 9, 9]);
}

/// The message of an augmentation that does not support images of this shape, in its check and in its application.
fn refused(augment: Augment, shape: [usize; 3]) -> String {
    let message = |result: Result<()>| match result {
        Err(error @ Error::Config(ConfigError::InvalidValue { .. })) => error.to_string(),
        other => panic!("{augment:?}: {other:?}"),
    };
    let checked = message(augment.output_shape(shape).map(drop));
    assert_eq!(checked, message(augment.apply(&image(shape), &key(0, 0, 0)).map(drop)));
    checked
}

#[test]
fn values_out_of_range_and_images_that_do_not_fit_are_typed_errors() {
    let color = [3, 20, 24];
    for (augment, field) in [
        (of(RandomHorizontalFlip::new().with_p(1.5)), "probability of a flip is 1.5"),
        (of(RandomVerticalFlip::new().with_p(f64::NAN)), "probability of a flip is NaN"),
        (of(RandomCrop::new([0, 4])), "size of a crop is 0×4"),
        (of(RandomCrop::new([30, 24]).with_padding(4)), "size of a crop is 30×24 from 20×24 padded by 4"),
        (of(RandomCrop::new([4, 4]).with_padding(1 << 40)), "padding of a crop is"),
        (of(RandomCrop::new([4, 4]).with_fill([1, 2])), "fill of a crop is [1, 2] for 3 channels"),
        (of(RandomShift::new(usize::MAX)), "largest shift is"),
        (of(RandomShift::new(1).with_fill([])), "fill of a shift is [] for 3 channels"),
        (of(RandomRotation::new(361.0)), "degrees of a rotation is -361 to 361"),
        (of(RandomRotation::new(f64::INFINITY)), "degrees of a rotation is -inf to inf"),
        (of(RandomAffine::new(5.0).with_translate([0.1, -0.1])), "translation of an affine transformation is -0.1"),
        (of(RandomAffine::new(5.0).with_scale([0.0, 1.0])), "scale of an affine transformation is 0 to 1"),
        (of(RandomAffine::new(5.0).with_shear_x([-90.0, 0.0])), "shear of an affine transformation is -90 to 0"),
        (of(RandomAffine::new(5.0).with_shear_y([9.0, 8.0])), "shear of an affine transformation is 9 to 8"),
        (of(ColorJitter::new().with_brightness(-0.5)), "brightness of a color jitter is 1.5 to 0.5"),
        (of(ColorJitter::new().with_contrast_range([-0.5, 1.0])), "contrast of a color jitter is -0.5 to 1"),
        (of(ColorJitter::new().with_saturation(f64::NAN)), "saturation of a color jitter is"),
        (of(ColorJitter::new().with_hue(0.6)), "hue of a color jitter is -0.6 to 0.6"),
        (of(RandomGrayscale::new().with_p(-0.1)), "probability of a conversion to gray is -0.1"),
        (of(RandomErasing::new().with_p(2.0)), "probability of an erasing is 2"),
        (of(RandomErasing::new().with_scale([0.0, 1.1])), "scale of an erasing is 0 to 1.1"),
        (of(RandomErasing::new().with_ratio([-1.0, 1.0])), "ratio of an erasing is -1 to 1"),
        (of(RandomErasing::new().with_value([1; 4])), "value of an erasing is [1, 1, 1, 1] for 3 channels"),
        (of(Cutout::new(0)), "size of a cutout is 0×0"),
        (of(Cutout::new(8).with_fill([1; 2])), "fill of a cutout is [1, 1] for 3 channels"),
        (of(TrivialAugmentWide::new().with_num_magnitude_bins(0)), "number of magnitudes is 0"),
        (of(TrivialAugmentWide::new().with_fill([1; 2])), "fill of TrivialAugment is"),
        (of(RandAugment::new().with_magnitude(31)), "magnitude of RandAugment is 31 of 31"),
        (of(RandAugment::new().with_num_ops(101)), "number of operations of RandAugment is 101"),
        (of(RandAugment::new().with_num_magnitude_bins(1001)), "number of magnitudes is 1001"),
    ] {
        let message = refused(augment, color);
        assert!(message.starts_with(field), "{message}");
    }
    for (augment, shape, field) in [
        (of(ColorJitter::new().with_hue(0.1)), [1, 4, 4], "image of a color jitter is 1 channel,"),
        (of(ColorJitter::new().with_saturation(0.1)), [1, 4, 4], "image of a color jitter is 1 channel,"),
        (of(ColorJitter::new()), [2, 4, 4], "image of a color jitter is 2 channels"),
        (of(RandomGrayscale::new()), [4, 4, 4], "image of a conversion to gray is 4 channels"),
        (of(TrivialAugmentWide::new()), [2, 4, 4], "image of TrivialAugment is 2 channels"),
        (of(RandAugment::new()), [4, 4, 4], "image of RandAugment is 4 channels"),
        // The second operation gets what the first one leaves.
        (of(RandomCrop::new([4, 4])).with(RandomCrop::new([5, 4])), [3, 9, 9], "size of a crop is 5×4 from 4×4"),
    ] {
        let message = refused(augment, shape);
        assert!(message.starts_with(field), "{message}");
    }
    let numbers = Image::new([1, 2, 2], Values::F32(vec![0.5; 4])).unwrap();
    let message = Augment::new().apply(&numbers, &key(0, 0, 0)).unwrap_err().to_string();
    assert_eq!(message, "image to augment is f32 [1, 2, 2], but has to be bytes: augment before the conversion to f32");
}

#[test]
fn the_smallest_images_and_the_limits_of_ranges_are_no_special_case() {
    for shape in [[1, 1, 1], [3, 1, 5], [3, 2, 1]] {
        let tiny = image(shape);
        for augment in [
            of(RandomHorizontalFlip::new().with_p(1.0)),
            of(RandomVerticalFlip::new().with_p(1.0)),
            of(RandomCrop::new([9, 9]).with_pad_if_needed().with_padding_mode(PaddingMode::Reflect)),
            of(RandomShift::new(40).with_padding_mode(PaddingMode::Symmetric)),
            of(RandomRotation::new(360.0).with_interpolation(AffineInterpolation::Bilinear)),
            of(RandomAffine::new(360.0).with_scale([0.001, 1000.0]).with_shear_x([-89.0, 89.0])),
            of(ColorJitter::new().with_brightness_range([0.0, 1000.0]).with_contrast_range([0.0, 1000.0])),
            of(RandomErasing::new().with_p(1.0).with_scale([0.0, 1.0]).with_ratio([0.01, 100.0])),
            of(Cutout::new(16_384)),
            of(RandAugment::new().with_num_ops(20).with_magnitude(30)),
            of(RandAugment::new().with_magnitude(0).with_num_magnitude_bins(1)),
            of(TrivialAugmentWide::new().with_num_magnitude_bins(1)),
        ] {
            let declared = augment.output_shape(shape).unwrap();
            for index in 0..50 {
                assert_eq!(augment.apply(&tiny, &key(index, 0, 0)).unwrap().shape(), declared, "{augment:?}");
            }
        }
    }
}
