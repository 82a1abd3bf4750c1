//! Files of `torch.save`: a pickle that describes tensors, and the bytes of their storages beside it.

mod file;
mod legacy;
mod opcodes;
mod pickle;
mod storages;
mod values;
mod zipped;

pub(super) use file::PyTorchFile;
