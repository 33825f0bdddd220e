// Layers in scopes and stores: their names, the variables they share, and what is refused, on all
// ranks alike.

#include "lockstep/params/variable_scope.hpp"

#include <memory>
#include <string>

#include "layers/scoped_layers.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/params/variable_store.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

// Has a statistic where a dense layer named "a" has a parameter, and reuses it.
class Statistic final : public Layer {
 public:
  Statistic() : Layer(traits()) {}
  Shape output_shape(const Shape& input_shape) const override { return input_shape; }
  std::string configuration() const override { return {}; }
  std::unique_ptr<Tape> make_tape() const override { return nullptr; }
  void forward(const TensorView&, const MutableTensorView&, const Call&) override {}
  void backward(Tape&, const TensorView&, const MutableTensorView&, Gradients) override {}

 private:
  static LayerTraits traits() {
    LayerTraits traits;
    traits.type = "Statistic";
    traits.name = "a";
    traits.scope.reuse = true;
    return traits;
  }
  void do_create(const Shape&) override {
    add_variable("kernel", Tensor({3, 2}, DType::float64), VariableRole::statistic);
  }
};

}  // namespace

TEST_CASE("without scopes and stores names are those of the type", "[layers]") {
  Dense first = dense(), second = dense();
  CHECK(first.name() == "dense");
  CHECK(second.name() == "dense");
  require_built(first);
  require_built(second);
  CHECK(names_of(second.variables()) == Names{"dense/kernel", "dense/bias"});
  CHECK(&first.variable("kernel") != &second.variable("kernel"));
}

TEST_CASE("a scope is in front of the names of layers and variables", "[layers]") {
  const VariableScope block({.name = "block1"});
  const VariableScope inner({.name = "inner"});
  Dense layer = dense({}, {.name = "own"});
  CHECK(layer.name() == "block1/inner/own/dense");
  require_built(layer);
  CHECK(names_of(layer.variables()) ==
        Names{"block1/inner/own/dense/kernel", "block1/inner/own/dense/bias"});
  CHECK(&layer.variable("kernel") == &layer.variable("block1/inner/own/dense/kernel"));
}

TEST_CASE("layers in a store get names that are free", "[layers]") {
  const VariableStore store;
  const auto scope = store.scope();
  CHECK(dense().name() == "dense");
  CHECK(dense("dense_1").name() == "dense_1");
  CHECK(dense().name() == "dense_2");
  CHECK(dense({}, {.default_name = "fully_connected"}).name() == "fully_connected");
  CHECK(dense({}, {.default_name = "fully_connected"}).name() == "fully_connected_1");
  CHECK(BatchNormalization().name() == "batch_normalization");
  CHECK(BatchNormalization().name() == "batch_normalization_1");
  const VariableScope block({.name = "block"});
  CHECK(dense().name() == "block/dense");
}

TEST_CASE("a layer that reuses has the variables of the first", "[layers]") {
  const VariableStore store;
  const auto scope = store.scope();
  Dense first = dense("shared");
  require_built(first);
  const Tensor kernel = random_tensor({3, 2}, 5);
  first.variable("kernel").assign(kernel);

  Dense by_option = dense("shared", {.reuse = true});
  require_built(by_option);
  CHECK(by_option.reuses_variables());
  CHECK(by_option.variables() == first.variables());
  CHECK(is_identical(Tensor::copy_of(by_option.variable("kernel").value()), kernel));
  CHECK(store.variables() == first.variables());

  const Tensor x = random_tensor({4, 3}, 7);
  CHECK(is_identical(output_of(by_option, x), output_of(first, x)));
}

TEST_CASE("what makes layers in a scope makes them share when it is called again", "[layers]") {
  const VariableStore store;
  const auto scope = store.scope();
  const auto network = [](bool reuse) {
    const VariableScope net({.name = "net", .reuse = reuse});
    std::vector<std::unique_ptr<Layer>> layers;
    layers.push_back(std::make_unique<Dense>(dense()));
    layers.push_back(std::make_unique<Dense>(dense()));
    layers.push_back(std::make_unique<BatchNormalization>(
        BatchNormalizationOptions{.renorm = true, .dtype = DType::float64}));
    return layers;
  };
  const auto first = network(false), again = network(true);
  for (std::size_t i = 0; i < first.size(); ++i) {
    require_built(*first[i]);
    require_built(*again[i]);
    CHECK(again[i]->name() == first[i]->name());
    CHECK(again[i]->variables() == first[i]->variables());
  }
  CHECK(first[0]->variables() != first[1]->variables());

  Dense one = dense({}, {.name = "net", .reuse = true});
  require_built(one);
  CHECK(one.variables() == first[0]->variables());
}

TEST_CASE("variables live as long as the store or one of their layers", "[layers]") {
  std::unique_ptr<Dense> second;
  const Tensor kernel = random_tensor({3, 2}, 5);
  {
    const VariableStore store;
    const auto scope = store.scope();
    {
      Dense first = dense("a");
      require_built(first);
      first.variable("kernel").assign(kernel);
    }
    CHECK(is_identical(Tensor::copy_of(store.variable("a/kernel").value()), kernel));
    second = std::make_unique<Dense>(dense("a", {.reuse = true}));
    require_built(*second);
  }
  CHECK(is_identical(Tensor::copy_of(second->variable("kernel").value()), kernel));
}

