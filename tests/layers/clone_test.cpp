// Clones have the options of their originals and nothing else in common with them.

#include <memory>
#include <vector>

#include "layers/random_options.hpp"
#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

namespace lockstep {
namespace {

using namespace testing;

TEST_CASE("a clone equals its original, whatever the options") {
  for_each_layer_type([]<class L>(std::type_identity<L>) {
    Dice dice(1);
    dice.allow_functions();
    for (int repetition = 0; repetition < 40; ++repetition) {
      const L layer(dice.draw<OptionsOf<L>>());
      INFO(layer.configuration());
      const auto clone = layer.clone();
      CHECK(*clone == layer);
      CHECK(is_same(dynamic_cast<const L&>(*clone).options(), layer.options()));
      CHECK(clone->name() == layer.name());
      CHECK(clone->has_default_name() == layer.has_default_name());
      CHECK_FALSE(clone->is_built());
    }
  });
}

TEST_CASE("a clone is as its original was renamed and frozen since") {
  for_each_layer_type([]<class L>(std::type_identity<L>) {
    L layer{OptionsOf<L>()};
    layer.rename("other");
    layer.set_trainable(false);
    const auto clone = layer.clone();
    CHECK(*clone == layer);
    CHECK(clone->name() == "other");
    CHECK(clone->has_default_name());
    CHECK_FALSE(clone->is_trainable());
  });
}

TEST_CASE("a clone has variables of its own, made anew") {
  Dense layer({.units = 2, .dtype = DType::float64});
  layer.build({4, 3});
  const Tensor initial = Tensor::copy_of(layer.variable("kernel").value());
  randomize_parameters(layer);
  const Tensor changed = Tensor::copy_of(layer.variable("kernel").value());

  const auto clone = layer.clone();
  CHECK(clone->variables().empty());
  clone->build({1, 3});
  CHECK(is_identical(Tensor::copy_of(clone->variable("kernel").value()), initial));
  randomize_parameters(*clone);
  clone->set_trainable(false);
  CHECK(layer.is_trainable());
  CHECK(is_identical(Tensor::copy_of(layer.variable("kernel").value()), changed));
}

TEST_CASE("a clone has the functions of its original") {
  int num_calls = 0;
  const BatchNormalization layer(
      {.adjustment =
           [&](const Shape&) {
             ++num_calls;
             return Adjustment{};
           },
       .activation = CustomActivation{.name = "half",
                                      .value = [](double x) { return x / 2.0; },
                                      .derivative = [](double) { return 0.5; }}});
  const auto clone = layer.clone();
  const auto& options = dynamic_cast<const BatchNormalization&>(*clone).options();
  (void)options.adjustment(Shape{1});
  CHECK(num_calls == 1);
  CHECK(std::get<CustomActivation>(options.activation).value(3.0) == 1.5);
}

TEST_CASE("a class derived from a layer of the library needs a clone of its own") {
  struct Derived : Conv2D {
    using Conv2D::Conv2D;
  };
  CHECK_THROWS_AS(Derived({.filters = 1}).clone(), StateError);
}

}  // namespace
}  // namespace lockstep
