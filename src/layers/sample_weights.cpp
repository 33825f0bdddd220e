#include "layers/sample_weights.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

#include "base/convert.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

void check_weights(const TensorView& weights, std::int64_t num_samples) {
  weights.check("batch_weights");
  if (!is_floating(weights.dtype()) || weights.shape() != Shape{num_samples})
    throw ArgumentError(fmt::format(
        "batch_weights must be floating of shape [{}], one per sample; got {} of shape {}",
        num_samples, name_of(weights.dtype()), to_string(weights.shape())));
}

void check_values(const std::vector<double>& weights) {
  const auto wrong = std::ranges::find_if_not(
      weights, [](double weight) { return weight >= 0.0 && std::isfinite(weight); });
  if (wrong != weights.end())
    throw ArgumentError(fmt::format("batch_weights must be finite and >= 0; sample {} has {}",
                                    wrong - weights.begin(), *wrong));
}

void check_mask(const TensorView& mask, const Shape& input) {
  mask.check("the mask");
  const Shape& shape = mask.shape();
  if (mask.dtype() != DType::boolean || shape.rank() < 1 || shape.rank() >= input.rank() ||
      !std::equal(shape.begin(), shape.end(), input.begin()))
    throw ArgumentError(fmt::format(
        "the mask must be boolean over the leading axes of the input, but not all; got {} of shape "
        "{} for an input of shape {}",
        name_of(mask.dtype()), to_string(shape), to_string(input)));
}

}  // namespace

void SampleWeights::set(const Call& call, const Shape& input_shape) {
  values.clear();
  stride = 1;
  const bool has_weights = !call.batch_weights.is_null();
  const bool has_mask = !call.mask.is_null();
  is_given = has_weights || has_mask;
  if (!is_given) return;

  const std::int64_t num_samples = input_shape[0];
  if (has_mask) check_mask(call.mask, input_shape);
  const int num_axes = has_mask ? call.mask.shape().rank() : 1;
  std::int64_t num_per_sample = 1;
  for (int axis = 1; axis < num_axes; ++axis) num_per_sample *= input_shape[axis];
  for (int axis = num_axes; axis < input_shape.rank(); ++axis) stride *= input_shape[axis];
  stride = std::max<std::int64_t>(stride, 1);

  values.assign(static_cast<std::size_t>(num_samples * num_per_sample), 1.0);
  if (has_weights) {
    check_weights(call.batch_weights, num_samples);
    per_sample.resize(static_cast<std::size_t>(num_samples));
    read_as_double(call.batch_weights, per_sample);
    check_values(per_sample);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = per_sample[i / static_cast<std::size_t>(num_per_sample)];
  }
  if (has_mask) {
    const auto mask = call.mask.values<bool>();
    for (std::size_t i = 0; i < values.size(); ++i)
      if (!mask[i]) values[i] = 0.0;
  }
}

}  // namespace lockstep
