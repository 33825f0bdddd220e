#include "lockstep/layers/dense.hpp"

#include <spdlog/fmt/fmt.h>

#include <utility>

#include "kernels/activation.hpp"
#include "kernels/channels.hpp"
#include "kernels/multiplier.hpp"
#include "layers/compute.hpp"
#include "layers/deliver.hpp"
#include "layers/input_tape.hpp"
#include "layers/normalizer.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

struct DenseTape final : InputTape<Dense> {
  Tensor preactivation;  // input kernel + bias, where an activation or a normalizer follows
  Tensor preactivation_gradient;
};

DenseTape& own_tape(const Dense& layer, Tape& tape) {
  return static_cast<DenseTape&>(input_tape_of(layer, tape));
}

// All axes but the last as rows.
template <class T>
MatrixView<T> matrix_of(const T* values, const Shape& shape) {
  const std::int64_t columns = shape[shape.rank() - 1];
  return {values, shape.num_elements() / columns, columns};
}

template <class T>
MatrixView<T> matrix_of(const Variable& variable) {
  return matrix_of(variable.value().values<T>().data(), variable.shape());
}

}  // namespace

Dense::Dense(DenseOptions options)
    : Layer({.type = "Dense",
             .name = options.name,
             .input_shape = options.input_shape,
             .dtype = options.dtype,
             .trainable = options.trainable,
             .scope = options.scope}),
      options_(std::move(options)) {
  if (!options_.normalizer) return;
  normalizer_ = &inner().make<BatchNormalization>(
      *this, normalizer_options_of(*options_.normalizer, options_.activation, -1));
}

Dense::~Dense() = default;
Dense::Dense(Dense&&) noexcept = default;
Dense& Dense::operator=(Dense&&) noexcept = default;

BatchNormalization& Dense::normalizer() const {
  if (normalizer_ == nullptr)
    throw StateError(fmt::format("layer '{}' has no normalizer; give .normalizer", name()));
  return *normalizer_;
}

Shape Dense::output_shape(const Shape& input_shape) const {
  if (options_.units <= 0)
    throw ArgumentError(fmt::format("layer '{}' needs units of at least 1, got {}; give .units",
                                    name(), options_.units));
  const int last = input_shape.rank() - 1;
  if (last < 1 || input_shape[last] <= 0)
    throw ArgumentError(
        fmt::format("layer '{}' needs inputs [samples, ..., features] with a known number of "
                    "features of at least 1, got {}",
                    name(), to_string(input_shape)));
  return input_shape.with(last, options_.units);
}

std::unique_ptr<Tape> Dense::make_tape() const {
  auto tape = std::make_unique<DenseTape>();
  equip(*tape);
  return tape;
}

void Dense::do_create(const Shape& input_shape) {
  const Shape shape = output_shape(input_shape);
  const int last = shape.rank() - 1;
  const std::int64_t units = shape[last];
  const std::int64_t inputs = input_shape[last];
  kernel_ = &add_variable("kernel", {inputs, units}, options_.kernel_initializer,
                          VariableRole::parameter);
  penalize(*kernel_, options_.kernel_regularizer, options_.kernel_constraint);
  bias_ = nullptr;
  multiplier_ = std::make_unique<Multiplier>();
  if (normalizer_ != nullptr)
    return create_normalizer(*this, inner(), *options_.normalizer, options_.activation, last,
                             shape);
  if (!options_.use_bias) return;
  bias_ = &add_variable("bias", {units}, options_.bias_initializer, VariableRole::parameter);
  penalize(*bias_, options_.bias_regularizer, options_.bias_constraint);
}

void Dense::forward(const TensorView& input, const MutableTensorView& output, const Call& call) {
  if (normalizer_ == nullptr) return transform(input, output, call);
  inner().forward(*this, call,
                  [&](const Call& own) { transform_and_normalize(input, output, own); });
}

void Dense::transform_and_normalize(const TensorView& input, const MutableTensorView& output,
                                    const Call& call) {
  check_call(input, output);
  DenseTape& tape = own_tape(*this, *call.tape);
  tape.preactivation.resize(output.shape(), parameter_dtype_of(dtype()));
  compute(input, tape.preactivation, [&]<class T>(const T* x, T* z) {
    multiplier_->multiply(matrix_of(x, input.shape()), matrix_of<T>(*kernel_), nullptr, z);
  });
  normalize(inner(), tape.preactivation, tape.preactivation_gradient, output, call);
  record_input(*this, call, input);
  note_output(output);
}

