//! The summary of a network: shapes, parameters and costs of each layer, before anything is built.

use super::DenseNetConfig;
use super::layout::{self, Layer, Operation, Size, layout};
use crate::error::{ConfigError, InputError};
use crate::nn::Mode;
use crate::{Error, Result};
use std::fmt;

/// One row of a [`Summary`]: an operation and what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryRow {
    /// Prefix of the operation's variables, such as `features.conv0`, or a description where it has none.
    pub name: String,
    /// The type of the operation, such as "conv 3×3".
    pub operation: String,
    /// Shape of the output for one image: `[C, H, W]`.
    pub output: [usize; 3],
    /// Number of trainable parameters.
    pub parameters: usize,
    /// Number of buffer elements: running means and variances.
    pub buffers: usize,
    /// Multiply-adds (MACs) of a forward pass of one image; norms and pooling are not counted.
    pub multiply_adds: u64,
    /// Number of elements that reference execution saves of one image for the backward pass.
    pub saved_activations: u64,
}

/// The layers of a network for an image of a given size; `Display` prints them as a table.
///
/// # Examples
///
/// ```
/// let summary = densenet::DenseNetConfig::fashion_mnist().summary([1, 96, 96])?;
/// assert_eq!(summary.parameters(), 758_226);
/// assert_eq!(summary.smallest_input, 33);
/// println!("{summary}");
/// # Ok::<(), densenet::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Shape of one image: `[C, H, W]`.
    pub input: [usize; 3],
    /// The operations in the order in which they run.
    pub rows: Vec<SummaryRow>,
    /// Smallest side of a square image that leaves every layer an output, in pixels.
    pub smallest_input: usize,
}

impl DenseNetConfig {
    /// Computes shapes and costs of every layer for an image `[C, H, W]`, without building the network.
    ///
    /// # Errors
    ///
    /// The errors of an invalid configuration, [`InputError::InputShape`], [`InputError::InputTooSmall`], and
    /// [`ConfigError::Overflow`] where a layer's counts overflow.
    pub fn summary(&self, input: [usize; 3]) -> Result<Summary> {
        let layers = layout(self, &self.stem_convs(), &self.stages()?);
        let [channels, height, width] = input;
        if channels != self.input_channels {
            let actual = input.map(|size| size as i64).to_vec();
            return Err(Error::Input(InputError::InputShape {
                actual,
                expected: format!("[{}, H, W]", self.input_channels),
            }));
        }
        layout::check(&layers, 1, [height, width], Mode::Eval)?;
        let mut size = [height, width];
        let rows = layers.iter().map(|layer| {
            let row = row_of(layer, size);
            size = layer.operation.out_size(size);
            row
        });
        Ok(Summary { input, rows: rows.collect::<Result<_>>()?, smallest_input: layout::smallest_side(&layers)? })
    }
}

/// Largest count of a layer: small enough that the sums over all layers do not overflow.
const MAX_COUNT: usize = 1 << 48;

fn product(factors: [usize; 3]) -> Result<usize> {
    let product = factors.into_iter().try_fold(1_usize, |product, factor| product.checked_mul(factor));
    product
        .filter(|&product| product <= MAX_COUNT)
        .ok_or(Error::Config(ConfigError::Overflow { what: "a count of a layer", limit: MAX_COUNT }))
}

