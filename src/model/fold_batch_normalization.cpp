#include "lockstep/model/fold_batch_normalization.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <typeinfo>
#include <utility>

#include "base/convert.hpp"
#include "comm/failure.hpp"
#include "layers/batch_normalization_parts.hpp"
#include "layers/inference_affine.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "params/variable_place.hpp"

namespace lockstep {
namespace {

// Layers that are made meanwhile belong to no scope and no store.
class OutsideOfScopes {
 public:
  OutsideOfScopes() : before_(std::exchange(current_place(), {})) {}
  ~OutsideOfScopes() { current_place() = std::move(before_); }
  OutsideOfScopes(const OutsideOfScopes&) = delete;
  OutsideOfScopes& operator=(const OutsideOfScopes&) = delete;

 private:
  VariablePlace before_;
};

// A layer of the folded model, not built, and what its variables are to hold.
struct Part {
  std::unique_ptr<Layer> layer;
  std::vector<Tensor> values;
};

// The layer as one of this very class; a derived one may compute something else.
template <class L>
const L* exactly(const Layer& layer) {
  return typeid(layer) == typeid(L) ? static_cast<const L*>(&layer) : nullptr;
}

template <class L>
std::unique_ptr<Layer> without_scope(const L& layer) {
  auto options = layer.options();
  options.scope = {};
  options.name = layer.name();
  options.trainable = layer.is_trainable();
  auto copy = std::make_unique<L>(std::move(options));
  copy->set_mode(layer.mode());
  return copy;
}

std::unique_ptr<Layer> copy_of(const Layer& layer) {
  if (const auto* dense = exactly<Dense>(layer)) return without_scope(*dense);
  if (const auto* convolution = exactly<Conv2D>(layer)) return without_scope(*convolution);
  if (const auto* normalization = exactly<BatchNormalization>(layer))
    return without_scope(*normalization);
  return layer.clone();
}

Part part_of(Layer& layer) {
  Part part;
  const auto failure = attempt([&] { part.layer = copy_of(layer); });
  if (failure)
    throw_error(failure->code, fmt::format("layer '{}': {}", layer.name(), failure->cause));
  for (const Variable* variable : layer.variables())
    part.values.push_back(Tensor::copy_of(variable->value()));
  return part;
}

// The axis of the output channels, when the layer is affine in its kernel.
std::optional<int> affine_channel_axis(const Layer& layer, const Shape& output_shape) {
  if (const auto* dense = exactly<Dense>(layer))
    if (dense->options().activation == ActivationFunction::linear) return output_shape.rank() - 1;
  if (const auto* convolution = exactly<Conv2D>(layer))
    return convolution->options().data_format == DataFormat::nhwc ? 3 : 1;
  return std::nullopt;
}

// Why the normalization of an input of this shape, the output of `below`, must be kept.
std::optional<std::string> obstacle_of(const BatchNormalization& normalization, const Part* below,
                                       const Shape& shape) {
  const BatchNormalizationOptions& options = normalization.options();
  if (exactly<BatchNormalization>(normalization) == nullptr)
    return "it is of a class derived from BatchNormalization";
  if (!options.track_moving_statistics) return "it has no moving statistics";
  if (std::holds_alternative<CustomActivation>(options.activation))
    return "its activation is a function of the user's own";
  if (below == nullptr) return "it is the first layer";
  const auto axis = affine_channel_axis(*below->layer, shape);
  if (!axis)
    return fmt::format("layer '{}' before it is no Dense or Conv2D without an activation",
                       below->layer->name());
  if (channel_axes_of(options, shape) != std::vector{*axis})
    return fmt::format("it does not normalize the channels of layer '{}', which are along axis {}",
                       below->layer->name(), *axis);
  return std::nullopt;
}

// The layer with a bias, and with the activation if it can have it.
std::unique_ptr<Layer> with_bias(const Layer& layer, std::optional<ActivationFunction> activation) {
  const auto changed = [](auto options) {
    options.use_bias = true;
    options.kernel_regularizer = options.bias_regularizer = {};
    options.kernel_constraint = options.bias_constraint = {};
    return options;
  };
  if (const auto* convolution = exactly<Conv2D>(layer))
    return std::make_unique<Conv2D>(changed(convolution->options()));
  DenseOptions options = changed(exactly<Dense>(layer)->options());
  options.activation = activation.value_or(ActivationFunction::linear);
  return std::make_unique<Dense>(std::move(options));
}

// Kernel and bias with the affine function behind them; none where their dtype cannot hold them.
// The kernel's last axis runs over output channels.
std::vector<Tensor> folded_values(const std::vector<Tensor>& values, const ChannelAffine& affine) {
  const Tensor& kernel = values.front();
  const std::size_t num_channels = affine.scale.size();
  std::vector<double> weights(static_cast<std::size_t>(kernel.num_elements()));
  std::vector<double> biases(num_channels);
  read_as_double(kernel, weights);
  if (values.size() > 1) read_as_double(values[1], biases);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] *= affine.scale[i % num_channels];
  for (std::size_t c = 0; c < num_channels; ++c)
    biases[c] = (biases[c] - affine.center[c]) * affine.scale[c] + affine.shift[c];

