#include "lockstep/layers/dropout.hpp"

#include <spdlog/fmt/fmt.h>

#include <span>
#include <utility>
#include <vector>

#include "base/random.hpp"
#include "layers/compute.hpp"
#include "layers/copy.hpp"
#include "layers/input_tape.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

struct DropoutTape final : InputTape<Dropout> {
  Mode mode = Mode::inference;
  RandomKey key{0};
  std::vector<std::int64_t> samples;  // as in Call
  bool is_pending = false;            // a call that commit() counts
};

DropoutTape& own_tape(const Dropout& layer, Tape& tape) {
  return static_cast<DropoutTape&>(input_tape_of(layer, tape));
}

// target = source / (1 - rate) where the mask keeps it, else 0. The same for values and gradients.
void apply_mask(const RandomKey& key, double rate, std::span<const std::int64_t> samples,
                const TensorView& source, const MutableTensorView& target) {
  const std::int64_t num_samples = source.shape()[0];
  if (num_samples == 0) return;
  const std::int64_t sample_size = source.num_elements() / num_samples;
  compute(source, target, [&]<class T>(const T* from, T* to) {
    const auto scale = static_cast<T>(1.0 / (1.0 - rate));
    for (std::int64_t i = 0; i < num_samples; ++i, from += sample_size, to += sample_size) {
      const RandomKey sample_key =
          key.with(samples.empty() ? i : samples[static_cast<std::size_t>(i)]);
      for (std::int64_t element = 0; element < sample_size; ++element) {
        const bool is_kept = sample_key.uniform(static_cast<std::uint64_t>(element)) >= rate;
        to[element] = is_kept ? from[element] * scale : T(0);
      }
    }
  });
}

}  // namespace

Dropout::Dropout(DropoutOptions options)
    : Layer({.type = "Dropout",
             .name = options.name,
             .input_shape = options.input_shape,
             .dtype = options.dtype}),
      options_(std::move(options)) {}

Shape Dropout::output_shape(const Shape& input_shape) const { return input_shape; }

std::unique_ptr<Tape> Dropout::make_tape() const { return std::make_unique<DropoutTape>(); }

void Dropout::do_create(const Shape&) {
  if (!(options_.rate >= 0.0 && options_.rate < 1.0))
    throw ArgumentError(
        fmt::format("layer '{}' needs a rate in [0, 1), got {}", name(), options_.rate));
}

void Dropout::forward(const TensorView& input, const MutableTensorView& output, const Call& call) {
  check_call(input, output);
  if (!call.samples.empty() && std::ssize(call.samples) != input.shape()[0])
    throw ArgumentError(
        fmt::format("layer '{}' was given {} sample indices for a batch of {}; give one per sample",
                    name(), call.samples.size(), input.shape()[0]));

  // What is measured is what inference will see.
  const Mode mode = call.population == nullptr ? mode_of(call) : Mode::inference;
  const RandomKey layer_key = RandomKey(options_.seed.value_or(call.seed)).with(name());
  const RandomKey key = call.step >= 0 ? layer_key.with("step").with(call.step)
                                       : layer_key.with("call").with(num_calls_without_step_);
  if (call.tape != nullptr) {
    DropoutTape& tape = own_tape(*this, *call.tape);
    tape.samples.assign(call.samples.begin(), call.samples.end());
    tape.mode = mode;
    tape.key = key;
    tape.is_pending = false;
  }
  if (mode == Mode::training) {
    apply_mask(key, options_.rate, call.samples, input, output);
    if (call.step < 0) count_call(call);
  } else {
    copy_elements(input, output);
  }
  record_input(*this, call, input);
}

// The next call without a step needs another mask, once this one counts.
void Dropout::count_call(const Call& call) {
  if (call.commit == Commit::at_once || call.tape == nullptr)
    ++num_calls_without_step_;
  else
    own_tape(*this, *call.tape).is_pending = true;
}

void Dropout::commit(Tape& tape) noexcept {
  auto* own = dynamic_cast<DropoutTape*>(&tape);
  if (own != nullptr && std::exchange(own->is_pending, false)) ++num_calls_without_step_;
}

void Dropout::backward(Tape& tape, const TensorView& output_gradient,
                       const MutableTensorView& input_gradient, Gradients) {
  check_gradients(recorded_input(*this, tape).shape(), output_gradient, input_gradient);
  if (input_gradient.is_null()) return;
  const DropoutTape& record = own_tape(*this, tape);
  if (record.mode == Mode::training)
    apply_mask(record.key, options_.rate, record.samples, output_gradient, input_gradient);
  else
    copy_elements(output_gradient, input_gradient);
}

}  // namespace lockstep
