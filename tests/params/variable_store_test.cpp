// Stores of variables: independent of each other, found by the scopes of a thread, with collections
// and with updates that come in order.

#include "lockstep/params/variable_store.hpp"

#include <string>
#include <thread>
#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/params/variable_scope.hpp"
#include "params/variable_place.hpp"
#include "support/catch.hpp"

namespace lockstep {
namespace {

using Catch::Matchers::Contains;

std::shared_ptr<Variable> made(const std::string& name,
                               VariableRole role = VariableRole::parameter) {
  return std::make_shared<Variable>(name, Tensor({2}), role);
}

std::vector<std::string> names_of(const std::vector<Variable*>& variables) {
  std::vector<std::string> names;
  for (const Variable* variable : variables) names.push_back(variable->name());
  return names;
}

using Names = std::vector<std::string>;

// The names that layers without one get now, one after another.
Names next_names(int count) {
  Names names;
  while (count-- > 0) names.push_back(take_free_name(current_place(), "dense"));
  return names;
}

// Writes the letters of its name, one per update.
class Letters final : public UpdateSource {
 public:
  Letters(char letter, std::string& text) : letter_(letter), text_(&text) {}
  void collect() { numbers_.push_back(next_update_number()); }
  std::optional<std::uint64_t> next_update() const noexcept override {
    if (numbers_.empty()) return std::nullopt;
    return numbers_.front();
  }
  void apply_next_update() noexcept override {
    if (numbers_.empty()) return;
    numbers_.erase(numbers_.begin());
    *text_ += letter_;
  }

