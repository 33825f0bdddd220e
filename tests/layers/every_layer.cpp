#include "layers/every_layer.hpp"

#include <spdlog/fmt/fmt.h>

#include <optional>
#include <utility>

#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/average_pool2d.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/dropout.hpp"
#include "lockstep/layers/flatten.hpp"
#include "lockstep/layers/global_average_pool.hpp"
#include "lockstep/layers/max_pool2d.hpp"
#include "lockstep/layers/residual.hpp"
#include "lockstep/layers/softmax.hpp"

namespace lockstep::testing {
namespace {

template <class L, class Options>
auto maker(Options options) {
  return [options](DType dtype) -> std::unique_ptr<Layer> {
    Options own = options;
    own.dtype = dtype;
    return std::make_unique<L>(std::move(own));
  };
}

std::unique_ptr<Layer> block(DType dtype, bool has_shortcut, bool ends_with_normalization) {
  auto result = std::make_unique<Residual>(
      ResidualOptions{.activation = ActivationFunction::relu, .dtype = dtype});
  result->add_main(Dense({.units = 5, .activation = ActivationFunction::gelu}));
  result->add_main(BatchNormalization());
  result->add_main(Activation({.function = ActivationFunction::tanh}));
  result->add_main(Dropout({.rate = 0.3, .seed = 7}));
  result->add_main(Dense({.units = has_shortcut ? 3 : 4}));
  if (ends_with_normalization) result->add_main(BatchNormalization());
  if (has_shortcut) {
    result->add_shortcut(Dense({.units = 3})).add_shortcut(BatchNormalization());
    result->add_shortcut(Softmax());
  }
  return result;
}

AdjustmentFunction adjustment_per_element() {
  return [](const Shape& shape) {
    Adjustment result{Tensor(shape, DType::float64), Tensor(shape, DType::float64)};
    double next = 0.5;
    for (double& value : result.scale.values<double>()) value = next += 0.01;
    for (double& value : result.bias.values<double>()) value = next -= 0.02;
    return result;
  };
}

void add_normalizations(std::vector<Example>& examples) {
  using Options = BatchNormalizationOptions;
  const Shape plane{6, 4};
  const auto add = [&](const char* name, const Options& options) {
    examples.push_back({name, plane, true, maker<BatchNormalization>(options)});
  };
  add("normalization", {});
  add("normalization, axis 1", {.axis = 1});
  add("normalization, axes", {.axis = {1, 2}});
  add("normalization, relu", {.activation = ActivationFunction::relu});
  add("normalization, gelu", {.activation = ActivationFunction::gelu});
  add("normalization, renorm", {.renorm = true});
  add("normalization, untracked", {.track_moving_statistics = false});
  add("normalization, frozen", {.trainable = false});
  add("normalization, ghosts", {.virtual_batch_size = 1});
  add("normalization, adjusted",
      {.adjustment = adjustment_per_element(), .adjustment_differs_by_rank = true});
  examples.back().allocates = true;
}

void add_image_layers(std::vector<Example>& examples) {
  const Shape image{6, 5, 3};
  for (const DataFormat format : {DataFormat::nhwc, DataFormat::nchw}) {
    const std::string order = format == DataFormat::nhwc ? ", channels last" : ", channels first";
    const Conv2DOptions convolution{.filters = 4, .kernel_size = {3, 3}, .data_format = format};
    Conv2DOptions normalized = convolution;
    normalized.normalizer.emplace();
    const Pool2DOptions pool{.data_format = format};
    examples.push_back({"convolution" + order, image, false, maker<Conv2D>(convolution)});
    examples.push_back({"normalized convolution" + order, image, false, maker<Conv2D>(normalized)});
    examples.push_back({"maximum" + order, image, false, maker<MaxPool2D>(pool)});
    examples.push_back({"average" + order, image, false, maker<AveragePool2D>(pool)});
    examples.push_back({"global average" + order, image, false,
                        maker<GlobalAveragePool>(GlobalAveragePoolOptions{.data_format = format})});
  }
  examples.push_back({"flatten", image, true, maker<Flatten>(FlattenOptions())});
}

void add_dense_layers(std::vector<Example>& examples) {
  const Shape features{4};
  examples.push_back({"dense", features, false, maker<Dense>(DenseOptions{.units = 3})});
  const DenseOptions relu{.units = 3, .activation = ActivationFunction::relu};
  examples.push_back({"dense, relu", features, false, maker<Dense>(relu)});
  DenseOptions normalized = relu;
  normalized.normalizer.emplace();
  examples.push_back({"normalized dense", features, false, maker<Dense>(normalized)});
  for (const bool has_shortcut : {false, true})
    for (const bool is_fused : {false, true})
      examples.push_back({fmt::format("residual {} {}", has_shortcut, is_fused), features, false,
                          [=](DType dtype) { return block(dtype, has_shortcut, is_fused); }});
}

}  // namespace

std::vector<Example> every_layer() {
  std::vector<Example> examples;
  for (const ActivationFunction function :
       {ActivationFunction::linear, ActivationFunction::relu, ActivationFunction::relu6,
        ActivationFunction::leaky_relu, ActivationFunction::elu, ActivationFunction::sigmoid,
        ActivationFunction::tanh, ActivationFunction::gelu, ActivationFunction::silu})
    examples.push_back({std::string(name_of(function)), Shape{6, 4}, true,
                        maker<Activation>(ActivationOptions{.function = function})});
  for (const int axis : {-1, 1})
    examples.push_back({fmt::format("softmax, axis {}", axis), Shape{6, 4}, true,
                        maker<Softmax>(SoftmaxOptions{.axis = axis})});
  examples.push_back(
      {"dropout", Shape{6, 4}, true, maker<Dropout>(DropoutOptions{.rate = 0.3, .seed = 7})});
  add_normalizations(examples);
  add_image_layers(examples);
  add_dense_layers(examples);
  return examples;
}

}  // namespace lockstep::testing
