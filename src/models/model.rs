//! The interface between the trainer and a model.

use crate::error::InputError;
use crate::nn::{ForwardContext, Mode};
use crate::{Error, Result};
use tch::nn::ModuleT;
use tch::{Kind, Tensor};

/// A trainable function of tensors, as the [`Trainer`](crate::train::Trainer) trains it.
pub trait Model {
    /// Computes the output for a batch, such as logits `[N, classes]` for images `[N, C, H, W]`, in the dtype of the
    /// variables.
    ///
    /// An implementation has to follow the context's mode. It may follow its precision, by
    /// [`in_precision`](ForwardContext::in_precision). Random numbers that follow from its [seed](ForwardContext::seed)
    /// alone make a resumed run equal one that was never stopped.
    ///
    /// # Errors
    ///
    /// Those of [`check_input`](Self::check_input), and errors of libtorch.
    fn forward(&self, x: &Tensor, ctx: &ForwardContext) -> Result<Tensor>;

    /// Checks that the model accepts a batch of this shape in this mode. Before the first step the trainer calls this
    /// for every batch size of a run, including that of the last batch. The provided implementation accepts everything.
    ///
    /// # Errors
    ///
    /// Any reason why the model does not accept the batch, such as [`InputError::InputTooSmall`] or
    /// [`InputError::OneValuePerChannel`].
    fn check_input(&self, shape: &[i64], mode: Mode) -> Result<()> {
        let _ = (shape, mode);
        Ok(())
    }

    /// Returns the number of classes of a classifier, whose output is one logit per class. The provided implementation
    /// returns `None`, for a model that is no classifier or does not know.
    fn classes(&self) -> Option<usize> {
        None
    }

    /// Returns the model's configuration as JSON, everything that its outputs depend on beside its variables. A resumed
    /// run has to have the same. The provided implementation returns null.
    fn configuration(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

impl<M: Model + ?Sized> Model for Box<M> {
    fn forward(&self, x: &Tensor, ctx: &ForwardContext) -> Result<Tensor> {
        (**self).forward(x, ctx)
    }

    fn check_input(&self, shape: &[i64], mode: Mode) -> Result<()> {
        (**self).check_input(shape, mode)
    }

    fn classes(&self) -> Option<usize> {
        (**self).classes()
    }

    fn configuration(&self) -> serde_json::Value {
        (**self).configuration()
    }
}

/// Adapts any module of tch to [`Model`]. tch has no mode with frozen norms: in [`Mode::TrainFrozenNorms`] the module
/// runs in evaluation mode, and is trained.
///
/// In both modes of training each pass seeds libtorch's default generator with the context's
/// [seed](ForwardContext::seed), so that tch's dropout repeats its masks when a run is resumed. That generator belongs
/// to the whole process: two runs at the same time in threads of one process disturb each other's masks.
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
    /// The module of tch that is called.
    pub M,
);

impl<M: ModuleT> Model for ModuleModel<M> {
    fn forward(&self, x: &Tensor, ctx: &ForwardContext) -> Result<Tensor> {
        if ctx.mode.drops() {
            tch::manual_seed(ctx.seed as i64);
        }
        Ok(in_f32(&ctx.in_precision(x.device(), || self.0.forward_t(x, ctx.mode == Mode::Train))?))
    }
}

/// Converts bf16 to f32, since losses are computed from it.
fn in_f32(outputs: &Tensor) -> Tensor {
    match outputs.kind() {
        Kind::BFloat16 => outputs.to_kind(Kind::Float),
        _ => outputs.shallow_clone(),
    }
}

/// Returns the error of an input of the wrong rank or number of channels.
pub(super) fn input_shape_error(actual: &[i64], channels: usize) -> Error {
    let mut expected = format!("[N, {channels}, H, W], channels first");
    if actual.len() == 4 && actual[3] == channels as i64 {
        expected += "; its channels seem to be last";
    }
    Error::Input(InputError::InputShape { actual: actual.to_vec(), expected })
}
