#include "lockstep/layers/global_average_pool.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

#include "kernels/channels.hpp"
#include "layers/compute.hpp"
#include "layers/input_tape.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

// How one sample lies; `shape` is that of a batch.
Columns sample_columns_of(const Shape& shape, DataFormat data_format) {
  std::int64_t num_positions = 1;
  const bool channels_are_last = data_format == DataFormat::nhwc;
  const int first = channels_are_last ? 1 : 2;
  for (int axis = first; axis < first + shape.rank() - 2; ++axis) num_positions *= shape[axis];
  if (channels_are_last) return {num_positions, shape[shape.rank() - 1], 1};
  return {1, shape[1], num_positions};
}

}  // namespace

GlobalAveragePool::GlobalAveragePool(GlobalAveragePoolOptions options)
    : Layer({.type = "GlobalAveragePool",
             .name = options.name,
             .input_shape = options.input_shape,
             .dtype = options.dtype}),
      options_(std::move(options)) {}

Shape GlobalAveragePool::output_shape(const Shape& input_shape) const {
  const bool fits =
      input_shape.rank() >= 3 && input_shape.is_valid() &&
      std::all_of(input_shape.begin() + 1, input_shape.end(), [](auto e) { return e >= 1; });
  if (!fits)
    throw ArgumentError(
        fmt::format("expected samples of at least one position and channel, {}, got the shape {}",
                    options_.data_format == DataFormat::nhwc ? "[samples, ..., channels]"
                                                             : "[samples, channels, ...]",
                    to_string(input_shape)));
  return {input_shape[0], sample_columns_of(input_shape, options_.data_format).channels};
}

std::unique_ptr<Tape> GlobalAveragePool::make_tape() const {
  return std::make_unique<InputTape<GlobalAveragePool>>();
}

void GlobalAveragePool::do_create(const Shape& input_shape) {
  static_cast<void>(output_shape(input_shape));  // judges the shape
}

void GlobalAveragePool::forward(const TensorView& input, const MutableTensorView& output,
                                const Call& call) {
  check_call(input, output);
  record_input(*this, call, input);
  const Columns columns = sample_columns_of(input.shape(), options_.data_format);
  const std::int64_t num_positions = columns.num_per_channel();
  compute(input, output, [&]<class T>(const T* sample, T* mean) {
    for (std::int64_t i = 0; i < input.shape()[0]; ++i) {
      sums_.assign(static_cast<std::size_t>(columns.channels), 0.0);
      add_channel_sums(columns, sample, sums_.data());
      for (const double sum : sums_)
        *mean++ = static_cast<T>(sum / static_cast<double>(num_positions));
      sample += num_positions * columns.channels;
    }
  });
}

void GlobalAveragePool::backward(Tape& tape, const TensorView& output_gradient,
                                 const MutableTensorView& input_gradient, Gradients) {
  const TensorView& input = recorded_input(*this, tape);
  check_gradients(input.shape(), output_gradient, input_gradient);
  if (input_gradient.is_null()) return;
  const Columns columns = sample_columns_of(input.shape(), options_.data_format);
  compute(output_gradient, input_gradient, [&]<class T>(const T* gradients, T* value) {
    const auto count = static_cast<T>(columns.num_per_channel());
    for (std::int64_t i = 0; i < input.shape()[0]; ++i, gradients += columns.channels)
      for (std::int64_t j = 0; j < columns.outer; ++j)
        for (std::int64_t c = 0; c < columns.channels; ++c)
          value = std::fill_n(value, columns.inner, gradients[c] / count);
  });
}

}  // namespace lockstep
