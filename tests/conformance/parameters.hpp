// Gradients of gamma and beta, and gradient descent with them.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "lockstep/comm/communicator.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep::conformance {

/// Values by the names that expectations have.
using Results = std::map<std::string, std::vector<double>>;

/// Adds the penalty on all parameters as "reg_loss".
void take_penalty(Layer& layer, Results& results);

/// Makes the layer's gradients those of all ranks of `group` and of the penalties, and adds
/// "dgamma", without penalty, "dgamma_total" and the like. Collective.
void take_gradients(Layer& layer, const Communicator& group, Results& results);

/// A step of gradient descent, then the constraints.
void descend(Layer& layer, double learning_rate);

}  // namespace lockstep::conformance
