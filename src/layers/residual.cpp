#include "lockstep/layers/residual.hpp"

#include <spdlog/fmt/fmt.h>

#include <set>
#include <string_view>
#include <vector>

#include "kernels/activation.hpp"
#include "layers/batch_normalization_parts.hpp"
#include "layers/default_name.hpp"
#include "layers/in_turns.hpp"
#include "layers/inner_layers.hpp"
#include "layers/residual_sum.hpp"
#include "layers/shared_gradients.hpp"
#include "layers/within.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

struct ResidualTape final : Tape {
  TensorView input;
  std::vector<Tensor> outputs;  // of the inner layers; none of one that ends the block
  TensorView shortcut, main;    // what was added
};

ResidualTape& own(Tape& tape) { return dynamic_cast<ResidualTape&>(tape); }

}  // namespace

Residual::Residual(ResidualOptions options)
    : Layer({.type = "Residual",
             .name = options.name,
             .input_shape = options.input_shape,
             .dtype = options.dtype,
             .trainable = options.trainable}),
      options_(std::move(options)) {}

Residual::~Residual() = default;
Residual::Residual(Residual&&) noexcept = default;
Residual& Residual::operator=(Residual&&) noexcept = default;

Residual& Residual::add_main(std::unique_ptr<Layer> layer) {
  inner().adopt(*this, inner().all().size(), std::move(layer));
  return *this;
}

Residual& Residual::add_shortcut(std::unique_ptr<Layer> layer) {
  inner().adopt(*this, num_shortcut_, std::move(layer));
  ++num_shortcut_;
  return *this;
}

Shape Residual::output_shape(const Shape& input_shape) const {
  Shape shape = input_shape;
  for (const auto& layer : main_layers()) shape = layer->output_shape(shape);
  return shape;
}

std::unique_ptr<Tape> Residual::make_tape() const {
  auto tape = std::make_unique<ResidualTape>();
  tape->outputs.resize(inner_layers().size());
  equip(*tape);
  return tape;
}

void Residual::check_names() const {
  std::set<std::string_view> names;
  for (const auto& layer : inner_layers())
    if (!names.insert(layer->name()).second)
      throw ArgumentError(
          fmt::format("block '{}' has several layers named '{}'; give them names "
                      "of their own",
                      name(), layer->name()));
}

Shape Residual::create_layers(std::size_t first, std::size_t last, Shape shape) {
  for (std::size_t i = first; i < last; ++i) {
    Layer& layer = *inner_layers()[i];
    inner().create(*this, layer, shape, dtype());
    shape = layer.output_shape(shape);
  }
  return shape;
}

void Residual::do_create(const Shape& input_shape) {
  if (main_layers().empty())
    throw ArgumentError(
        fmt::format("block '{}' has no layer in its main branch; add_main() some", name()));
  const FinalActivation activation{options_.activation, options_.negative_slope};
  validate(activation);
  check_names();
  const Shape shortcut = create_layers(0, num_shortcut_, input_shape);
  const Shape main = create_layers(num_shortcut_, inner_layers().size(), input_shape);
  if (main != shortcut)
    throw ArgumentError(fmt::format(
        "block '{}' adds what its branches make of samples of shape {}, but main gives {} and the "
        "shortcut {}; {}",
        name(), to_string(sample_shape_of(input_shape)), to_string(sample_shape_of(main)),
        to_string(sample_shape_of(shortcut)),
        num_shortcut_ > 0 ? "make them agree" : "add_shortcut() a layer that makes them agree"));
  fused_ = dynamic_cast<BatchNormalization*>(inner_layers().back().get());
  if (fused_ != nullptr && !is_linear(fused_->options().activation)) fused_ = nullptr;
  if (fused_ != nullptr) fused_->end_with(activation);
  std::vector<Layer*> layers;
  for (const auto& layer : inner_layers()) layers.push_back(layer.get());
  shared_gradients_ = std::make_unique<SharedGradients>(layers);
}

void Residual::forward(const TensorView& input, const MutableTensorView& output, const Call& call) {
  inner().forward(*this, call, [&](const Call& own_call) {
    check_call(input, output);
    ResidualTape& tape = own(*own_call.tape);
    const std::size_t last = inner_layers().size() - 1;
    tape.input = input;
    tape.shortcut = pass(0, num_shortcut_, input, own_call);
    if (fused_ != nullptr) {
      Call ending = own_call;
      ending.residual = tape.shortcut;
      inner().forward_through(last, pass(num_shortcut_, last, input, own_call), output, ending);
    } else {
      tape.main = pass(num_shortcut_, last + 1, input, own_call);
      add(tape.main, tape.shortcut, options_.activation, options_.negative_slope, output);
    }
    note_output(output);
  });
}

TensorView Residual::pass(std::size_t first, std::size_t last, TensorView input, const Call& call) {
  for (std::size_t i = first; i < last; ++i) {
    Tensor& output = own(*call.tape).outputs[i];
    output.resize(inner_layers()[i]->output_shape(input.shape()), dtype());
    inner().forward_through(i, input, output, call);
    input = output;
  }
  return input;
}

void Residual::backward(Tape& tape, const TensorView& output_gradient,
                        const MutableTensorView& input_gradient, Gradients gradients) {
  inner().backward(*this, tape,
                   [&] { differentiate(tape, output_gradient, input_gradient, gradients); });
}

void Residual::differentiate(Tape& tape, const TensorView& output_gradient,
                             const MutableTensorView& input_gradient, Gradients gradients) {
  const ResidualTape& recorded = own(tape);
  check_gradients(recorded.input.shape(), output_gradient, input_gradient);
  const bool has_shortcut = num_shortcut_ > 0;
  const bool has_input_gradient = !input_gradient.is_null();
  sum_gradient_.resize(output_gradient.shape(), dtype());
  shared_gradients_->begin(gradients);
  TensorView main_gradient = output_gradient;
  if (fused_ == nullptr) {
    add_back(recorded.main, recorded.shortcut, options_.activation, options_.negative_slope,
             output_gradient, sum_gradient_);
    main_gradient = sum_gradient_;
  }
  pass_back(num_shortcut_, inner_layers().size(), tape, main_gradient, input_gradient, gradients);
  if (has_shortcut) {
    MutableTensorView shortcut_gradient;
    if (has_input_gradient) {
      shortcut_gradient_.resize(input_gradient.shape(), dtype());
      shortcut_gradient = shortcut_gradient_;
    }
    pass_back(0, num_shortcut_, tape, sum_gradient_, shortcut_gradient, gradients);
  }
  if (has_input_gradient) add_to(input_gradient, has_shortcut ? shortcut_gradient_ : sum_gradient_);
  shared_gradients_->finish(control().rank() == 0);
}

// A layer that ends the block writes the gradient of the sum on the way.
void Residual::pass_back(std::size_t first, std::size_t last, Tape& tape, TensorView gradient,
                         const MutableTensorView& input_gradient, Gradients gradients) {
  for (std::size_t i = last; i-- > first;) {
    Layer& layer = *inner_layers()[i];
    MutableTensorView below = input_gradient;
    if (i > first)
      below = target_in(gradients_, layer, gradient, own(tape).outputs[i - 1].shape(), dtype());
    shared_gradients_->begin_layer(layer);
    if (&layer == fused_)
      within(layer, [&] {
        fused_->backward(inner().tape_of(i, tape), gradient, below, sum_gradient_, gradients);
      });
    else
      inner().backward_through(i, tape, gradient, below, gradients);
    shared_gradients_->finish_layer(layer);
    gradient = below;
  }
}

}  // namespace lockstep
