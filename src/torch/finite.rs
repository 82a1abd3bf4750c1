//! The check that tensors hold neither NaN nor infinities.

use super::{dense_bytes, ffi, no_grad, parallel_for};
use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tch::{Kind, Tensor};

/// Whether no tensor holds NaN or an infinity. Integers are finite, and so is an empty tensor.
///
/// Tensors in the memory of the CPU without gaps, of f32, f64, bf16 or f16, are read where they lie, on libtorch's
/// threads; for all others libtorch computes one result, which is read once.
///
/// # Errors
///
/// [`Error::Libtorch`] for a tensor that libtorch cannot check.
pub(crate) fn all_finite(tensors: &[&Tensor]) -> Result<bool> {
    let (mut parts, mut others) = (Vec::new(), Vec::new());
    for &tensor in tensors.iter().filter(|tensor| tensor.defined()) {
        match infinity(tensor.kind()).zip(dense_bytes(tensor)) {
            Some((infinity, bytes)) => parts.extend(bytes.chunks(PART).map(|part| (infinity, part))),
            None => others.push(tensor),
        }
    }
    let finite = AtomicBool::new(true);
    parallel_for(parts.len(), GRAIN, |range| {
        for (infinity, part) in &parts[range] {
            if finite.load(Relaxed) && !infinity.bounds(part) {
                finite.store(false, Relaxed);
            }
        }
    });
    Ok(finite.into_inner() && no_grad(|| others_finite(&others)).map_err(Error::libtorch("check for finite values"))?)
}

/// Writes 1 into `found`, an f32 `[1]` on the device of the tensors, where one of them holds NaN or an infinity. The host
/// does not wait for the result. Tensors are of f16, bf16, f32 or f64; undefined ones are left out.
///
/// # Errors
///
/// [`Error::Libtorch`].
pub(crate) fn find_non_finite(tensors: &[&Tensor], found: &mut Tensor) -> Result<()> {
    let defined: Vec<&Tensor> = tensors.iter().copied().filter(|tensor| tensor.defined()).collect();
    let mut handles = ffi::handles(&defined);
    // SAFETY: the handles are live tensors' for the length of the call.
    ffi::call("check for finite values", |error| unsafe {
        ffi::densenet_find_non_finite((&mut handles).into(), found.as_mut_ptr(), error)
    })?;
    Ok(())
}

/// Number of bytes that a thread checks at a time, a multiple of every dtype's size.
const PART: usize = 1 << 16;

/// Number of parts below which another thread costs more than it saves: 4 MiB.
const GRAIN: usize = 64;

/// The bits of a dtype's exponent: all of them are set in NaN and infinities, and in nothing else.
#[derive(Clone, Copy)]
enum Exponent {
    Bits16(u16),
    Bits32(u32),
    Bits64(u64),
}

fn infinity(kind: Kind) -> Option<Exponent> {
    match kind {
        Kind::Half => Some(Exponent::Bits16(0x7c00)),
        Kind::BFloat16 => Some(Exponent::Bits16(0x7f80)),
        Kind::Float => Some(Exponent::Bits32(0x7f80_0000)),
        Kind::Double => Some(Exponent::Bits64(0x7ff0_0000_0000_0000)),
        _ => None,
    }
}

impl Exponent {
    /// Whether all values in this memory are finite. The loops have no exit, so that the compiler vectorizes them.
    fn bounds(self, bytes: &[u8]) -> bool {
        macro_rules! no_value_has {
            ($bits:expr, $T:ty) => {{
                let (values, _) = bytes.as_chunks::<{ size_of::<$T>() }>();
                let is_bad = |&value| <$T>::from((<$T>::from_ne_bytes(value) & $bits) == $bits);
                values.iter().map(is_bad).fold(0, |any, bad| any | bad) == 0
            }};
        }
        match self {
            Exponent::Bits16(bits) => no_value_has!(bits, u16),
            Exponent::Bits32(bits) => no_value_has!(bits, u32),
            Exponent::Bits64(bits) => no_value_has!(bits, u64),
        }
    }
}

