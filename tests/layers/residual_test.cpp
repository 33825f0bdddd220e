// Blocks of layers with a connection around them, on one rank.

#include "lockstep/layers/residual.hpp"

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/convert.hpp"
#include "kernels/activation.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/params/variable_scope.hpp"
#include "lockstep/params/variable_store.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;
using Catch::Matchers::Contains;

namespace {

using Layers = std::vector<std::unique_ptr<Layer>>;

const Shape images{4, 3, 4, 2};

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
  Tensor ending(const Tensor* dy) const {
    std::vector<double> sum = doubles_of(main.values.back());
    const std::vector<double> other = doubles_of(shortcut.values.back());
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
    const auto count = static_cast<std::int64_t>(sum.size());
    if (dy == nullptr) {
      activate(kind.activation, 0.3, sum.data(), sum.data(), count);
    } else {
      std::vector<double> gradient = doubles_of(*dy);
      activation_gradient(kind.activation, 0.3, sum.data(), gradient.data(), gradient.data(),
                          count);
      sum = gradient;
    }
    Tensor result(main.values.back().shape(), main.values.back().dtype());
    write_from_double(sum, result);
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

Residual dense_block(ResidualOptions options = {.dtype = DType::float64}) {
  Residual block(std::move(options));
  block.add_main(Dense({.units = 3})).add_main(BatchNormalization());
  return block;
}

void check_refused(Residual& block, const Shape& shape, const std::vector<std::string>& parts) {
  const Caught caught = caught_from([&] { block.build(shape); });
  INFO(caught.what);
  CHECK(caught.is(ErrorCode::argument));
  for (const std::string& part : parts) CHECK_THAT(caught.what, Contains(part));
}

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

TEST_CASE("calls in flight have tapes of their own") {
  Residual block = dense_block();
  block.build({1, 3});
  const auto first = block.make_tape(), second = block.make_tape();
  const Tensor x = random_tensor({5, 3}, 1), other = random_tensor({2, 3}, 2);
  const Call call{.mode = Mode::training, .commit = Commit::by_caller};
  const auto run = [&](const Tensor& input, Tape& tape) {
    Call own = call;
    own.tape = &tape;
    return output_of(block, input, own);
  };
  const Tensor y = run(x, *first);
  const Tensor dx = input_gradient_of(block, *first, y, x.shape());
  (void)run(x, *first);
  (void)run(other, *second);
  (void)output_of(block, other);
  CHECK(is_identical(input_gradient_of(block, *first, y, x.shape()), dx));
}

TEST_CASE("a block that was moved goes on") {
  Residual block = dense_block({.activation = ActivationFunction::gelu, .dtype = DType::float64});
  block.build({1, 3});
  const auto tape = block.make_tape();
  const Tensor x = random_tensor({5, 3}, 1);
  const Call call{.mode = Mode::training, .tape = tape.get(), .commit = Commit::by_caller};
  const Tensor y = output_of(block, x, call);
  const Tensor dx = input_gradient_of(block, *tape, y, x.shape());
  Residual moved = std::move(block);
  CHECK(is_identical(input_gradient_of(moved, *tape, y, x.shape()), dx));
  CHECK(is_identical(output_of(moved, x, call), y));
  CHECK(moved.inner_layers().size() == 2);
}

TEST_CASE("layers of a block are named after it") {
  Residual block({.name = "block"});
  block.add_main(Dense({.units = 3})).add_main(Dense({.units = 3, .name = "last"}));
  block.add_shortcut(Dense({.units = 3}));
  Residual inside;
  inside.add_main(Dense({.units = 3}));
  block.add_main(std::move(inside));
  block.rename("a/b");
  block.build({4, 3});
  std::vector<std::string> names;
  for (const auto& layer : block.inner_layers()) names.push_back(layer->name());
  CHECK(names == std::vector<std::string>{"a/b/dense_1", "a/b/dense", "a/b/last", "a/b/residual"});
  CHECK(block.variables().size() == 8);
  CHECK(block.variable("last/kernel").name() == "a/b/last/kernel");
  CHECK(block.variable("residual/dense/bias").name() == "a/b/residual/dense/bias");
}

TEST_CASE("layers keep their variables in the store in which they were made") {
  const VariableStore store;
  const auto in_store = store.scope();
  const auto make = [](bool reuse) {
    const VariableScope scope({.name = "net", .reuse = reuse});
    return dense_block({.dtype = DType::float64});
  };
  Residual block = make(false);
  CHECK(block.name() == "net/residual");
  CHECK(block.inner_layers()[0]->name() == "net/residual/dense");
  block.build({4, 3});
  CHECK(store.variables() == block.variables());
  CHECK(store.variables().front()->name() == "net/dense/kernel");
  Residual same = make(true);
  same.build({4, 3});
  CHECK(same.variables() == block.variables());
}

TEST_CASE("layers of a block that share a kernel add their gradients") {
  const VariableStore store;
  const auto scope = store.scope();
  const auto shared = [](bool reuse) {
    return Dense(
        {.units = 3, .dtype = DType::float64, .name = "shared", .scope = {.reuse = reuse}});
  };
  Dense owner = shared(false);
  owner.build({4, 3});
  Residual block({.activation = ActivationFunction::tanh, .dtype = DType::float64});
  block.add_main(shared(true)).add_main(shared(true)).add_shortcut(shared(true));
  block.build({4, 3});
  CHECK(block.variables() == owner.variables());
  CHECK(gradient_error(block, random_tensor({4, 3}, 1)) < 1e-8);
}

TEST_CASE("updates of a block are made in the order of the calls, from anywhere") {
  const auto norm = [] {
    return BatchNormalization({.momentum = 0.5, .updates = Updates::deferred});
  };
  Residual block({.dtype = DType::float64});
  block.add_main(norm()).add_main(norm()).add_shortcut(norm());
  block.build({4, 3});
  const auto before = values_of(block.variable("batch_normalization/moving_mean"));
  (void)output_of(block, random_tensor({4, 3}, 1), {.mode = Mode::training});
  CHECK(values_of(block.variable("batch_normalization/moving_mean")) == before);
  REQUIRE(block.update_source() != nullptr);
  std::uint64_t last = 0;
  int num_updates = 0;
  for (; block.update_source()->next_update(); block.update_source()->apply_next_update()) {
    CHECK(*block.update_source()->next_update() > last);
    last = *block.update_source()->next_update();
    ++num_updates;
  }
  CHECK(num_updates == 3);
  CHECK(values_of(block.variable("batch_normalization/moving_mean")) != before);
  Residual plain = dense_block();
  plain.build({4, 3});
  CHECK(plain.update_source() == nullptr);
}

TEST_CASE("branches that do not fit are refused with both shapes") {
  Residual identity({.name = "block"});
  identity.add_main(Dense({.units = 5}));
  check_refused(identity, {4, 3}, {"'block'", "main gives [5]", "shortcut [3]", "add_shortcut()"});
  Residual projected({.name = "block"});
  projected.add_main(Dense({.units = 5})).add_shortcut(Dense({.units = 4}));
  check_refused(projected, {4, 3}, {"main gives [5]", "shortcut [4]", "agree"});
  identity.build({4, 5});
  CHECK(identity.is_built());
}

TEST_CASE("blocks that cannot be are refused") {
  Residual empty({.name = "block"});
  check_refused(empty, {4, 3}, {"'block'", "add_main()"});
  empty.add_shortcut(Dense({.units = 3}));
  check_refused(empty, {4, 3}, {"add_main()"});

  Residual twins;
  twins.add_main(Dense({.units = 3, .name = "a"})).add_main(Dense({.units = 3, .name = "a"}));
  check_refused(twins, {4, 3}, {"several layers named 'residual/a'"});

  Residual bad_layer;
  bad_layer.add_main(Dense({.units = 0}));
  check_refused(bad_layer, {4, 3}, {"layer 'residual/dense': ", "units"});

  Residual slope =
      dense_block({.activation = ActivationFunction::leaky_relu, .negative_slope = -1.0});
  check_refused(slope, {4, 3}, {"negative_slope"});

  Residual mixed;
  mixed.add_main(Dense({.units = 3, .dtype = DType::float64}));
  check_refused(mixed, {4, 3}, {"'residual/dense'", "float64", "float32"});

  Residual block = dense_block();
  CHECK_THROWS_AS(block.add_main(std::unique_ptr<Layer>()), ArgumentError);
  block.build({4, 3});
  CHECK_THROWS_AS(block.add_main(Dense({.units = 3})), StateError);
  CHECK_THROWS_AS(block.add_shortcut(Dense({.units = 3})), StateError);
}

TEST_CASE("errors of a layer in a block name both") {
  Residual block = dense_block({.dtype = DType::float64, .name = "block"});
  block.build({4, 3});
  Tensor x = random_tensor({4, 3}, 1);
  x.values<double>()[4] = INFINITY;
  const Caught caught = caught_from([&] { (void)output_of(block, x, {.mode = Mode::training}); });
  CHECK(caught.is(ErrorCode::non_finite));
  CHECK_THAT(caught.what, Contains("layer 'block/batch_normalization', forward"));
}
