//! Files of `torch.save`: a pickle that describes tensors, and the bytes of their storages beside it.

mod calls;
mod file;
mod globals;
mod legacy;
mod opcodes;
mod pickle;
mod plain;
mod storages;
mod values;
mod zipped;

pub(super) use file::PyTorchFile;
pub(super) use legacy::is_legacy;
