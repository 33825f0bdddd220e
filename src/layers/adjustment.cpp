#include "layers/adjustment.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <bit>
#include <string_view>

#include "base/convert.hpp"
#include "base/random.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// How a tensor is read along the axes of the input: the step of its index per axis, 0 where it is
// repeated.
struct Broadcast {
  std::array<std::int64_t, Shape::max_rank> steps{};
  bool is_per_channel = true;  // it varies along channel axes only
  bool is_per_sample = false;
};

bool is_channel(std::span<const int> axes, int axis) {
  return std::ranges::find(axes, axis) != axes.end();
}

Broadcast broadcast_of(const char* what, const Shape& shape, const Shape& input,
                       std::span<const int> axes) {
  const bool is_vector_of_channels =
      axes.size() == 1 && shape.rank() == 1 && shape[0] == input[axes.front()];
  const int shift = is_vector_of_channels ? axes.front() : input.rank() - shape.rank();
  Broadcast result;
  std::int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    const int axis = i + shift;
    if (axis < 0 || (shape[i] != 1 && shape[i] != input[axis]))
      throw ArgumentError(
          fmt::format("the adjustment's {} of shape {} cannot be broadcast to an "
                      "input of shape {}; give one value per channel or element",
                      what, to_string(shape), to_string(input)));
    if (shape[i] == 1 && input[axis] != 1) continue;
    result.steps[static_cast<std::size_t>(axis)] = step;
    step *= shape[i];
    if (is_channel(axes, axis)) continue;
    result.is_per_channel &= shape[i] == 1;
    result.is_per_sample |= axis == 0 && shape[i] != 1;
  }
  return result;
}

// Whether the tensor has an axis for samples, be there one or many on this rank.
bool has_sample_axis(const Tensor& tensor, const Shape& input, std::span<const int> axes) {
  return !is_channel(axes, 0) && tensor.shape().rank() == input.rank();
}

// Calls visit(index into the tensor, channel) for every element of the input, in order.
template <class Visit>
void for_each_broadcast(const Broadcast& broadcast, const Shape& input, std::span<const int> axes,
                        Visit&& visit) {
  std::array<std::int64_t, Shape::max_rank> position{};
  const std::int64_t num_elements = input.num_elements();
  for (std::int64_t i = 0; i < num_elements; ++i) {
    std::int64_t index = 0;
    std::int64_t channel = 0;
    for (int axis = 0; axis < input.rank(); ++axis) {
      const auto a = static_cast<std::size_t>(axis);
      index += position[a] * broadcast.steps[a];
      if (is_channel(axes, axis)) channel = channel * input[axis] + position[a];
    }
    visit(static_cast<std::size_t>(index), static_cast<std::size_t>(channel));
    for (int axis = input.rank() - 1; axis >= 0; --axis) {
      if (++position[static_cast<std::size_t>(axis)] < input[axis]) break;
      position[static_cast<std::size_t>(axis)] = 0;
    }
  }
}

std::vector<double> values_of(const char* what, const Tensor& tensor) {
  if (!is_floating(tensor.dtype()))
    throw ArgumentError(
        fmt::format("the adjustment's {} must be floating, got {}", what, name_of(tensor.dtype())));
  std::vector<double> values(static_cast<std::size_t>(tensor.num_elements()));
  read_as_double(tensor, values);
  return values;
}

// Extents of the channel axes, and 1 elsewhere.
Shape channel_shape_of(const Shape& input, std::span<const int> axes) {
  Shape shape = input;
  for (int axis = 0; axis < input.rank(); ++axis)
    if (!is_channel(axes, axis)) shape = shape.with(axis, 1);
  return shape;
}

std::uint64_t fingerprint_of(const std::vector<double>& scale, const std::vector<double>& bias) {
  RandomKey key(scale.size());
  for (const auto* values : {&scale, &bias})
    for (const double value : *values) key = key.with(std::bit_cast<std::uint64_t>(value));
  return std::max<std::uint64_t>(key.bits(0), 1);
}

}  // namespace

void AdjustmentValues::reset(std::size_t num_channels) {
  channel_scale.assign(num_channels, 1.0);
  channel_bias.assign(num_channels, 0.0);
  element_scale.clear();
  element_bias.clear();
  is_per_sample = false;
  fingerprint = 0;
}

void AdjustmentValues::set(const Adjustment& adjustment, const Shape& input_shape,
                           std::span<const int> axes, bool differs_by_rank) {
  const Shape channel_shape = channel_shape_of(input_shape, axes);
  reset(static_cast<std::size_t>(channel_shape.num_elements()));
  const std::vector<double> scale = values_of("scale", adjustment.scale);
  const std::vector<double> bias = values_of("bias", adjustment.bias);
  const auto of_scale = broadcast_of("scale", adjustment.scale.shape(), input_shape, axes);
  const auto of_bias = broadcast_of("bias", adjustment.bias.shape(), input_shape, axes);
  is_per_sample = of_scale.is_per_sample || of_bias.is_per_sample ||
                  (differs_by_rank && (has_sample_axis(adjustment.scale, input_shape, axes) ||
                                       has_sample_axis(adjustment.bias, input_shape, axes)));
  fingerprint = fingerprint_of(scale, bias);

  const auto spread = [&](const Broadcast& broadcast, const std::vector<double>& values,
                          std::vector<double>& per_channel, std::vector<double>& per_element,
                          bool is_per_channel) {
    if (is_per_channel) {
      for_each_broadcast(broadcast, channel_shape, axes,
                         [&](std::size_t index, std::size_t c) { per_channel[c] = values[index]; });
    } else {
      per_element.reserve(static_cast<std::size_t>(input_shape.num_elements()));
      for_each_broadcast(broadcast, input_shape, axes, [&](std::size_t index, std::size_t) {
        per_element.push_back(values[index]);
      });
    }
  };
  const bool is_per_channel = of_scale.is_per_channel && of_bias.is_per_channel && !is_per_sample;
  spread(of_scale, scale, channel_scale, element_scale, is_per_channel);
  spread(of_bias, bias, channel_bias, element_bias, is_per_channel);
}

}  // namespace lockstep
