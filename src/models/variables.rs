//! The variables of a network, before it is built.

use super::DenseNetConfig;
use super::layout::{Operation, layout};
use crate::Result;

impl DenseNetConfig {
    /// Returns the names and shapes of all variables of the network, buffers included, in the order of its layers.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build) that follow from the configuration.
    pub(crate) fn variables(&self) -> Result<Vec<(String, Vec<usize>)>> {
        let layers = layout(self, &self.stem_convs(), &self.stages()?);
        let variables = layers.into_iter().flat_map(|layer| {
            let (weight, others) = match layer.operation {
                Operation::Conv(conv) => {
                    let weight = vec![conv.out_channels, conv.in_channels, conv.kernel, conv.kernel];
                    (weight, if conv.bias { &["bias"][..] } else { &[] })
                }
                Operation::NormRelu { channels } => (vec![channels], &["bias", "running_mean", "running_var"][..]),
                Operation::Linear { inputs, outputs } => (vec![outputs, inputs], &["bias"][..]),
                Operation::MaxPool { .. }
                | Operation::AvgPool { .. }
                | Operation::Blur { .. }
                | Operation::GlobalAvgPool { .. } => return Vec::new(),
            };
            let others = others.iter().map(|part| (format!("{}.{part}", layer.name), vec![weight[0]]));
            [(format!("{}.weight", layer.name), weight.clone())].into_iter().chain(others).collect()
        });
        Ok(variables.collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::DenseNetConfig;
    use crate::nn::StemConfig;
    use crate::torch::named_variables;
    use tch::{Device, nn::VarStore};

    #[test]
    fn they_are_those_of_the_built_network() {
        let small = DenseNetConfig::new(3).with_growth_rate(4).with_layers_per_block([2, 1, 1]);
        let configs = [
            DenseNetConfig::fashion_mnist(),
            DenseNetConfig::cifar(40, 12).unwrap(),
            DenseNetConfig::cifar_bc(40, 12).unwrap(),
            small.clone().with_stem(StemConfig::deep(8)).with_blur(),
            small.with_stem(StemConfig::imagenet().with_blur()),
        ];
        for config in configs {
            let vs = VarStore::new(Device::Cpu);
            config.build(&vs.root()).unwrap();
            let mut expected = config.variables().unwrap();
            expected.sort();
            let shape = |size: Vec<i64>| size.into_iter().map(|size| size as usize).collect::<Vec<_>>();
            let built: Vec<_> =
                named_variables(&vs).into_iter().map(|own| (own.name, shape(own.tensor.size()))).collect();
            assert_eq!(built, expected);
        }
    }
}
