// Blocks of layers with a connection around them compute what their layers do.

#include "lockstep/layers/residual.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/convert.hpp"
#include "kernels/activation.hpp"
#include "layers/residual_sum.hpp"
#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Layers = std::vector<std::unique_ptr<Layer>>;

const Shape images{4, 3, 4, 2};

// Sum, function and product are rounded one after the other, and the slope sees the rounded sum.
double tolerance_of(DType dtype) {
  if (is_16_bit(dtype)) return dtype == DType::bfloat16 ? 0x1p-8 : 0x1p-11;
  return dtype == DType::float32 ? 6 * 0x1p-24 : 6 * 0x1p-53;
}

// How main ends: with a batch normalization that takes the sum in, or not.
enum class End { fused, active_norm, normalizer, activation };
enum class Way { identity, projection };

struct Kind {
  End end;
  Way shortcut;
  AnyActivation activation;
};

std::vector<Kind> all_kinds() {
  const CustomActivation twice_cubed{.name = "twice_cubed",
                                     .value = [](double x) { return 2.0 * x * x * x; },
                                     .derivative = [](double x) { return 6.0 * x * x; }};
  const std::vector<AnyActivation> activations{ActivationFunction::linear, ActivationFunction::silu,
                                               ActivationFunction::leaky_relu, twice_cubed};
  std::vector<Kind> kinds;
  for (const End end : {End::fused, End::active_norm, End::normalizer, End::activation})
    for (const Way shortcut : {Way::identity, Way::projection})
      for (const AnyActivation& activation : activations)
        kinds.push_back({end, shortcut, activation});
  return kinds;
}

std::string text_of(const Kind& kind) {
  return std::to_string(static_cast<int>(kind.end)) +
         (kind.shortcut == Way::identity ? " identity" : " projection");
}

template <class L, class Options>
std::unique_ptr<Layer> made(Options options) {
  return std::make_unique<L>(std::move(options));
}

Layers main_of(const Kind& kind, DType dtype) {
  const std::int64_t filters = kind.shortcut == Way::identity ? 2 : 3;
  const auto conv = [&](std::int64_t num_filters, bool has_normalizer = false) {
    return made<Conv2D>(Conv2DOptions{
        .filters = num_filters,
        .kernel_size = {3, 2},
        .padding = Padding::same,
        .use_bias = false,  // its gradient would be zero but for rounding
        .normalizer = has_normalizer ? std::optional(BatchNormalizationOptions{}) : std::nullopt,
        .dtype = dtype});
  };
  const auto norm = [&](ActivationFunction activation) {
    return made<BatchNormalization>(
        BatchNormalizationOptions{.momentum = 0.5, .activation = activation, .dtype = dtype});
  };
  Layers layers;
  layers.push_back(conv(4));
  layers.push_back(norm(ActivationFunction::tanh));
  layers.push_back(conv(filters, kind.end == End::normalizer));
  if (kind.end == End::normalizer) return layers;
  layers.push_back(
      norm(kind.end == End::active_norm ? ActivationFunction::gelu : ActivationFunction::linear));
  if (kind.end == End::activation)
    layers.push_back(made<Activation>(ActivationOptions{.dtype = dtype}));
  return layers;
}

Layers shortcut_of(const Kind& kind, DType dtype) {
  Layers layers;
  if (kind.shortcut == Way::identity) return layers;
  layers.push_back(made<Conv2D>(Conv2DOptions{.filters = 3, .use_bias = false, .dtype = dtype}));
  layers.push_back(made<BatchNormalization>(BatchNormalizationOptions{.dtype = dtype}));
  return layers;
}

std::unique_ptr<Residual> block_of(const Kind& kind, DType dtype) {
  auto block = std::make_unique<Residual>(
      ResidualOptions{.activation = kind.activation, .negative_slope = 0.3, .dtype = dtype});
  for (auto& layer : main_of(kind, dtype)) block->add_main(std::move(layer));
  for (auto& layer : shortcut_of(kind, dtype)) block->add_shortcut(std::move(layer));
  return block;
}

Tensor random_input(const Shape& shape, DType dtype, std::uint64_t seed) {
  Tensor result(shape, dtype);
  convert(random_tensor(shape, seed), result);
  return result;
}

std::vector<double> doubles_of(const TensorView& values) {
  std::vector<double> result(static_cast<std::size_t>(values.num_elements()));
  read_as_double(values, result);
  return result;
}

