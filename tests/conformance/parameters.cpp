#include "conformance/parameters.hpp"

#include <spdlog/fmt/fmt.h>

#include "conformance/tensors.hpp"
#include "lockstep/comm/collectives.hpp"
#include "lockstep/train/optimizer.hpp"

namespace lockstep::conformance {
namespace {

std::vector<Variable*> parameters_of(Layer& layer) {
  std::vector<Variable*> parameters = layer.variables();
  std::erase_if(parameters, [](const Variable* variable) {
    return variable->role() != VariableRole::parameter;
  });
  return parameters;
}

// "gamma" of "batch_normalization/gamma".
std::string short_name_of(const Variable& variable) {
  return variable.name().substr(variable.name().rfind('/') + 1);
}

}  // namespace

void take_penalty(Layer& layer, Results& results) {
  results["reg_loss"] = {regularization_loss(layer.variables())};
}

void take_gradients(Layer& layer, const Communicator& group, Results& results) {
  for (Variable* parameter : parameters_of(layer)) {
    std::vector<double> gradient = values_of(parameter->grad());
    if (parameter->gradient_scope() == GradientScope::local) {
      allreduce(group, gradient, Reduction::sum);
      write(gradient, parameter->grad());
      parameter->set_gradient_scope(GradientScope::global);
    }
    const std::string name = fmt::format("d{}", short_name_of(*parameter));
    results[name] = gradient;
    add_regularization_gradient(*parameter);
    results[name + "_total"] = values_of(parameter->grad());
  }
}

void descend(Layer& layer, double learning_rate) {
  const std::vector<Variable*> parameters = parameters_of(layer);
  Sgd optimizer({.learning_rate = learning_rate});
  optimizer.prepare(parameters);
  optimizer.apply();
  for (Variable* parameter : parameters) apply_constraint(*parameter);
}

}  // namespace lockstep::conformance
