// Autograd functions whose passes are written in Rust.
#include <torch/csrc/autograd/custom_function.h>

#include <stdexcept>
#include <string>
#include <string_view>

#include "guard.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The state of Rust between the passes. Freed with the node of the graph, whether or not backward ran.
struct State : torch::CustomClassHolder {
  explicit State(const densenet_function& function) : function(function) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() override { function.free(function.data); }

  const densenet_function function;
};

// The results of the forward pass, for the node that is recorded after it.
struct ForwardResult {
  c10::intrusive_ptr<State> state;
  variable_list outputs;
  variable_list not_differentiable;
  variable_list saved;
};

variable_list take(const densenet_tensors& tensors, const char* what) {
  variable_list list;
  for (size_t i = 0; i < tensors.count; ++i) {
    if (!tensors.first[i]->defined()) {
      throw std::runtime_error(std::string(what) + " " + std::to_string(i) + " is undefined");
    }
    list.push_back(*tensors.first[i]);
  }
  return list;
}

// Handles that Rust will own; null for undefined tensors.
std::vector<at::Tensor*> give(variable_list& tensors) {
  std::vector<at::Tensor*> handles;
  for (auto& tensor : tensors) handles.push_back(tensor.defined() ? new at::Tensor(std::move(tensor)) : nullptr);
  return handles;
}

// Passes gradients on as they are, and refuses to be differentiated itself.
struct OnceDifferentiable : torch::autograd::Function<OnceDifferentiable> {
  static variable_list forward(AutogradContext* context, at::TensorList gradients, const std::string& message) {
    context->saved_data["message"] = message;
    variable_list same;
    for (const auto& gradient : gradients) same.push_back(gradient.detach());
    return same;
  }

  static variable_list backward(AutogradContext* context, const variable_list&) {
    throw std::runtime_error(context->saved_data["message"].toStringRef());
  }

  // To be called where libtorch records the backward pass: a gradient without a history would look like a constant to a
  // second derivative, and be silently omitted.
  static void protect(variable_list& gradients, const std::string& message) {
    variable_list defined;
    for (const auto& gradient : gradients) {
      if (gradient.defined()) defined.push_back(gradient.detach().requires_grad_());
    }
    const auto refusing = apply(at::TensorList(defined), message);
    auto next = refusing.begin();
    for (auto& gradient : gradients) {
      if (gradient.defined()) gradient = *next++;
    }
  }
};

struct Function : torch::autograd::Function<Function> {
  static variable_list forward(AutogradContext* context, at::TensorList, const ForwardResult& result) {
    context->set_materialize_grads(false);
    context->mark_non_differentiable(result.not_differentiable);
    // Detached, since a view of an output would keep the output and with it this node alive for ever. A detached tensor
    // still counts modifications of its memory, and no second derivative needs its history.
    variable_list saved;
    for (const auto& tensor : result.saved) saved.push_back(tensor.detach());
    context->saved_data["state"] = c10::IValue::make_capsule(result.state);
    context->saved_data["saves"] = !saved.empty();
    context->save_for_backward(std::move(saved));
    return result.outputs;
  }

  // Takes the gradients by reference, so that Rust is their only owner and may free them early.
  static variable_list backward(AutogradContext* context, variable_list& gradients) {
    auto capsule = context->saved_data["state"].toCapsule();
    const auto& function = static_cast<State*>(capsule.get())->function;
    // As with libtorch's own operations, a function that saves nothing works after its graph was freed.
    variable_list kept;
    if (context->saved_data["saves"].toBool()) kept = context->get_saved_variables();
    const bool is_recorded = at::GradMode::is_enabled();
    // One more for the argument of forward that is not a tensor.
    variable_list results(function.inputs + 1);
    {
      at::AutoGradMode no_grad(false);
      run(function, *context, kept, gradients, results);
    }
    if (is_recorded) {
      OnceDifferentiable::protect(
          results, std::string(function.name, function.name_length) +
                       " has no second derivative: its gradient was computed with create_graph and now differentiated");
    }
    return results;
  }

  static void run(const densenet_function& function, const AutogradContext& context, variable_list& kept,
                  variable_list& arrived, variable_list& results) {
    std::vector<uint8_t> needs;
    for (size_t i = 0; i < function.inputs; ++i) needs.push_back(context.needs_input_grad(i));
    std::vector<at::Tensor*> handles(function.inputs, nullptr);
    std::string message;
    auto saved = give(kept);
    auto gradients = give(arrived);
    const densenet_tensors of_inputs{handles.data(), handles.size()};
    const bool done = function.backward(function.data, {saved.data(), saved.size()}, {gradients.data(), gradients.size()},
                                        needs.data(), of_inputs, &message);
    for (size_t i = 0; i < function.inputs; ++i) {
      if (handles[i] == nullptr) continue;
      results[i] = std::move(*handles[i]);
      delete handles[i];
    }
    if (!done) throw std::runtime_error(message);
  }
};

}  // namespace

void densenet_write_message(void* message, const char* text, size_t length) {
  char* error;
  densenet::guard(&error, -1, [&] {
    static_cast<std::string*>(message)->assign(text, length);
    return 0;
  });
  std::free(error);
}

int densenet_record(const densenet_function* function, densenet_tensors inputs, densenet_tensors outputs,
                    const uint8_t* is_differentiable, densenet_tensors saved, at::Tensor** recorded, char** error) {
  return densenet::guard(error, -1, [&] {
    ForwardResult result{c10::make_intrusive<State>(*function), {}, {}, {}};
    const variable_list arguments = take(inputs, "input");
    result.outputs = take(outputs, "output");
    result.saved = take(saved, "saved tensor");
    for (size_t i = 0; i < outputs.count; ++i) {
      if (!is_differentiable[i]) result.not_differentiable.push_back(result.outputs[i]);
    }
    auto results = Function::apply(at::TensorList(arguments), result);
    for (size_t i = 0; i < outputs.count; ++i) recorded[i] = new at::Tensor(std::move(results[i]));
    return 0;
  });
}