// A branch, layer by layer.
struct Branch {
  Layers layers;
  std::vector<std::unique_ptr<Tape>> tapes;
  std::vector<Tensor> values;

  Branch(Layers all, Shape shape) : layers(std::move(all)) {
    for (const auto& layer : layers) {
      layer->build(shape);
      shape = layer->output_shape(shape);
      tapes.push_back(layer->make_tape());
    }
  }

  const Tensor& output(const Tensor& input, Call call, std::size_t count) {
    values.assign(1, input);
    for (std::size_t i = 0; i < count; ++i) {
      call.tape = tapes[i].get();
      values.push_back(output_of(*layers[i], values.back(), call));
    }
    return values.back();
  }

  Tensor input_gradient(Tensor gradient, std::size_t count) {
    for (std::size_t i = count; i-- > 0;)
      gradient = input_gradient_of(*layers[i], *tapes[i], gradient, values[i].shape());
    return gradient;
  }
};

// What a block computes, with its layers called one by one.
struct Composition {
  Kind kind;
  Branch shortcut, main;
  bool is_fused;
  std::size_t num_main;  // without a layer that ends the block

  Composition(const Kind& of, DType dtype)
      : kind(of),
        shortcut(shortcut_of(of, dtype), images),
        main(parts_of(of, dtype), images),
        is_fused(of.end == End::fused),
        num_main(main.layers.size() - (is_fused ? 1 : 0)) {}

  // Here it is the last batch normalization that has the activation.
  static Layers parts_of(const Kind& kind, DType dtype) {
    Layers layers = main_of(kind, dtype);
    if (kind.end != End::fused) return layers;
    layers.back() = made<BatchNormalization>(BatchNormalizationOptions{
        .momentum = 0.5, .activation = kind.activation, .negative_slope = 0.3, .dtype = dtype});
    return layers;
  }

  std::vector<Variable*> variables() const {
    std::vector<Variable*> all;
    for (const Branch* branch : {&shortcut, &main})
      for (const auto& layer : branch->layers)
        for (Variable* variable : layer->variables()) all.push_back(variable);
    return all;
  }

  // activation(sum) or the gradient of the sum from `dy`.
  std::vector<double> formula(const Tensor* dy) const {
    std::vector<double> sum = doubles_of(main.values.back());
    const std::vector<double> other = doubles_of(shortcut.values.back());
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
    const auto count = static_cast<std::int64_t>(sum.size());
    if (dy == nullptr) {
      activate(kind.activation, 0.3, sum.data(), sum.data(), count);
      return sum;
    }
    std::vector<double> gradient = doubles_of(*dy);
    activation_gradient(kind.activation, 0.3, sum.data(), gradient.data(), gradient.data(), count);
    return gradient;
  }
  // The same as the library computes it, bit for bit.
  Tensor ending(const Tensor* dy) const {
    const Tensor &z = main.values.back(), &other = shortcut.values.back();
    Tensor result(z.shape(), z.dtype());
    if (dy == nullptr)
      add(z, other, kind.activation, 0.3, result);
    else
      add_back(z, other, kind.activation, 0.3, *dy, result);
    CHECK(distance(doubles_of(result), formula(dy)) <= tolerance_of(z.dtype()));
    return result;
  }

  void check_step(Residual& block, Tape& tape, const Tensor& x, Call call) {
    call.tape = &tape;
    const Tensor y = output_of(block, x, call);
    const Tensor& other = shortcut.output(x, call, shortcut.layers.size());
    const Tensor& z = main.output(x, call, num_main);
    const Tensor dy = random_input(y.shape(), y.dtype(), 11);
    const Tensor dx = input_gradient_of(block, tape, dy, x.shape());
    Tensor sum_gradient(y.shape(), y.dtype()), z_gradient(z.shape(), z.dtype());
    if (is_fused) {
      auto& norm = dynamic_cast<BatchNormalization&>(*main.layers.back());
      Tensor expected(y.shape(), y.dtype());
      call.tape = main.tapes.back().get();
      call.residual = other;
      norm.forward(z, expected, call);
      CHECK(is_identical(y, expected));
      norm.backward(*call.tape, dy, z_gradient, sum_gradient);
    } else {
      CHECK(is_identical(y, ending(nullptr)));
      z_gradient = sum_gradient = ending(&dy);
    }
    std::vector<double> total = doubles_of(main.input_gradient(z_gradient, num_main));
    const Tensor other_dx = shortcut.input_gradient(sum_gradient, shortcut.layers.size());
    const std::vector<double> more = doubles_of(other_dx);
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += more[i];
    Tensor expected_dx(x.shape(), x.dtype());
    write_from_double(total, expected_dx);
    CHECK(is_identical(dx, expected_dx));
    REQUIRE(block.variables().size() == variables().size());
    for (std::size_t i = 0; i < variables().size(); ++i) {
      const Variable& ours = *block.variables()[i];
      const Variable& theirs = *variables()[i];
      CHECK(is_identical(Tensor::copy_of(ours.value()), Tensor::copy_of(theirs.value())));
      if (ours.role() == VariableRole::parameter)
        CHECK(is_identical(Tensor::copy_of(ours.grad()), Tensor::copy_of(theirs.grad())));
    }
  }
};

}  // namespace