fn row_of(layer: &Layer, [height, width]: Size) -> Result<SummaryRow> {
    let [out_height, out_width] = layer.operation.out_size([height, width]);
    let (pixels, out_pixels) = (product([1, height, width])?, product([1, out_height, out_width])?);
    // Channels out, parameters, buffers, multiply-adds, values saved.
    let (operation, channels, parameters, buffers, multiply_adds, saved) = match layer.operation {
        Operation::Conv(conv) => {
            let weights = product([conv.in_channels, conv.out_channels, conv.kernel * conv.kernel])?;
            let biases = if conv.bias { conv.out_channels } else { 0 };
            let stride = if conv.stride == 1 { String::new() } else { format!(" /{}", conv.stride) };
            let name = format!("conv {0}×{0}{stride}", conv.kernel);
            // Its input is the rectified output, which is counted with the norm before it; only the stem's input is the
            // image.
            let saved = if layer.name == "features.conv0" { product([1, conv.in_channels, pixels])? } else { 0 };
            (name, conv.out_channels, weights + biases, 0, product([1, weights, out_pixels])?, saved)
        }
        // The norm's backward pass reads its input, ReLU's and the convolution's the rectified output.
        Operation::NormRelu { channels } => {
            ("norm, ReLU".to_owned(), channels, 2 * channels, 2 * channels, 0, product([2, channels, pixels])?)
        }
        // One index per value.
        Operation::MaxPool { channels, stride } => {
            let stride = if stride == 1 { String::new() } else { format!(" /{stride}") };
            (format!("max pool 3×3{stride}"), channels, 0, 0, 0, product([1, channels, out_pixels])?)
        }
        Operation::Blur { channels } => (
            "blur 3×3 /2".to_owned(),
            channels,
            0,
            0,
            product([9, channels, out_pixels])?,
            product([1, channels, pixels])?,
        ),
        Operation::AvgPool { channels } => {
            ("avg pool 2×2 /2".to_owned(), channels, 0, 0, 0, product([1, channels, pixels])?)
        }
        Operation::GlobalAvgPool { channels } => ("mean".to_owned(), channels, 0, 0, 0, 0),
        Operation::Linear { inputs, outputs } => {
            ("linear".to_owned(), outputs, inputs * outputs + outputs, 0, inputs * outputs, inputs)
        }
    };
    Ok(SummaryRow {
        name: layer.name.clone(),
        operation,
        output: [channels, out_height, out_width],
        parameters,
        buffers,
        multiply_adds: multiply_adds as u64,
        saved_activations: saved as u64,
    })
}

impl Summary {
    /// Returns the number of trainable parameters of all layers.
    pub fn parameters(&self) -> usize {
        self.rows.iter().map(|row| row.parameters).sum()
    }

    /// Returns the number of buffer elements of all layers: running means and variances.
    pub fn buffers(&self) -> usize {
        self.rows.iter().map(|row| row.buffers).sum()
    }

    /// Returns the multiply-adds (MACs) of a forward pass of one image through all layers.
    pub fn multiply_adds(&self) -> u64 {
        self.rows.iter().map(|row| row.multiply_adds).sum()
    }

    /// Number of elements that reference execution saves of one image for the backward pass.
    pub fn saved_activations(&self) -> u64 {
        self.rows.iter().map(|row| row.saved_activations).sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = |[c, h, w]: [usize; 3]| format!("{c}×{h}×{w}");
        let name_width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max(5);
        let mut line = |cells: [&str; 6]| {
            let [name, operation, output, parameters, multiply_adds, saved] = cells;
            writeln!(
                f,
                "{name:name_width$}  {operation:<15}  {output:>11}  {parameters:>11}  {multiply_adds:>14}  {saved:>12}"
            )
        };
        line(["layer", "operation", "output", "parameters", "multiply-adds", "saved values"])?;
        line(["input", "", &shape(self.input), "", "", ""])?;
        for row in &self.rows {
            let (parameters, multiply_adds) = (grouped(row.parameters as u64), grouped(row.multiply_adds));
            let saved = grouped(row.saved_activations);
            line([&row.name, &row.operation, &shape(row.output), &parameters, &multiply_adds, &saved])?;
        }
        let (parameters, multiply_adds) = (grouped(self.parameters() as u64), grouped(self.multiply_adds()));
        line(["total", "", "", &parameters, &multiply_adds, &grouped(self.saved_activations())])?;
        write!(f, "smallest input: {0}×{0}", self.smallest_input)
    }
}

/// Formats 758226 as "758,226".
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).expect("digits")).collect();
    groups.join(",")
}
