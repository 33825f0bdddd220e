// Models to be folded, and what tests ask of the outcome.

#pragma once

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/model/fold_batch_normalization.hpp"
#include "model/normalizations.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"

namespace lockstep::testing {

using Names = std::vector<std::string>;

inline const Strategy& strategy() {
  static const Strategy world{Communicator::world()};
  return world;
}
inline const Communicator& world() { return strategy().replicas(); }

/// A model of these layers whose parameters and statistics are none of the initial ones.
inline Sequential trained(const Shape& input_shape, DType dtype,
                          const std::function<void(Sequential&)>& add_layers) {
  Sequential model({.dtype = dtype, .seed = 5, .name = "net"}, strategy());
  add_layers(model);
  model.build(input_shape.with(0, 1));
  for (Layer* layer : model.layers()) randomize_parameters(*layer);
  for (BatchNormalization* layer : normalizations_of(model)) {
    if (!layer->options().track_moving_statistics) continue;
    const Shape& shape = layer->moving_mean().shape();
    Tensor variance = random_tensor(shape, 8);
    for (double& value : variance.values<double>()) value = 0.1 + value * value;
    layer->moving_mean().assign(random_tensor(shape, 7));
    layer->moving_variance().assign(variance);
  }
  return model;
}

inline Tensor input(const Shape& shape, DType dtype) {
  const Tensor values = random_tensor(shape, 3);
  return dtype == DType::float64 ? values : to_float32(values);
}

inline std::string joined(const Names& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

inline std::string types_of(Sequential& model) {
  Names types;
  for (const Layer* layer : model.layers()) types.push_back(layer->type());
  return joined(types);
}

inline double distance_of_predictions(Sequential& a, Sequential& b, const Tensor& x) {
  const Tensor first = a.predict(x), second = b.predict(x);
  if (first.shape() != second.shape()) return INFINITY;
  return x.dtype() == DType::float64 ? distance(first.values<double>(), second.values<double>())
                                     : distance(first.values<float>(), second.values<float>());
}

}  // namespace lockstep::testing