TEST_CASE("a frozen layer that reuses leaves the variables trainable until told", "[layers]") {
  const VariableStore store;
  const auto scope = store.scope();
  Dense first = dense("a");
  Dense frozen({.units = 2,
                .trainable = false,
                .dtype = DType::float64,
                .name = "a",
                .scope = {.reuse = true}});
  require_built(first);
  require_built(frozen);
  CHECK(first.variable("kernel").is_trainable());
  CHECK(store.collection(trainable_variables_collection) == first.variables());
  frozen.set_trainable(false);
  CHECK_FALSE(first.variable("kernel").is_trainable());
  CHECK(store.collection(trainable_variables_collection).empty());
}

TEST_CASE("reuse is refused without a store, and without a scope or name", "[layers]") {
  Dense storeless = dense("a", {.reuse = true});
  require_refusal(caught_from_build(storeless), {"'a'", "VariableStore::scope()"});

  const VariableStore store;
  const auto scope = store.scope();
  Dense original = dense();
  require_built(original);
  Dense nameless = dense({}, {.reuse = true});
  require_refusal(caught_from_build(nameless), {"'dense'", "neither a scope nor a name"});
  Dense hollow = dense("a", {.name = "b//c"});
  require_refusal(caught_from_build(hollow), {"'b//c'", "levels"});
}

TEST_CASE("reuse of what does not exist names it, and works once it does", "[layers]") {
  const VariableStore store;
  const auto root = store.scope();
  const VariableScope block({.name = "block"});
  Dense second = dense("a", {.reuse = true});
  require_refusal(caught_from_build(second), {"'block/a/kernel' does not exist", "reused"});
  CHECK(store.variables().empty());

  Dense first({.units = 2, .use_bias = false, .dtype = DType::float64, .name = "a"});
  require_built(first);
  require_refusal(caught_from_build(second), {"'block/a/bias' does not exist"});
  CHECK(names_of(store.variables()) == Names{"block/a/kernel"});

  Dense unbiased({.units = 2,
                  .use_bias = false,
                  .dtype = DType::float64,
                  .name = "a",
                  .scope = {.reuse = true}});
  require_built(unbiased);
  CHECK(unbiased.variables() == first.variables());
  Dense another = dense("b");
  require_built(another);
}

TEST_CASE("what is reused must have the shape, dtype and role", "[layers]") {
  const VariableStore store;
  const auto scope = store.scope();
  Dense first = dense("a");
  require_built(first);
  Dense wide({.units = 5, .dtype = DType::float64, .name = "a", .scope = {.reuse = true}});
  require_refusal(caught_from_build(wide), {"'a/kernel' cannot be reused", "[3, 5]", "[3, 2]"});
  Dense narrow({.units = 2, .dtype = DType::float32, .name = "a", .scope = {.reuse = true}});
  require_refusal(caught_from_build(narrow), {"'a/kernel'", "float32", "float64"});
  Dense right = dense("a", {.reuse = true});
  require_refusal(caught_from_build(right, {4, 7}), {"'a/kernel'", "[7, 2]"});
  require_built(right);
  CHECK(right.variables() == first.variables());

  Statistic odd;
  require_refusal(caught_from_build(odd), {"'a/kernel'", "float64 statistic", "float64 parameter"});
}

TEST_CASE("a second layer of a name is refused unless it reuses", "[layers]") {
  const VariableStore store;
  const auto scope = store.scope();
  Dense first = dense("a");
  Dense second = dense("a");
  require_built(first);
  require_refusal(caught_from_build(second), {"'a/kernel' exists already", "reuse"});
  CHECK(store.variables() == first.variables());
  const VariableStore another;
  const auto other_scope = another.scope();
  Dense third = dense("a");
  require_built(third);
  CHECK(third.variables() != first.variables());
}

TEST_CASE("a build that one rank spoils leaves no variable in any store", "[layers]") {
  const VariableStore store;
  const auto scope = store.scope();
  const int guilty = world().size() - 1;
  const bool is_guilty = world().rank() == guilty;
  Dense layer = dense("a", {.variables_collections = CollectionNames{"mine"}});
  const Caught caught = caught_from_build(layer, is_guilty ? Shape{4} : Shape{4, 3});
  REQUIRE_ON_ALL_RANKS(world(), caught.rank() == guilty);
  REQUIRE_ON_ALL_RANKS(world(), store.variables().empty() && store.collection("mine").empty());
  require_built(layer);
  REQUIRE_ON_ALL_RANKS(world(), store.variables() == layer.variables());
}

TEST_CASE("ranks that do not reuse alike are told so", "[layers]") {
  if (world().is_solo()) return;
  const bool is_odd = world().rank() == world().size() - 1;
  const VariableStore store;
  const auto scope = store.scope();
  Dense first = dense("a");
  require_built(first);
  const VariableStore empty;
  const auto other_scope = empty.scope();
  const auto second = [&] {
    if (is_odd) return dense("a");
    const auto back = store.scope();
    return dense("a", {.reuse = true});
  };
  Dense layer = second();
  const Caught caught = caught_from_build(layer);
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world(), caught.what.find("reuse") != std::string::npos);
  REQUIRE_ON_ALL_RANKS(world(), empty.variables().empty());
}
