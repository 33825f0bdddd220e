#include "model/normalizations.hpp"

namespace lockstep {
namespace {

void add_normalizations(Layer& layer, std::vector<BatchNormalization*>& found) {
  if (auto* normalization = dynamic_cast<BatchNormalization*>(&layer))
    found.push_back(normalization);
  for (const auto& inner : layer.inner_layers()) add_normalizations(*inner, found);
}

}  // namespace

std::vector<BatchNormalization*> normalizations_in(Layer& layer) {
  std::vector<BatchNormalization*> found;
  add_normalizations(layer, found);
  return found;
}

std::vector<BatchNormalization*> normalizations_of(Sequential& model) {
  std::vector<BatchNormalization*> found;
  for (Layer* layer : model.layers()) add_normalizations(*layer, found);
  return found;
}

}  // namespace lockstep
