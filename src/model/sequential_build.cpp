// How the layers of a model get their variables, and become the same on all ranks.

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <set>
#include <string_view>

#include "base/bytes.hpp"
#include "comm/agreement.hpp"
#include "layers/shared_gradients.hpp"
#include "layers/within.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/collectives.hpp"
#include "model/model_properties.hpp"
#include "model/sequential_parts.hpp"
#include "model/summary.hpp"

namespace lockstep {

Shape Sequential::sample_shape_for(const std::optional<Shape>& input_shape) const {
  if (stages_.empty())
    throw ArgumentError(fmt::format("model '{}' has no layers; add() some", name()));
  const Layer& first = *stages_.front().layer;
  if (!input_shape) {
    if (created_for_) return *created_for_;
    if (first.input_shape()) return *first.input_shape();
    throw StateError(
        fmt::format("model '{}' does not know its input; give layer '{}' an input_shape or call "
                    "build() with one",
                    name(), first.name()));
  }
  if (input_shape->rank() == 0)
    throw ArgumentError("the input has no axis; axis 0 runs over samples");
  const Shape sample_shape = input_shape->without_first();
  if (first.input_shape() && *first.input_shape() != sample_shape)
    throw ArgumentError(
        fmt::format("layer '{}' has the input_shape {}, build() was given samples of shape {}",
                    first.name(), to_string(*first.input_shape()), to_string(sample_shape)));
  return sample_shape;
}

void Sequential::check_before_create(const Shape& sample_shape) const {
  if (created_for_ && *created_for_ != sample_shape)
    throw StateError(fmt::format(
        "model '{}' has variables for samples of shape {} already; make another model for {}",
        name(), to_string(*created_for_), to_string(sample_shape)));
  if (std::ranges::any_of(sample_shape, [](std::int64_t extent) { return extent < 1; }))
    throw ArgumentError(
        fmt::format("model '{}' cannot take samples of shape {}; extents must be at least 1",
                    name(), to_string(sample_shape)));
  std::set<std::string_view> names;
  for (const Stage& stage : stages_)
    if (!names.insert(stage.layer->name()).second)
      throw ArgumentError(
          fmt::format("model '{}' has several layers named '{}'; names must be unique", name(),
                      stage.layer->name()));
}

// Continues after the last layer that has variables: an attempt before may have failed half way.
void Sequential::create_for(const Shape& sample_shape) {
  check_before_create(sample_shape);
  Shape shape = sample_shape.prepended(1);
  const Layer* below = nullptr;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    Stage& stage = stages_[i];
    Layer& layer = *stage.layer;
    const std::string place =
        below == nullptr
            ? fmt::format(" for the input {}", batch_text_of(shape))
            : fmt::format(" for the output {} of layer '{}'", batch_text_of(shape), below->name());
    within(layer, place, [&] {
      if (i == num_created_) {
        layer.create(shape, dtype(), seed());
        ++num_created_;
        created_for_ = sample_shape;
      }
      if (below != nullptr && layer.dtype() != below->dtype())
        throw ArgumentError(fmt::format(
            "it computes in {}, the layer before it in {}; all layers of a model need one dtype",
            name_of(layer.dtype()), name_of(below->dtype())));
      if (!layer.takes_any_batch())
        throw ArgumentError(
            "it takes batches of one size only, so it cannot be in a model; is the batch axis a "
            "channel axis?");
      stage.output_shape = layer.output_shape(shape);
      stage.tape = layer.make_tape();
    });
    shape = stage.output_shape;
    below = &layer;
  }
  shared_gradients_ = std::make_unique<SharedGradients>(layers());
  is_created_ = true;
}

void Sequential::create_if_needed() {
  if (!is_created_) create_for(sample_shape_for(std::nullopt));
}

void Sequential::create(const Shape& input_shape) {
  const Shape sample_shape = sample_shape_for(input_shape);
  if (is_created_) return check_before_create(sample_shape);
  create_for(sample_shape);
}

void Sequential::build(const Shape& input_shape) { build_for(input_shape); }
void Sequential::build() { build_for(std::nullopt); }

void Sequential::build_for(const std::optional<Shape>& input_shape) {
  std::vector<Property> properties;
  const auto failure = attempt([&] {
    if (is_built()) throw StateError(fmt::format("model '{}' is built already", name()));
    const Shape sample_shape = sample_shape_for(input_shape);
    create_for(sample_shape);
    properties = properties_of(options_, sample_shape, rows());
  });
  agree(strategy_.replicas(), {fmt::format("model '{}'", name()), "build", -1}, properties,
        failure);
  // One communicator for the agreements of trainer, model and layers: a rank that is in another
  // call than the others is told so by the first that meet.
  auto control = strategy_.shared_replicas();
  for (Stage& stage : stages_) stage.layer->connect(control);
  for (Variable* variable : variables()) broadcast(*control, bytes_of(variable->value()), 0);
  control_ = std::move(control);
}

}  // namespace lockstep
