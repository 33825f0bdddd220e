#include "model/folded_part.hpp"

#include <spdlog/fmt/fmt.h>

#include <cmath>
#include <typeinfo>
#include <utility>

#include "base/convert.hpp"
#include "comm/failure.hpp"
#include "layers/batch_normalization_parts.hpp"
#include "layers/inference_affine.hpp"
#include "layers/present_options.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"

namespace lockstep {
namespace {

// The layer as one of this very class; a derived one may compute something else.
template <class L>
const L* exactly(const Layer& layer) {
  return typeid(layer) == typeid(L) ? static_cast<const L*>(&layer) : nullptr;
}

// Options of a layer of this name that belongs to no scope.
template <class L>
auto options_outside_of_scopes(const L& layer) {
  auto options = present_options_of(layer);
  options.scope = {};
  if constexpr (requires { options.normalizer; })
    if (options.normalizer) options.normalizer->scope = {};
  options.name = layer.name();
  return options;
}

template <class L>
std::unique_ptr<Layer> copied(const L& layer) {
  auto copy = std::make_unique<L>(options_outside_of_scopes(layer));
  copy->set_mode(layer.mode());
  return copy;
}

std::unique_ptr<Layer> copy_of(const Layer& layer) {
  if (const auto* dense = exactly<Dense>(layer)) return copied(*dense);
  if (const auto* convolution = exactly<Conv2D>(layer)) return copied(*convolution);
  if (const auto* normalization = exactly<BatchNormalization>(layer)) return copied(*normalization);
  return layer.clone();
}

// Without normalizer, activation and bias.
template <class L>
std::unique_ptr<Layer> product_of(const L& layer) {
  auto options = options_outside_of_scopes(layer);
  options.normalizer.reset();
  options.use_bias = false;
  if constexpr (requires { options.activation; }) options.activation = ActivationFunction::linear;
  return std::make_unique<L>(std::move(options));
}

// The axis of the output channels, when the layer is affine in its kernel.
std::optional<int> affine_channel_axis(const Layer& layer, const Shape& output_shape) {
  const auto is_affine = [](const auto& options) {
    if constexpr (requires { options.activation; })
      if (options.activation != ActivationFunction::linear) return false;
    return !options.normalizer;
  };
  if (const auto* dense = exactly<Dense>(layer))
    if (is_affine(dense->options())) return output_shape.rank() - 1;
  if (const auto* convolution = exactly<Conv2D>(layer))
    if (is_affine(convolution->options()))
      return convolution->options().data_format == DataFormat::nhwc ? 3 : 1;
  return std::nullopt;
}

// Why a normalization must be kept behind the layer `below`, null for none.
std::optional<std::string> obstacle_of(const BatchNormalization& normalization, const Layer* below,
                                       const Shape& shape) {
  const BatchNormalizationOptions& options = normalization.options();
  if (exactly<BatchNormalization>(normalization) == nullptr)
    return "it is of a class derived from BatchNormalization";
  if (!options.track_moving_statistics) return "it has no moving statistics";
  if (std::holds_alternative<CustomActivation>(options.activation))
    return "its activation is a function of the user's own";
  if (below == nullptr) return "it is the first layer";
  const auto axis = affine_channel_axis(*below, shape);
  if (!axis)
    return fmt::format(
        "layer '{}' before it is no Dense or Conv2D without activation and normalizer",
        below->name());
  if (channel_axes_of(options, shape) != std::vector{*axis})
    return fmt::format("it does not normalize the channels of layer '{}', which are along axis {}",
                       below->name(), *axis);
  return std::nullopt;
}

std::optional<DType> dtype_option_of(const Layer& layer) {
  if (const auto* convolution = exactly<Conv2D>(layer)) return convolution->options().dtype;
  return exactly<Dense>(layer)->options().dtype;
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

}  // namespace

FoldedPart part_of(Layer& layer) {
  FoldedPart part;
  const auto failure = attempt([&] { part.layer = copy_of(layer); });
  if (failure)
    throw_error(failure->code, fmt::format("layer '{}': {}", layer.name(), failure->cause));
  for (const Variable* variable : layer.variables())
    part.values.push_back(Tensor::copy_of(variable->value()));
  return part;
}

std::optional<FoldedPart> part_before_normalizer(Layer& layer) {
  FoldedPart part;
  if (const auto* dense = exactly<Dense>(layer); dense != nullptr && dense->options().normalizer)
    part.layer = product_of(*dense);
  if (const auto* convolution = exactly<Conv2D>(layer);
      convolution != nullptr && convolution->options().normalizer)
    part.layer = product_of(*convolution);
  if (part.layer == nullptr) return std::nullopt;
  part.values.push_back(Tensor::copy_of(layer.variable("kernel").value()));
  return part;
}

std::optional<std::string> fold(const BatchNormalization& normalization, const Shape& shape,
                                std::vector<FoldedPart>& parts) {
  if (auto obstacle =
          obstacle_of(normalization, parts.empty() ? nullptr : parts.back().layer.get(), shape))
    return obstacle;
  FoldedPart& part = parts.back();
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
  auto activation =
      std::make_unique<Activation>(ActivationOptions{.function = function,
                                                     .negative_slope = options.negative_slope,
                                                     .dtype = dtype_option_of(*part.layer),
                                                     .name = normalization.name()});
  parts.push_back({std::move(activation), {}, {}});
  return std::nullopt;
}

void assign(const FoldedPart& part, Layer& layer) {
  for (std::size_t i = 0; i < part.inner.size(); ++i)
    assign(part.inner[i], *layer.inner_layers()[i]);
  if (!part.inner.empty()) return;
  const std::vector<Variable*> variables = layer.variables();
  if (variables.size() != part.values.size())
    throw StateError(fmt::format("layer '{}' has {} variables, its copy {}", layer.name(),
                                 part.values.size(), variables.size()));
  for (std::size_t i = 0; i < variables.size(); ++i) variables[i]->assign(part.values[i]);
}

}  // namespace lockstep