void Dense::transform(const TensorView& input, const MutableTensorView& output, const Call& call) {
  check_call(input, output);
  const bool is_linear = options_.activation == ActivationFunction::linear;
  Tensor* preactivation = nullptr;  // the output, then activated in place
  if (call.tape != nullptr) {
    DenseTape& tape = own_tape(*this, *call.tape);
    tape.input.reset();  // a call that is interrupted leaves no record
    if (!is_linear) {
      preactivation = &tape.preactivation;
      preactivation->resize(output.shape(), parameter_dtype_of(dtype()));
    }
  }
  compute(input, output, [&]<class T>(const T* x, T* y) {
    T* const z = preactivation == nullptr ? y : preactivation->values<T>().data();
    const T* const bias = bias_ == nullptr ? nullptr : bias_->value().values<T>().data();
    multiplier_->multiply(matrix_of(x, input.shape()), matrix_of<T>(*kernel_), bias, z);
    if (!is_linear)
      activate<T>(options_.activation, default_negative_slope, z, y, output.num_elements());
  });
  record_input(*this, call, input);
  note_output(output);
}

void Dense::backward(Tape& tape, const TensorView& output_gradient,
                     const MutableTensorView& input_gradient, Gradients gradients) {
  const auto run = [&] { differentiate(tape, output_gradient, input_gradient, gradients); };
  if (normalizer_ == nullptr) return run();
  inner().backward(*this, tape, run);
}

void Dense::differentiate(Tape& tape, const TensorView& output_gradient,
                          const MutableTensorView& input_gradient, Gradients gradients) {
  const TensorView& recorded = recorded_input(*this, tape);
  check_gradients(recorded.shape(), output_gradient, input_gradient);
  DenseTape& own = own_tape(*this, tape);
  const bool is_normalized = normalizer_ != nullptr;
  const bool is_linear = is_normalized || options_.activation == ActivationFunction::linear;
  if (!is_linear && own.preactivation.shape() != output_gradient.shape())
    throw StateError(
        fmt::format("layer '{}' did not record this tape; use a tape of this layer", name()));
  require_same_scope(*kernel_, gradients, GradientScope::local);
  if (bias_ != nullptr) require_same_scope(*bias_, gradients, GradientScope::local);
  const Result mode = gradients == Gradients::overwrite ? Result::overwrite : Result::accumulate;
  if (is_normalized)
    normalize_back(inner(), tape, output_gradient, own.preactivation_gradient, gradients);
  const TensorView upper = is_normalized ? own.preactivation_gradient : output_gradient;
  compute(recorded, upper, input_gradient, [&]<class T>(const T* x, const T* dy, T* dx) {
    const MatrixView<T> input = matrix_of(x, recorded.shape());
    MatrixView<T> gradient = matrix_of(dy, output_gradient.shape());
    if (!is_linear) {
      own.preactivation_gradient.resize(output_gradient.shape(), parameter_dtype_of(dtype()));
      T* const dz = own.preactivation_gradient.values<T>().data();
      activation_gradient<T>(options_.activation, default_negative_slope,
                             own.preactivation.values<T>().data(), dy, dz,
                             output_gradient.num_elements());
      gradient.data = dz;
    }
    T* const kernel_gradient = kernel_->grad().values<T>().data();
    multiplier_->multiply(transposed(input), gradient, nullptr, kernel_gradient, mode);
    kernel_->set_gradient_scope(GradientScope::local);
    if (bias_ != nullptr) {
      bias_sums_.assign(static_cast<std::size_t>(gradient.columns), 0.0);
      add_channel_sums(Columns{gradient.rows, gradient.columns, 1}, gradient.data,
                       bias_sums_.data());
      deliver(bias_sums_, gradients, *bias_);
    }
    if (!input_gradient.is_null())
      multiplier_->multiply(gradient, transposed(matrix_of<T>(*kernel_)), nullptr, dx);
  });
}

}  // namespace lockstep