  std::vector<Tensor> folded;
  for (const auto& [numbers, shape] :
       {std::pair(&weights, kernel.shape()),
        std::pair(&biases, Shape{static_cast<std::int64_t>(num_channels)})}) {
    for (const double number : *numbers)
      if (!std::isfinite(rounded_to(kernel.dtype(), number))) return {};
    write_from_double(*numbers, folded.emplace_back(shape, kernel.dtype()));
  }
  return folded;
}

// Folds the normalization into the last part; returns why not if it must be kept.
std::optional<std::string> fold(const BatchNormalization& normalization, const Shape& shape,
                                std::vector<Part>& parts) {
  if (auto obstacle = obstacle_of(normalization, parts.empty() ? nullptr : &parts.back(), shape))
    return obstacle;
  Part& part = parts.back();
  std::vector<Tensor> values = folded_values(part.values, inference_affine_of(normalization));
  if (values.empty())
    return fmt::format("the kernel and bias of layer '{}' would not be finite", part.layer->name());

  const BatchNormalizationOptions& options = normalization.options();
  const auto function = std::get<ActivationFunction>(options.activation);
  const bool has_slope = function == ActivationFunction::leaky_relu &&
                         options.negative_slope != default_negative_slope;
  const bool is_absorbed = exactly<Dense>(*part.layer) != nullptr && !has_slope;
  part.layer = with_bias(*part.layer, is_absorbed ? std::optional(function) : std::nullopt);
  part.values = std::move(values);
  if (is_absorbed || function == ActivationFunction::linear) return std::nullopt;
  parts.push_back(
      {std::make_unique<Activation>(ActivationOptions{.function = function,
                                                      .negative_slope = options.negative_slope,
                                                      .dtype = options.dtype,
                                                      .name = normalization.name()}),
       {}});
  return std::nullopt;
}

void assign(const std::vector<Tensor>& values, Layer& layer) {
  const std::vector<Variable*> variables = layer.variables();
  if (variables.size() != values.size())
    throw StateError(fmt::format("layer '{}' has {} variables, its copy {}", layer.name(),
                                 values.size(), variables.size()));
  for (std::size_t i = 0; i < values.size(); ++i) variables[i]->assign(values[i]);
}

}  // namespace

FoldedModel fold_batch_normalization(Sequential& model) {
  static_cast<void>(model.variables());  // there are some from now on
  const OutsideOfScopes outside;
  const SequentialOptions options{
      .dtype = model.dtype(), .seed = model.seed(), .name = model.name()};
  FoldedModel result{Sequential(options, model.strategy()), {}, {}};
  const Shape input_shape = model.sample_shape()->prepended(1);
  Shape shape = input_shape;
  std::vector<Part> parts;
  for (Layer* layer : model.layers()) {
    const auto* normalization = dynamic_cast<const BatchNormalization*>(layer);
    bool is_folded = false;
    if (normalization != nullptr) {
      const auto obstacle = fold(*normalization, shape, parts);
      is_folded = !obstacle;
      if (is_folded)
        result.folded.push_back(layer->name());
      else
        result.kept.push_back({layer->name(), *obstacle});
    }
    if (!is_folded) parts.push_back(part_of(*layer));
    shape = layer->output_shape(shape);
  }
  for (Part& part : parts) result.model.add(std::move(part.layer));
  result.model.create(input_shape);
  for (std::size_t i = 0; i < parts.size(); ++i) assign(parts[i].values, *result.model.layers()[i]);
  return result;
}

}  // namespace lockstep
