//! A tensor's memory as slices, and work on it in parts.

use super::parallel_for;
use crate::kernels::Element;
use half::bf16;
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// Makes the process reuse freed memory for later allocations instead of returning it to the system, and places tensors
/// of 1 MiB or more in large pages.
///
/// Every training step allocates and frees the same hundreds of megabytes. By default the C library returns large
/// blocks to the system at once, and the system zeroes each page before it hands it out again. Features are read in
/// strides, and large pages need fewer address translations.
///
/// Call it once at the start of a program that trains. It affects the whole process, which is why the library never
/// does so by itself; later calls change nothing. Reuse needs glibc, and large pages need Linux; elsewhere the call has
/// no effect.
///
/// # Errors
///
/// [`Error::Libtorch`](crate::Error::Libtorch).
pub fn tune_allocator() -> crate::Result<()> {
    // SAFETY: the entry has no precondition.
    super::ffi::call("change of the allocator", |error| unsafe { super::ffi::densenet_tune_allocator(error) })?;
    Ok(())
}

/// Returns memory that the process holds but does not use to the system: for the end of work that is not repeated.
pub(crate) fn release_free_memory() {
    // SAFETY: the entry has no precondition.
    unsafe { super::ffi::densenet_release_free_memory() }
}

/// The dtype of a Rust type in libtorch. tch has a trait for it too, which takes bf16 for f16.
pub(crate) trait OfKind: Copy {
    const KIND: Kind;
}

impl OfKind for u8 {
    const KIND: Kind = Kind::Uint8;
}

impl OfKind for bf16 {
    const KIND: Kind = Kind::BFloat16;
}

impl OfKind for f32 {
    const KIND: Kind = Kind::Float;
}

impl OfKind for f64 {
    const KIND: Kind = Kind::Double;
}

/// An element type of both libtorch and the kernels.
pub(crate) trait Number: Element<Wide: OfKind> + OfKind {}

impl Number for bf16 {}
impl Number for f32 {}
impl Number for f64 {}

/// Whether the tensor is on the CPU, in a dtype that the kernels support.
pub(crate) fn is_plain(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu && matches!(tensor.kind(), Kind::BFloat16 | Kind::Float | Kind::Double)
}

/// Returns the values in the order of their memory.
///
/// # Panics
///
/// Where they are of another dtype, not on the CPU, or not without gaps in channels-last memory format (contiguous
/// where there are not four dimensions).
pub(crate) fn values<T: OfKind>(tensor: &Tensor) -> &[T] {
    check::<T>(tensor);
    // SAFETY: `check` has verified that the tensor's memory holds this many values of this dtype; it lives as long as
    // the tensor.
    unsafe { slice(tensor.data_ptr().cast(), tensor.numel()) }
}

/// Returns memory as a slice. An empty tensor has no memory, and a null pointer for it.
///
/// # Safety
///
/// Where `first` is not null, `length` values lie there for as long as the slice is used.
unsafe fn slice<'a, T>(first: *const T, length: usize) -> &'a [T] {
    // SAFETY: as promised.
    if first.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(first, length) } }
}

/// The memory of a tensor that is on the CPU and contiguous.
pub(crate) fn bytes(tensor: &Tensor) -> &[u8] {
    let (first, length) = byte_range(tensor);
    // SAFETY: a contiguous tensor's values lie here one after the other; it lives as long as the tensor.
    unsafe { std::slice::from_raw_parts(first, length) }
}

/// Returns the memory as [`bytes`] does, of a tensor that shares it with no other.
pub(crate) fn bytes_mut(tensor: &mut Tensor) -> &mut [u8] {
    let (first, length) = byte_range(tensor);
    // SAFETY: as above, and the tensor is borrowed alone.
    unsafe { std::slice::from_raw_parts_mut(first, length) }
}

