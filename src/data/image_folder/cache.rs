//! Decoded images in memory.

use crate::data::Pixels;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Decoded images by the index of their sample, up to a number of bytes. What is in it stays: an epoch reads each image
/// once, so that replacing the oldest would never find one again.
#[derive(Debug)]
pub(super) struct Cache {
    limit: usize,
    images: Mutex<Images>,
}

#[derive(Debug, Default)]
struct Images {
    bytes: usize,
    by_index: HashMap<usize, Arc<Pixels>>,
}

impl Cache {
    pub fn new(limit: usize) -> Self {
        Cache { limit, images: Mutex::default() }
    }

    /// Returns an image, which is loaded where it is not in the cache.
    pub fn get<E>(&self, index: usize, load: impl FnOnce() -> Result<Pixels, E>) -> Result<Arc<Pixels>, E> {
        if self.limit == 0 {
            return load().map(Arc::new);
        }
        let lock = || self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = lock().by_index.get(&index) {
            return Ok(Arc::clone(image));
        }
        let image = Arc::new(load()?);
        let size = image.values.len();
        let mut images = lock();
        if images.bytes + size <= self.limit && images.by_index.insert(index, Arc::clone(&image)).is_none() {
            images.bytes += size;
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_loaded_once_up_to_the_limit() {
        let cache = Cache::new(250);
        let mut loads = Vec::new();
        for index in [0, 1, 2, 0, 1, 2] {
            let load = || {
                loads.push(index);
                Ok::<_, ()>(Pixels::filled(10, 10, &[index as u8]))
            };
            assert_eq!(cache.get(index, load).unwrap().values, vec![index as u8; 100]);
        }
        assert_eq!(loads, [0, 1, 2, 2]);
    }
}
