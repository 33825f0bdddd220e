#include "train/progress.hpp"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <bit>
#include <cmath>
#include <initializer_list>
#include <span>
#include <string>

#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

constexpr const char* num_steps_name = "trainer:num_steps";
constexpr const char* position_name = "trainer:position";
constexpr const char* order_name = "trainer:order";
constexpr const char* sums_name = "trainer:sums";
constexpr const char* seed_name = "trainer:seed";
constexpr const char* loss_scale_name = "trainer:loss_scale";
constexpr const char* learning_rate_name = "optimizer:learning_rate";

template <class T>
Tensor tensor_of(std::initializer_list<T> values) {
  return Tensor::of(std::span<const T>(values.begin(), values.size()),
                    {static_cast<std::int64_t>(values.size())});
}

void require(bool holds, const char* name) {
  if (!holds) throw DataError(fmt::format("'{}' holds numbers that no training has", name));
}

// What doubles hold of counts.
std::int64_t count_of(double value, const char* name) {
  require(value >= 0.0 && value <= 0x1p53 && value == std::floor(value), name);
  return static_cast<std::int64_t>(value);
}

// The elements of a tensor, or zeros where it does not fit.
template <class T, std::size_t size>
std::array<T, size> numbers_in(Misfits& misfits, const char* name) {
  std::array<T, size> numbers{};
  const Tensor* tensor = misfits.expect(name, {std::int64_t{size}}, dtype_of<T>());
  if (tensor != nullptr) std::ranges::copy(tensor->values<T>(), numbers.begin());
  return numbers;
}

SamplerOptions order_in(Misfits& misfits) {
  const auto numbers = numbers_in<std::int64_t, 5>(misfits, order_name);
  return {.num_samples = numbers[0],
          .batch_size = numbers[1],
          .shuffle = numbers[2] != 0,
          .drop_remainder = numbers[3] != 0,
          .seed = std::bit_cast<std::uint64_t>(numbers[4])};
}

Position position_in(const TrainingState& state, Misfits& misfits) {
  const auto numbers = numbers_in<std::int64_t, 2>(misfits, position_name);
  Position position{numbers[0], numbers[1], order_in(misfits), {}};
  require(position.epoch >= 0 && position.batch >= 0, position_name);
  require(position.batch <= std::max<std::int64_t>(position.order.num_samples, 0), position_name);
  // Another list of metrics has other sums; they are of no meaning to what is learned.
  misfits.allow(sums_name);
  const auto sums = state.find(sums_name);
  if (sums != state.end() && sums->second.dtype() == DType::float64) {
    const auto values = sums->second.values<double>();
    position.sums.assign(values.begin(), values.end());
  }
  return position;
}

LearningRate learning_rate_in(Misfits& misfits) {
  const auto numbers = numbers_in<double, 3>(misfits, learning_rate_name);
  const StepDecay decay{numbers[0], numbers[1],
                        std::max<std::int64_t>(count_of(numbers[2], learning_rate_name), 1)};
  require(std::isfinite(decay.initial) && decay.initial >= 0.0, learning_rate_name);
  require(std::isfinite(decay.factor) && decay.factor >= 0.0, learning_rate_name);
  return decay;
}

ScaleProgress loss_scale_in(Misfits& misfits) {
  const auto numbers = numbers_in<double, 2>(misfits, loss_scale_name);
  require(std::isfinite(numbers[0]) && numbers[0] >= 0.0, loss_scale_name);
  return {numbers[0], count_of(numbers[1], loss_scale_name)};
}

}  // namespace

void write_progress(const Progress& progress, TrainingState& state) {
  const auto& [epoch, batch, order, sums] = progress.position;
  const StepDecay& decay = progress.learning_rate.decay();
  state[num_steps_name] = tensor_of({progress.num_steps});
  state[seed_name] = tensor_of({std::bit_cast<std::int64_t>(progress.seed)});
  state[position_name] = tensor_of({epoch, batch});
  state[order_name] =
      tensor_of({order.num_samples, order.batch_size, std::int64_t{order.shuffle},
                 std::int64_t{order.drop_remainder}, std::bit_cast<std::int64_t>(order.seed)});
  state[sums_name] = Tensor::of(std::span(sums), {std::ssize(sums)});
  state[learning_rate_name] =
      tensor_of({decay.initial, decay.factor, static_cast<double>(decay.interval)});
  if (progress.loss_scale)
    state[loss_scale_name] = tensor_of(
        {progress.loss_scale->scale, static_cast<double>(progress.loss_scale->num_good_steps)});
}

Progress read_progress(const TrainingState& state, bool has_loss_scale, Misfits& misfits) {
  Progress progress;
  progress.num_steps = numbers_in<std::int64_t, 1>(misfits, num_steps_name)[0];
  require(progress.num_steps >= 0, num_steps_name);
  progress.position = position_in(state, misfits);
  progress.seed = std::bit_cast<std::uint64_t>(numbers_in<std::int64_t, 1>(misfits, seed_name)[0]);
  progress.learning_rate = learning_rate_in(misfits);
  if (has_loss_scale) progress.loss_scale = loss_scale_in(misfits);
  return progress;
}

}  // namespace lockstep
