// Optimizer steps over many tensors at once.
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/GradMode.h>

#include <initializer_list>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "guard.h"

namespace {

// ATen's CPU kernels iterate over memory and ignore strides.
bool same_order(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return false;
  for (int64_t i = 0; i < a.dim(); ++i) {
    if (a.size(i) > 1 && a.stride(i) != b.stride(i)) return false;
  }
  return true;
}

using Tensors = std::vector<at::Tensor>;

// Counts a modification that ATen's kernels have made without counting it. A backward pass that saved the values before
// is then refused.
void count_modification(const Tensors& tensors) {
  for (const auto& tensor : tensors) tensor.unsafeGetTensorImpl()->bump_version();
}

Tensors dense(const densenet_tensors& tensors) {
  Tensors list;
  for (size_t i = 0; i < tensors.count; ++i) {
    if (!tensors.first[i]->is_non_overlapping_and_dense()) {
      throw std::runtime_error("parameter " + std::to_string(i) + " has gaps in its memory");
    }
    list.push_back(*tensors.first[i]);
  }
  return list;
}

// The gradients in the memory format of their parameters.
Tensors in_order_of(const Tensors& parameters, const densenet_tensors& tensors) {
  Tensors list;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto& gradient = *tensors.first[i];
    const auto& parameter = parameters[i];
    if (gradient.sizes() != parameter.sizes() || gradient.scalar_type() != parameter.scalar_type()) {
      throw std::runtime_error("gradient " + std::to_string(i) + " has another shape or kind than its parameter");
    }
    list.push_back(same_order(gradient, parameter) ? gradient : at::empty_like(parameter).copy_(gradient));
  }
  return list;
}

// A part of the optimizer's state, which is written into and so cannot be copied.
Tensors state(const Tensors& parameters, const densenet_tensors& tensors) {
  Tensors list;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto& tensor = *tensors.first[i];
    if (!same_order(tensor, parameters[i]) || tensor.scalar_type() != parameters[i].scalar_type()) {
      throw std::runtime_error("state " + std::to_string(i) + " has another shape, order or kind than its parameter");
    }
    list.push_back(tensor);
  }
  return list;
}

// Refuses, before the first of several calls, what one of them would refuse.
void check_together(const Tensors& parameters, std::initializer_list<const Tensors*> lists) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto& parameter = parameters[i];
    const auto kind = parameter.scalar_type();
    if (kind != at::kFloat && kind != at::kDouble && kind != at::kHalf && kind != at::kBFloat16) {
      throw std::runtime_error("parameter " + std::to_string(i) + " has a kind that is not trained");
    }
    // The kernels of a GPU take all tensors at once, those of the CPU one by one.
    const auto& first = parameters[0];
    if (parameter.device() != first.device() || (!parameter.is_cpu() && kind != first.scalar_type())) {
      throw std::runtime_error("parameter " + std::to_string(i) + " has another device or kind than parameter 0");
    }
    for (const auto* list : lists) {
      if (!list->empty() && (*list)[i].device() != parameter.device()) {
        throw std::runtime_error("gradient or state " + std::to_string(i) + " is on another device than its parameter");
      }
    }
  }
}

// Calls `step` once for each distinct pair of learning rate and weight decay, with the indices of its parameters.
template <typename Step>
void for_each_rate(const densenet_rate* rates, size_t count, Step step) {
  std::map<std::pair<double, double>, std::vector<size_t>> groups;
  for (size_t i = 0; i < count; ++i) groups[{rates[i].learning_rate, rates[i].weight_decay}].push_back(i);
  for (const auto& [rate, indices] : groups) step(rate.first, rate.second, indices);
}

Tensors at_indices(const Tensors& tensors, const std::vector<size_t>& indices) {
  Tensors list;
  if (tensors.empty()) return list;
  for (size_t i : indices) list.push_back(tensors[i]);
  return list;
}

}  // namespace

int densenet_fused_sgd_step(densenet_tensors parameters, densenet_tensors gradients, densenet_tensors momenta,
                            const densenet_rate* rates, double momentum, bool nesterov, char** error) {
  return densenet::guard(error, -1, [&] {
    c10::AutoGradMode no_grad(false);
    const auto p = dense(parameters);
    const auto g = in_order_of(p, gradients);
    const auto v = momentum == 0 ? Tensors() : state(p, momenta);
    check_together(p, {&g, &v});
    for_each_rate(rates, p.size(), [&](double learning_rate, double weight_decay, const std::vector<size_t>& of) {
      at::_fused_sgd_(at_indices(p, of), at_indices(g, of), at_indices(v, of), weight_decay, momentum, learning_rate,
                      /*dampening=*/0.0, nesterov, /*maximize=*/false, /*is_first_step=*/false);
    });
    count_modification(p);
    return 0;
  });
}

int densenet_fused_adamw_step(densenet_tensors parameters, densenet_tensors gradients, densenet_tensors first_moments,
                              densenet_tensors second_moments, densenet_tensors numbers, const densenet_rate* rates,
                              double beta1, double beta2, double epsilon, char** error) {
  return densenet::guard(error, -1, [&] {
    c10::AutoGradMode no_grad(false);
    const auto p = dense(parameters);
    const auto g = in_order_of(p, gradients);
    const auto m = state(p, first_moments);
    const auto v = state(p, second_moments);
    Tensors steps;
    for (size_t i = 0; i < numbers.count; ++i) steps.push_back(*numbers.first[i]);
    check_together(p, {&g, &m, &v, &steps});
    for_each_rate(rates, p.size(), [&](double learning_rate, double weight_decay, const std::vector<size_t>& of) {
      at::_fused_adamw_(at_indices(p, of), at_indices(g, of), at_indices(m, of), at_indices(v, of),
                        /*max_exp_avg_sqs=*/{}, at_indices(steps, of), learning_rate, beta1, beta2, weight_decay,
                        epsilon, /*amsgrad=*/false, /*maximize=*/false);
    });
    count_modification(p);
    return 0;
  });
}

int densenet_clear_gradients(densenet_tensors tensors, char** error) {
  return densenet::guard(error, -1, [&] {
    for (size_t i = 0; i < tensors.count; ++i) tensors.first[i]->mutable_grad().reset();
    return 0;
  });
}
