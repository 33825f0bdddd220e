// Dense and Conv2D with batch normalization in place of a bias are what they stand for.

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "base/convert.hpp"
#include "layers/normalizer_cases.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Options = BatchNormalizationOptions;

Tensor random_input(const Shape& shape, DType dtype, std::uint64_t seed) {
  Tensor result(shape, dtype);
  convert(random_tensor(shape, seed), result);
  return result;
}

std::vector<Tensor> values_in(const std::vector<Variable*>& variables) {
  std::vector<Tensor> values;
  for (const Variable* variable : variables) values.push_back(Tensor::copy_of(variable->value()));
  return values;
}

void check_identical(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(is_identical(a[i], b[i]));
}

// The layer with a normalizer, and the two layers that it stands for.
struct Composition {
  std::unique_ptr<Layer> whole, product;
  BatchNormalization norm;
  std::unique_ptr<Tape> whole_tape, product_tape, norm_tape;
  Tensor z;

  Composition(const NormalizedCase& in, const Options& options, DType dtype)
      : whole(in.make(options, dtype)), product(in.make(std::nullopt, dtype)), norm([&] {
          Options alone = options;
          alone.axis = in.axis;
          alone.dtype = dtype;
          return alone;
        }()) {
    for (Layer* layer : {whole.get(), product.get()}) layer->build(in.shape);
    norm.build(product->output_shape(in.shape));
    const std::vector<Variable*> all = parts();
    REQUIRE(whole->variables().size() == all.size());
    std::uint64_t seed = 3;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i]->role() == VariableRole::parameter)
        all[i]->assign(random_input(all[i]->shape(), all[i]->dtype(), seed++));
      whole->variables()[i]->assign(all[i]->value());
    }
    whole_tape = whole->make_tape();
    product_tape = product->make_tape();
    norm_tape = norm.make_tape();
  }

  std::vector<Variable*> parts() {
    std::vector<Variable*> all = product->variables();
    for (Variable* variable : norm.variables()) all.push_back(variable);
    return all;
  }

  void check_step(const Tensor& x, Call call) {
    call.tape = whole_tape.get();
    const Tensor y = output_of(*whole, x, call);
    call.tape = product_tape.get();
    z = output_of(*product, x, call);
    call.tape = norm_tape.get();
    CHECK(is_identical(y, output_of(norm, z, call)));
    const Tensor dy = random_input(y.shape(), y.dtype(), 11);
    const Tensor dz = input_gradient_of(norm, *norm_tape, dy, z.shape());
    CHECK(is_identical(input_gradient_of(*whole, *whole_tape, dy, x.shape()),
                       input_gradient_of(*product, *product_tape, dz, x.shape())));
    std::vector<Tensor> gradients = gradients_of(*product);
    for (Tensor& gradient : gradients_of(norm)) gradients.push_back(std::move(gradient));
    check_identical(gradients_of(*whole), gradients);
    check_identical(values_in(whole->variables()), values_in(parts()));
  }

  void check_steps(const Shape& shape, DType dtype, const Call& call) {
    for (std::uint64_t step = 0; step < 3; ++step)
      check_step(random_input(shape, dtype, 20 + step), call);
  }
};

std::vector<Options> all_options() {
  return {{},
          {.momentum = std::nullopt, .activation = ActivationFunction::gelu},
          {.momentum = 0.5, .scale = false, .updates = Updates::deferred},
          {.center = false, .activation = ActivationFunction::leaky_relu, .negative_slope = 0.4},
          {.momentum = 0.5, .renorm = true, .renorm_clipping = {.rmax = 1.5}},
          {.virtual_batch_size = 2},
          {.track_moving_statistics = false},
          {.moving_variance = MovingVariance::as_tensorflow, .synchronized = true},
          {.trainable = false, .frozen_mode = FrozenMode::batch_statistics_updating}};
}

}  // namespace

TEST_CASE("a layer with a normalizer is the layer without bias and batch normalization, in bits") {
  for (const NormalizedCase& in : normalized_cases())
    for (const Options& options : all_options())
      for (const DType dtype : {DType::float32, DType::float64}) {
        Composition both(in, options, dtype);
        INFO(both.whole->configuration());
        for (const Mode mode : {Mode::training, Mode::inference})
          both.check_steps(in.shape, dtype, {.mode = mode});
        both.whole->apply_updates();
        both.norm.apply_updates();
        both.check_steps(in.shape, dtype, {.mode = Mode::inference});
      }
}

TEST_CASE("a normalizer takes the weights and the mask of a call") {
  const std::vector<double> weights{0.5, 2.0, 0.0, 1.0};
  const std::array mask{true, false, true, true};
  for (const NormalizedCase& in : normalized_cases()) {
    const Shape shape = in.shape.with(0, 4);
    Composition both(in, {}, DType::float64);
    both.check_steps(shape, DType::float64,
                     {.mode = Mode::training, .batch_weights = view(weights, {4})});
    both.check_steps(shape, DType::float64,
                     {.mode = Mode::training, .mask = view(mask.data(), {4})});
  }
}

TEST_CASE("layers with a normalizer obey the laws of layers") {
  for (const NormalizedCase& in : normalized_cases())
    for (const Mode mode : {Mode::training, Mode::inference}) {
      const auto make = [&](DType dtype) {
        return in.make(Options{.activation = ActivationFunction::silu}, dtype);
      };
      INFO(make(DType::float64)->configuration());
      check_layer(make, random_tensor(in.shape, 2), {.mode = mode, .step = 3});
    }
}

TEST_CASE("a batch may be cut between layers whose normalizer uses moving statistics") {
  for (const NormalizedCase& in : normalized_cases()) {
    const auto layer = in.make(Options{.trainable = false});
    layer->build(in.shape);
    check_cut_law(*layer, random_tensor(in.shape.with(0, 7), 3), 1e-13);
  }
}

TEST_CASE("gradients of layers with a normalizer are those of finite differences") {
  for (const NormalizedCase& in : normalized_cases())
    for (const Options& options : all_options()) {
      if (options.renorm) continue;  // its corrections are constants to the gradient
      const auto layer = in.make(options);
      layer->build(in.shape);
      randomize_parameters(*layer);
      INFO(layer->configuration());
      CHECK(gradient_error(*layer, random_tensor(in.shape, 5)) < 1e-6);
    }
}