/// Returns the memory of a tensor on the CPU that is contiguous or in channels-last memory format; `None` for others.
pub(crate) fn dense_bytes(tensor: &Tensor) -> Option<&[u8]> {
    let is_dense = !tensor.is_sparse()
        && tensor.device() == Device::Cpu
        && (tensor.is_contiguous() || super::is_channels_last(tensor));
    let length = tensor.numel() * tensor.kind().elt_size_in_bytes();
    // SAFETY: the tensor's values lie here without gaps, as has been checked; they live as long as the tensor.
    is_dense.then(|| unsafe { slice(tensor.data_ptr().cast(), length) })
}

fn byte_range(tensor: &Tensor) -> (*mut u8, usize) {
    assert!(tensor.device() == Device::Cpu && tensor.is_contiguous(), "{tensor:?}");
    match tensor.data_ptr().cast::<u8>() {
        // An empty tensor has no memory.
        first if first.is_null() => (std::ptr::NonNull::dangling().as_ptr(), 0),
        first => (first, tensor.numel() * tensor.kind().elt_size_in_bytes()),
    }
}

fn check<T: OfKind>(tensor: &Tensor) {
    assert!(
        tensor.device() == Device::Cpu && tensor.kind() == T::KIND,
        "{tensor:?} is not on the CPU as {:?}",
        T::KIND
    );
    let dense = if tensor.dim() == 4 { super::is_channels_last(tensor) } else { tensor.is_contiguous() };
    assert!(dense, "{:?} with strides {:?} has gaps", tensor.size(), tensor.stride());
}

/// One part of a tensor's memory, where parts are written by several threads.
struct Parts<T> {
    first: *mut T,
    len: usize,
    part: usize,
}

// SAFETY: threads get disjoint parts, see `get`.
unsafe impl<T: Send> Sync for Parts<T> {}

impl<T: OfKind> Parts<T> {
    fn of(tensor: &mut Tensor, part: usize) -> Self {
        check::<T>(tensor);
        Parts { first: tensor.data_ptr().cast(), len: tensor.numel(), part }
    }

    fn count(&self) -> usize {
        self.len.div_ceil(self.part)
    }

    /// # Safety
    ///
    /// Each index is used once at a time.
    #[allow(clippy::mut_from_ref)]
    unsafe fn get(&self, index: usize) -> &mut [T] {
        let first = index * self.part;
        let len = self.part.min(self.len - first);
        // SAFETY: within the tensor's memory, as `of` has checked, and nothing else refers to this part.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(first), len) }
    }
}

/// Calls `work` with every part of `part` values of the tensor's memory, on libtorch's threads, and returns its results
/// in the order of the parts. Parts do not depend on the number of threads.
pub(crate) fn for_parts<T: OfKind + Send, R: Send + Sync>(
    tensor: &mut Tensor,
    part: usize,
    work: impl Fn(usize, &mut [T]) -> R + Sync,
) -> Vec<R> {
    let parts = Parts::<T>::of(tensor, part);
    // SAFETY: `map` calls with each index once.
    map(parts.count(), |index| work(index, unsafe { parts.get(index) }))
}

/// Calls `work` as [`for_parts`] does, with the parts of two tensors at once.
pub(crate) fn for_parts_of_two<T: OfKind + Send, U: OfKind + Send, R: Send + Sync>(
    (tensor, part): (&mut Tensor, usize),
    (second, second_part): (&mut Tensor, usize),
    work: impl Fn(usize, &mut [T], &mut [U]) -> R + Sync,
) -> Vec<R> {
    let (parts, others) = (Parts::<T>::of(tensor, part), Parts::<U>::of(second, second_part));
    assert_eq!(parts.count(), others.count());
    // SAFETY: `map` calls with each index once.
    map(parts.count(), |index| unsafe { work(index, parts.get(index), others.get(index)) })
}

/// The results of `work` for 0 to `count`, in this order.
pub(crate) fn map<R: Send + Sync>(count: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let results: Vec<OnceLock<R>> = (0..count).map(|_| OnceLock::new()).collect();
    parallel_for(count, 1, |range| {
        for index in range {
            let _ = results[index].set(work(index));
        }
    });
    results.into_iter().map(|result| result.into_inner().expect("parallel_for visits every index")).collect()
}