 private:
  char letter_;
  std::string* text_;
  std::vector<std::uint64_t> numbers_;
};

}  // namespace

TEST_CASE("a store is current within its scope and on its thread only") {
  CHECK_FALSE(VariableStore::current());
  const VariableStore outer, inner;
  {
    const auto outer_scope = outer.scope();
    const VariableScope block({.name = "block"});
    current_place().registry->add(made("a"), {});
    {
      const auto inner_scope = inner.scope();
      CHECK(current_place().scope.empty());
      current_place().registry->add(made("b"), {});
      bool is_alone = false;
      std::thread([&] { is_alone = !VariableStore::current(); }).join();
      CHECK(is_alone);
    }
    CHECK(current_place().scope == "block");
    CHECK(names_of(VariableStore::current()->variables()) == Names{"a"});
  }
  CHECK_FALSE(VariableStore::current());
  CHECK(current_place().scope.empty());
  CHECK(names_of(outer.variables()) == Names{"a"});
  CHECK(names_of(inner.variables()) == Names{"b"});
}

TEST_CASE("a store knows its variables by name, and copies are the same store") {
  const VariableStore store;
  const VariableStore copy = store;
  const auto scope = store.scope();
  current_place().registry->add(made("net/kernel"), {});
  current_place().registry->add(made("net/bias"), {});
  CHECK(names_of(copy.variables()) == Names{"net/kernel", "net/bias"});
  CHECK(&copy.variable("net/bias") == store.variables()[1]);
  CHECK_THROWS_AS(store.variable("kernel"), ArgumentError);
  CHECK_THROWS_WITH(store.variable("kernel"),
                    Contains("'kernel'") && Contains("net/kernel, net/bias"));
}

TEST_CASE("scopes nest, end where they were opened, and reuse holds inside") {
  const VariableStore store;
  const auto root = store.scope();
  {
    const VariableScope outer({.name = "a", .reuse = true});
    const VariableScope inner({.name = "b/c"});
    CHECK(current_place().scope == "a/b/c");
    CHECK(current_place().reuses);
  }
  const VariableScope other({.name = "b"});
  CHECK(current_place().scope == "b");
  CHECK_FALSE(current_place().reuses);
}

TEST_CASE("a scope needs a name without empty levels") {
  for (const char* name : {"", "/", "/a", "a/", "a//b"}) {
    INFO(name);
    CHECK_THROWS_AS(VariableScope({.name = name}), ArgumentError);
    CHECK_THROWS_WITH(VariableScope({.name = name}),
                      Contains("'" + std::string(name) + "'") && Contains("block1"));
  }
  CHECK(current_place().scope.empty());
}

TEST_CASE("names in a store are free ones, and the same ones again where they are reused") {
  const VariableStore store;
  const auto root = store.scope();
  const auto network = [](bool reuse) {
    const VariableScope scope({.name = "net", .reuse = reuse});
    Names names = next_names(2);
    for (int i = 0; i < 2; ++i) {
      const VariableScope block({.name = "block"});
      names.push_back(next_names(1).front());
    }
    names.push_back(take_name(current_place(), "dense_2"));
    names.push_back(next_names(1).front());
    return names;
  };
  const Names first = network(false);
  CHECK(first == Names{"net/dense", "net/dense_1", "net/block/dense", "net/block/dense_1",
                       "net/dense_2", "net/dense_3"});
  CHECK(network(true) == first);
  CHECK(network(true) == first);
  CHECK(network(false).front() == "net/dense_4");
  CHECK(next_names(2) == Names{"dense", "dense_1"});
  const VariableStore other;
  const auto other_root = other.scope();
  CHECK(next_names(1) == Names{"dense"});
}

TEST_CASE("names outside of a store need not be free") {
  CHECK(next_names(2) == Names{"dense", "dense"});
  const VariableScope scope({.name = "net"});
  CHECK(next_names(2) == Names{"net/dense", "net/dense"});
}

TEST_CASE("collections hold each variable once, in the order of the store") {
  const VariableStore store;
  const auto scope = store.scope();
  VariableRegistry& registry = *current_place().registry;
  const auto gamma = made("gamma"), beta = made("beta");
  const auto mean = made("mean", VariableRole::statistic);
  for (const auto& variable : {gamma, beta, mean}) registry.add(variable, {});
  registry.add(mean, Names{"mine"});
  registry.add(gamma, Names{"mine", "yours", "mine"});
  registry.add(gamma, Names{"mine"});
  CHECK(names_of(store.variables()) == Names{"gamma", "beta", "mean"});
  CHECK(names_of(store.collection("mine")) == Names{"gamma", "mean"});
  CHECK(names_of(store.collection("yours")) == Names{"gamma"});
  CHECK(store.collection("nobody's").empty());

  CHECK(names_of(store.collection("trainable_variables")) == Names{"gamma", "beta"});
  beta->set_trainable(false);
  CHECK(names_of(store.collection(trainable_variables_collection)) == Names{"gamma"});
}

TEST_CASE("outputs are in their collections while their layer lives") {
  const VariableStore store;
  const auto scope = store.scope();
  const std::vector<float> values(6);
  const auto first = std::make_shared<CollectedOutput>(CollectedOutput{"a", {}});
  auto second = std::make_shared<CollectedOutput>(CollectedOutput{"b", view(values, {3, 2})});
  current_place().registry->add_output("outputs", first);
  current_place().registry->add_output("outputs", second);
  current_place().registry->add_output("outputs", second);
  CHECK(store.outputs("inputs").empty());
  REQUIRE(store.outputs("outputs").size() == 1);
  CHECK(store.outputs("outputs")[0].layer == "b");
  CHECK(store.outputs("outputs")[0].value.data() == values.data());
  first->value = view(values, {2, 3});
  REQUIRE(store.outputs("outputs").size() == 2);
  CHECK(store.outputs("outputs")[0].value.shape() == Shape{2, 3});
  second.reset();
  CHECK(store.outputs("outputs").size() == 1);
}

TEST_CASE("updates are made in the order in which they came, each once") {
  const VariableStore store;
  const auto scope = store.scope();
  VariableRegistry& registry = *current_place().registry;
  std::string text;
  const auto a = std::make_shared<Letters>('a', text), b = std::make_shared<Letters>('b', text);
  auto gone = std::make_shared<Letters>('g', text);
  for (const auto& source : {b, a, a, gone}) registry.add_updates("update_ops", source);
  registry.add_updates("others", b);
  store.apply_updates();
  CHECK(text.empty());

  for (const auto& source : {a, gone, b, b, a, b}) source->collect();
  gone.reset();
  store.apply_updates("nobody's");
  CHECK(text.empty());
  store.apply_updates();
  CHECK(text == "abbab");
  store.apply_updates();
  CHECK(text == "abbab");

  for (const auto& source : {b, a}) source->collect();
  store.apply_updates("others");
  CHECK(text == "abbabb");
  store.apply_updates("update_ops");
  CHECK(text == "abbabba");
}

}  // namespace lockstep
