#include "model/toy_layers.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstring>

#include "base/visit_dtype.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep::testing {
namespace {

void copy(const TensorView& from, const MutableTensorView& to) {
  const auto num_bytes = static_cast<std::size_t>(from.num_elements()) * size_of(from.dtype());
  if (num_bytes > 0) std::memcpy(to.data(), from.data(), num_bytes);
}

LayerTraits traits_of(std::string type, std::string name) {
  LayerTraits traits;
  traits.type = std::move(type);
  traits.name = std::move(name);
  return traits;
}

void require_features(const Shape& shape) {
  if (shape.rank() != 2)
    throw ArgumentError(fmt::format("expected [samples, features], got {}", to_string(shape)));
}

}  // namespace

Scale::Scale(ScaleOptions options)
    : Layer({.type = "Scale",
             .name = options.name,
             .input_shape = options.input_shape,
             .dtype = options.dtype,
             .trainable = options.trainable}),
      options_(std::move(options)) {}

Shape Scale::output_shape(const Shape& input_shape) const {
  require_features(input_shape);
  return input_shape;
}

std::string Scale::configuration() const { return to_string(options_.initializer); }

std::unique_ptr<Tape> Scale::make_tape() const { return std::make_unique<ToyTape>(); }

void Scale::do_create(const Shape& input_shape) {
  require_features(input_shape);
  if (options_.at_create) options_.at_create();
  factor_ =
      &add_variable("factor", {input_shape[1]}, options_.initializer, VariableRole::parameter);
  num_seen_ = &add_variable("num_seen", {1}, Zeros{}, VariableRole::statistic);
  add_variable("memory", {1}, Zeros{}, VariableRole::state);
}

void Scale::forward(const TensorView& input, const MutableTensorView& output, const Call& call) {
  check_call(input, output);
  if (options_.at_forward) options_.at_forward();
  visit_parameter(dtype(), [&]<class T>(TypeTag<T>) {
    const auto x = input.values<T>();
    const auto factor = factor_->value().values<T>();
    const auto y = output.values<T>();
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] * factor[i % factor.size()];
  });
  if (call.mode == Mode::inference) return;
  auto& tape = dynamic_cast<ToyTape&>(*call.tape);
  tape.input = input;
  tape.num_pending = static_cast<double>(input.shape()[0]);
  if (call.commit == Commit::at_once) commit(tape);
}

void Scale::backward(Tape& tape, const TensorView& output_gradient,
                     const MutableTensorView& input_gradient, Gradients gradients) {
  const TensorView& input = dynamic_cast<ToyTape&>(tape).input;
  check_gradients(input.shape(), output_gradient, input_gradient);
  visit_parameter(dtype(), [&]<class T>(TypeTag<T>) {
    const auto x = input.values<T>();
    const auto dy = output_gradient.values<T>();
    const auto factor = factor_->value().values<T>();
    const auto gradient = factor_->grad().values<T>();
    if (gradients == Gradients::overwrite) std::ranges::fill(gradient, T{0});
    for (std::size_t i = 0; i < x.size(); ++i) gradient[i % factor.size()] += dy[i] * x[i];
    if (input_gradient.is_null()) return;
    const auto dx = input_gradient.values<T>();
    for (std::size_t i = 0; i < x.size(); ++i) dx[i] = dy[i] * factor[i % factor.size()];
  });
}

void Scale::commit(Tape& tape) noexcept {
  auto& own = dynamic_cast<ToyTape&>(tape);
  visit_parameter(dtype(), [&]<class T>(TypeTag<T>) {
    num_seen_->value().values<T>()[0] += static_cast<T>(own.num_pending);
  });
  own.num_pending = 0.0;
}

Twice::Twice() : Layer(traits_of("Twice", {})) {}

Shape Twice::output_shape(const Shape& input_shape) const {
  require_features(input_shape);
  return input_shape.with(1, 2 * input_shape[1]);
}

std::string Twice::configuration() const { return "twice"; }

std::unique_ptr<Tape> Twice::make_tape() const { return std::make_unique<ToyTape>(); }

void Twice::do_create(const Shape& input_shape) { require_features(input_shape); }

void Twice::forward(const TensorView& input, const MutableTensorView& output, const Call& call) {
  check_call(input, output);
  const auto width = static_cast<std::size_t>(input.shape()[1]);
  visit_parameter(dtype(), [&]<class T>(TypeTag<T>) {
    const auto x = input.values<T>();
    const auto y = output.values<T>();
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = x[i / (2 * width) * width + i % width];
  });
  if (call.tape != nullptr) dynamic_cast<ToyTape&>(*call.tape).input = input;
}

void Twice::backward(Tape& tape, const TensorView& output_gradient,
                     const MutableTensorView& input_gradient, Gradients) {
  const Shape& input = dynamic_cast<ToyTape&>(tape).input.shape();
  check_gradients(input, output_gradient, input_gradient);
  if (input_gradient.is_null()) return;
  const auto width = static_cast<std::size_t>(input[1]);
  visit_parameter(dtype(), [&]<class T>(TypeTag<T>) {
    const auto dy = output_gradient.values<T>();
    const auto dx = input_gradient.values<T>();
    std::ranges::fill(dx, T{0});
    for (std::size_t i = 0; i < dy.size(); ++i) dx[i / (2 * width) * width + i % width] += dy[i];
  });
}

Census::Census(std::string name) : Layer(traits_of("Census", std::move(name))) {}

Exchange& Census::exchange(Pass pass) { return *exchanges_[pass == Pass::forward ? 0 : 1]; }

Shape Census::output_shape(const Shape& input_shape) const { return input_shape; }

std::string Census::configuration() const { return "census"; }

std::unique_ptr<Tape> Census::make_tape() const { return std::make_unique<ToyTape>(); }

void Census::do_create(const Shape&) {}

void Census::do_connect(const Communicator& replicas) {
  const std::string place = fmt::format("layer '{}'", name());
  exchanges_[0] = std::make_unique<Exchange>(replicas, place, "forward", 1);
  exchanges_[1] = std::make_unique<Exchange>(replicas, place, "backward", 1);
}

void Census::forward(const TensorView& input, const MutableTensorView& output, const Call& call) {
  check_call(input, output);
  copy(input, output);
  if (call.mode == Mode::inference) return;
  dynamic_cast<ToyTape&>(*call.tape).input = input;
  exchange(Pass::forward).payload()[0] = static_cast<double>(input.shape()[0]);
  exchange(Pass::forward).merge(call.step, std::nullopt);
  num_samples_ = exchange(Pass::forward).payload()[0];
}

void Census::backward(Tape& tape, const TensorView& output_gradient,
                      const MutableTensorView& input_gradient, Gradients) {
  check_gradients(dynamic_cast<ToyTape&>(tape).input.shape(), output_gradient, input_gradient);
  if (!input_gradient.is_null()) copy(output_gradient, input_gradient);
  exchange(Pass::backward).payload()[0] = 1.0;
  exchange(Pass::backward).merge(-1, std::nullopt);
}

void Census::add_appointments(Pass pass, Schedule& schedule) { schedule.add(exchange(pass)); }

}  // namespace lockstep::testing