TEST_CASE("a block is its layers called one by one, and the sum, bit for bit") {
  for (const Kind& kind : all_kinds())
    for (const DType dtype : {DType::float64, DType::float32, DType::float16, DType::bfloat16}) {
      INFO(text_of(kind) << " " << name_of(dtype));
      const auto block = block_of(kind, dtype);
      block->build(images);
      randomize_parameters(*block);
      Composition parts(kind, dtype);
      for (std::size_t i = 0; i < parts.variables().size(); ++i)
        parts.variables()[i]->assign(block->variables()[i]->value());
      const auto tape = block->make_tape();
      for (const Mode mode : {Mode::training, Mode::training, Mode::inference})
        parts.check_step(*block, *tape, random_input(images, dtype, 20), {.mode = mode});
    }
}

TEST_CASE("a sum that batch normalization takes in is the same sum") {
  for (const Way shortcut : {Way::identity, Way::projection}) {
    const auto fused = block_of({End::fused, shortcut, ActivationFunction::gelu}, DType::float64);
    const auto plain =
        block_of({End::activation, shortcut, ActivationFunction::gelu}, DType::float64);
    for (Residual* block : {fused.get(), plain.get()}) {
      block->build(images);
      randomize_parameters(*block);
    }
    const auto fused_tape = fused->make_tape(), plain_tape = plain->make_tape();
    const Tensor x = random_tensor(images, 1);
    const Tensor y = output_of(*fused, x, {.mode = Mode::training, .tape = fused_tape.get()});
    CHECK(
        is_identical(y, output_of(*plain, x, {.mode = Mode::training, .tape = plain_tape.get()})));
    CHECK(is_identical(input_gradient_of(*fused, *fused_tape, y, images),
                       input_gradient_of(*plain, *plain_tape, y, images)));
    for (std::size_t i = 0; i < gradients_of(*fused).size(); ++i)
      CHECK(is_identical(gradients_of(*fused)[i], gradients_of(*plain)[i]));
  }
}

TEST_CASE("gradients of blocks are those of finite differences") {
  for (const Kind& kind : all_kinds()) {
    if (kind.activation.index() == 0 &&
        std::get<ActivationFunction>(kind.activation) == ActivationFunction::leaky_relu)
      continue;  // has a kink
    INFO(text_of(kind));
    const auto block = block_of(kind, DType::float64);
    block->build(images);
    randomize_parameters(*block);
    for (const Mode mode : {Mode::training, Mode::inference})
      CHECK(gradient_error(*block, random_tensor(images, 5), {.mode = mode}) < 1e-6);
  }
}

TEST_CASE("blocks obey the laws of layers") {
  for (const End end : {End::fused, End::normalizer})
    for (const Way shortcut : {Way::identity, Way::projection}) {
      const auto make = [&](DType dtype) {
        return block_of({end, shortcut, ActivationFunction::silu}, dtype);
      };
      check_calls(make, random_tensor(images, 2));
      check_calls(make, random_tensor(images, 2), {.mode = Mode::inference});
    }
}

TEST_CASE("a batch may be cut between blocks that are frozen") {
  for (const Kind& kind : all_kinds()) {
    const auto block = block_of(kind, DType::float64);
    block->build(images);
    block->set_trainable(false);
    check_cut_law(*block, random_tensor(images.with(0, 7), 3), 1e-13);
  }
}