/// Checks tensors by libtorch's operations, with one result that is read from the device.
fn others_finite(tensors: &[&Tensor]) -> std::result::Result<bool, tch::TchError> {
    let mut results: Vec<Tensor> = Vec::new();
    for tensor in tensors {
        let result = tensor.f_isfinite()?.f_all()?;
        results.push(match results.first() {
            Some(first) => result.f_to_device(first.device())?,
            None => result,
        });
    }
    if results.is_empty() {
        return Ok(true);
    }
    Ok(Tensor::f_stack(&results, 0)?.f_all()?.f_int64_value(&[])? != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::to_channels_last;
    use tch::Device;

    const KINDS: [Kind; 4] = [Kind::Float, Kind::Double, Kind::BFloat16, Kind::Half];
    const BAD: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

    fn is_finite(tensor: &Tensor) -> bool {
        all_finite(&[tensor]).unwrap()
    }

    #[test]
    fn one_bad_value_is_found_wherever_it_lies_and_the_largest_number_is_none() {
        for kind in KINDS {
            let largest = match kind {
                Kind::Half => 65504.0,
                Kind::Float => f32::MAX.into(),
                Kind::BFloat16 => half::bf16::MAX.into(),
                _ => f64::MAX,
            };
            let values = Tensor::full([300_001], largest, (kind, Device::Cpu));
            assert!(is_finite(&values), "{kind:?}");
            for place in [0, 1, 31_000, 150_003, 299_999, 300_000] {
                for bad in BAD {
                    let mut one = values.get(place);
                    let _ = one.fill_(bad);
                    assert!(!is_finite(&values), "{kind:?}, {bad} at {place}");
                    let _ = one.fill_(-largest);
                }
            }
            assert!(is_finite(&values), "{kind:?}");
        }
    }

    #[test]
    fn a_bad_value_is_found_in_any_memory_format_and_beside_a_view_it_is_not() {
        for kind in KINDS {
            let zeros = Tensor::zeros([2, 6, 4, 5], (kind, Device::Cpu));
            let channels_last = to_channels_last(&zeros).unwrap();
            for x in [zeros, channels_last] {
                let _ = x.get(1).get(3).get(2).get(4).fill_(f64::NAN);
                for view in [x.shallow_clone(), x.narrow(1, 2, 3), x.permute([3, 1, 0, 2]), x.slice(3, 0, None, 2)] {
                    assert!(!is_finite(&view), "{kind:?}, {:?}", view.stride());
                }
                assert!(is_finite(&x.narrow(1, 0, 3)) && is_finite(&x.slice(3, 1, None, 2)), "{kind:?}");
            }
        }
    }

    #[test]
    fn one_bad_value_is_found_without_a_read_and_the_tensors_keep_their_values() {
        for kind in KINDS {
            let tensors = [[2, 3], [1, 7]].map(|size| Tensor::full(size, 0.1, (kind, Device::Cpu)));
            let before = tensors.each_ref().map(Tensor::copy);
            let find = || {
                let mut found = Tensor::zeros([1], (Kind::Float, Device::Cpu));
                find_non_finite(&[&tensors[0], &Tensor::new(), &tensors[1]], &mut found).unwrap();
                found.double_value(&[0])
            };
            assert_eq!(find(), 0.0, "{kind:?}");
            assert_eq!(tensors, before);
            for bad in BAD {
                let _ = tensors[1].get(0).get(6).fill_(bad);
                assert_eq!(find(), 1.0, "{kind:?}, {bad}");
            }
        }
        find_non_finite(&[], &mut Tensor::zeros([1], (Kind::Float, Device::Cpu))).unwrap();
    }

    #[test]
    fn lists_are_finite_where_each_tensor_is_and_integers_and_empty_tensors_are() {
        let cpu = |kind| (kind, Device::Cpu);
        let empty = Tensor::zeros([0, 3], cpu(Kind::Float));
        let integers = Tensor::full([7], i64::MAX, cpu(Kind::Int64));
        let truth = Tensor::ones([7], cpu(Kind::Bool));
        let good = Tensor::ones([7], cpu(Kind::Float));
        let gaps = Tensor::ones([7, 2], cpu(Kind::Double)).select(1, 0);
        let bad = Tensor::full([1], f64::NAN, cpu(Kind::Double));
        assert!(all_finite(&[]).unwrap());
        assert!(all_finite(&[&Tensor::new(), &empty, &integers, &truth, &good, &gaps]).unwrap());
        assert!(!all_finite(&[&good, &gaps, &integers, &bad]).unwrap());
        let _ = gaps.get(3).fill_(f64::INFINITY);
        assert!(!all_finite(&[&good, &gaps]).unwrap());
        let complex = Tensor::complex(&good, &good);
        assert!(is_finite(&complex));
        let sparse = Tensor::zeros([3, 3], cpu(Kind::Float)).to_sparse_sparse_dim(2);
        assert!(all_finite(&[&sparse]).is_ok_and(|finite| finite) || all_finite(&[&sparse]).is_err());
    }
}
