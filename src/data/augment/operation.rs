//! The operations of an augmentation, as one type.

use super::affine::{RandomAffine, RandomRotation};
use super::alternating_flip::AlternatingFlip;
use super::color_jitter::ColorJitter;
use super::crop::{RandomCrop, RandomShift};
use super::erasing::{Cutout, RandomErasing};
use super::flip::{RandomHorizontalFlip, RandomVerticalFlip};
use super::grayscale::RandomGrayscale;
use super::rand_augment::RandAugment;
#[cfg(feature = "images")]
use super::resized_crop::RandomResizedCrop;
use super::transform::Transform;
use super::trivial_augment::TrivialAugmentWide;
use serde::{Deserialize, Serialize};

macro_rules! operations {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {
        /// One operation of an [`Augment`](super::Augment); each converts into it.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Operation {
            $($(#[$attribute])* #[doc = concat!("Applies [`", stringify!($name), "`].")] $name($name),)*
        }

        impl Operation {
            /// Returns the operation as what all of them are.
            pub(super) fn transform(&self) -> &dyn Transform {
                match self {
                    $($(#[$attribute])* Operation::$name(operation) => operation,)*
                }
            }
        }

        $($(#[$attribute])* impl From<$name> for Operation {
            fn from(operation: $name) -> Self {
                Operation::$name(operation)
            }
        })*
    };
}

operations!(
    RandomHorizontalFlip,
    RandomVerticalFlip,
    AlternatingFlip,
    RandomCrop,
    RandomShift,
    #[cfg(feature = "images")]
    RandomResizedCrop,
    RandomRotation,
    RandomAffine,
    ColorJitter,
    RandomGrayscale,
    RandomErasing,
    Cutout,
    TrivialAugmentWide,
    RandAugment,
);
