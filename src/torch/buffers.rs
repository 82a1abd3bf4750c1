//! Copies of a model's buffers, such as running statistics.

use super::ffi;
use crate::Result;
use std::collections::BTreeSet;
use tch::Tensor;
use tch::nn::VarStore;

/// The buffers of a model, and a copy of their values. Buffers are the variables that no optimizer trains, such as
/// running statistics; frozen parameters are none, since no pass changes them.
///
/// Copies are made in memory that is allocated once, by one call of libtorch each.
#[derive(Debug)]
pub(crate) struct Buffers {
    own: Vec<Tensor>,
    saved: Vec<Tensor>,
}

impl Buffers {
    /// Takes the buffers of a model, and saves their values. They share their memory with the model.
    pub fn of(vs: &VarStore) -> Self {
        let trainable: BTreeSet<_> = vs.trainable_variables().iter().map(Tensor::data_ptr).collect();
        let is_buffer = |tensor: &Tensor| tensor.numel() > 0 && !trainable.contains(&tensor.data_ptr());
        Buffers::new(vs.variables().into_values().filter(is_buffer).collect())
    }

    /// Takes tensors of any kind, and saves their values.
    pub fn new(own: Vec<Tensor>) -> Self {
        let saved = own.iter().map(|buffer| buffer.detach().copy()).collect();
        Buffers { own, saved }
    }

    /// Returns the buffers themselves, not their saved values.
    pub fn tensors(&self) -> &[Tensor] {
        &self.own
    }

    /// Saves the values that the buffers have now.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`](crate::Error::Libtorch).
    pub fn save(&mut self) -> Result<()> {
        copy_all(&self.own, &self.saved)
    }

    /// Gives the buffers their saved values again.
    ///
    /// # Errors
    ///
    /// [`Error::Libtorch`](crate::Error::Libtorch).
    pub fn restore(&mut self) -> Result<()> {
        copy_all(&self.saved, &self.own)
    }
}

/// Copies the values of each tensor into the one at the same place of another list.
fn copy_all(from: &[Tensor], to: &[Tensor]) -> Result<()> {
    let [mut from, mut to] = [from, to].map(ffi::handles);
    ffi::call("copy of buffers", |error| {
        // SAFETY: the handles are live tensors' for the length of the call, and the lists are equally long.
        unsafe { ffi::densenet_copy_all((&mut from).into(), (&mut to).into(), error) }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::no_grad;
    use tch::{Device, Kind, nn};

    #[test]
    fn buffers_are_restored_and_trained_variables_are_not() {
        let mut vs = VarStore::new(Device::Cpu);
        let norm = nn::batch_norm2d(vs.root(), 3, Default::default());
        let counter = vs.root().add("counter", Tensor::from_slice(&[5_i64]), false);
        vs.freeze();
        let weight = norm.ws.as_ref().unwrap().detach().copy();
        let mut buffers = Buffers::of(&vs);
        assert_eq!(buffers.tensors().len(), 3, "frozen variables are no buffers");
        let all = || [norm.running_mean.sum(Kind::Float), norm.running_var.sum(Kind::Float), counter.sum(Kind::Float)];
        let values = || all().map(|sum| sum.double_value(&[]));
        let change = || {
            no_grad(|| {
                for mut tensor in vs.variables().into_values() {
                    let _ = tensor.g_add_scalar_(2);
                }
            })
        };
        change();
        assert_eq!(values(), [6.0, 9.0, 7.0]);
        buffers.restore().unwrap();
        assert_eq!(values(), [0.0, 3.0, 5.0]);
        assert!(norm.ws.as_ref().unwrap().equal(&(weight + 2.0)));
        change();
        buffers.save().unwrap();
        change();
        buffers.restore().unwrap();
        assert_eq!(values(), [6.0, 9.0, 7.0]);
    }

    #[test]
    fn a_model_without_buffers_has_nothing_to_restore() {
        let vs = VarStore::new(Device::Cpu);
        let _layer = nn::linear(vs.root(), 3, 2, Default::default());
        let mut buffers = Buffers::of(&vs);
        assert!(buffers.tensors().is_empty());
        buffers.save().and_then(|()| buffers.restore()).unwrap();
    }
}
