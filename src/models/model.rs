//! What the trainer needs of a model.

use crate::nn::{ForwardContext, Mode};
use crate::{Error, Result};
use tch::nn::ModuleT;
use tch::{Kind, Tensor};

/// A function of tensors with variables: what the [`Trainer`](crate::train::Trainer) trains.
pub trait Model {
    /// The model's output for a batch, such as logits `[N, classes]` for images `[N, C, H, W]`, in the kind of its variables.
    ///
    /// The context's mode has to be followed; its precision is followed by
    /// [`in_precision`](ForwardContext::in_precision), or not at all.
    ///
    /// # Errors
    ///
    /// Those of [`check_input`](Self::check_input), and what libtorch reports.
    fn forward(&self, x: &Tensor, ctx: &ForwardContext) -> Result<Tensor>;

    /// Whether a batch of this shape can go through in this mode. The trainer asks for every batch size of a run, the last
    /// one too, before the first step. Without an own implementation everything is accepted.
    ///
    /// # Errors
    ///
    /// Whatever the model cannot take, such as [`Error::InputTooSmall`] or [`Error::OneValuePerChannel`].
    fn check_input(&self, shape: &[i64], mode: Mode) -> Result<()> {
        let _ = (shape, mode);
        Ok(())
    }

    /// The number of classes that the outputs tell apart; `None` where they are no classes, or it is not known.
    fn classes(&self) -> Option<usize> {
        None
    }
}

impl<M: Model + ?Sized> Model for Box<M> {
    fn forward(&self, x: &Tensor, ctx: &ForwardContext) -> Result<Tensor> {
        (**self).forward(x, ctx)
    }

    fn check_input(&self, shape: &[i64], mode: Mode) -> Result<()> {
        (**self).check_input(shape, mode)
    }
}

/// Makes any module of tch a [`Model`]. tch knows no mode with frozen norms: such a module then runs in evaluation mode, and
/// learns.
///
/// # Examples
///
/// ```
/// use densenet::models::{Model, ModuleModel};
/// use densenet::nn::{ForwardContext, Mode};
/// use densenet::tch::{Device, Kind, Tensor, nn};
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let model = ModuleModel(nn::seq_t().add(nn::linear(vs.root(), 4, 2, Default::default())));
/// let x = Tensor::rand([8, 4], (Kind::Float, Device::Cpu));
/// assert_eq!(model.forward(&x, &ForwardContext::new(Mode::Eval))?.size(), [8, 2]);
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Debug)]
pub struct ModuleModel<M>(
    /// The module.
    pub M,
);

impl<M: ModuleT> Model for ModuleModel<M> {
    fn forward(&self, x: &Tensor, ctx: &ForwardContext) -> Result<Tensor> {
        Ok(in_f32(&ctx.in_precision(x.device(), || self.0.forward_t(x, ctx.mode == Mode::Train))?))
    }
}

/// The same values, in f32 where they have fewer bits: losses are computed of them.
fn in_f32(outputs: &Tensor) -> Tensor {
    match outputs.kind() {
        Kind::BFloat16 => outputs.to_kind(Kind::Float),
        _ => outputs.shallow_clone(),
    }
}

/// An error that says which rank and how many channels were wanted.
pub(super) fn input_shape_error(actual: &[i64], channels: usize) -> Error {
    Error::InputShape { actual: actual.to_vec(), expected: format!("[N, {channels}, H, W]") }
}
