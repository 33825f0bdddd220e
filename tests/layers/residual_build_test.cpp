// How a residual block holds its layers: names, stores, tapes, updates, refusals.

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/residual.hpp"
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
