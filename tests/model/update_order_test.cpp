// Updates that the layers of a model defer: in the order of the calls over all layers, each once.

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "lockstep/model/sequential.hpp"
#include "lockstep/params/variable_store.hpp"
#include "support/catch.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

struct DigitTape final : Tape {
  bool is_pending = false;
};

// y = x; every committed call defers the update history = 10 * history + digit. Layers that share
// the history show the order in which their updates were made.
class Digit final : public Layer {
 public:
  Digit(int digit, const std::string& name, ScopeOptions scope)
      : Layer(traits(name, std::move(scope))), digit_(digit) {}

  Shape output_shape(const Shape& input_shape) const override { return input_shape; }
  std::string configuration() const override { return "digit " + std::to_string(digit_); }
  std::unique_ptr<Tape> make_tape() const override { return std::make_unique<DigitTape>(); }

  void forward(const TensorView& input, const MutableTensorView& output,
               const Call& call) override {
    check_call(input, output);
    for (std::size_t i = 0; i < input.values<double>().size(); ++i)
      output.values<double>()[i] = input.values<double>()[i];
    if (call.tape == nullptr) return;
    dynamic_cast<DigitTape&>(*call.tape).is_pending = true;
    if (call.commit == Commit::at_once) commit(*call.tape);
  }

  void backward(Tape&, const TensorView&, const MutableTensorView&, Gradients) override {}

  void commit(Tape& tape) noexcept override {
    if (!std::exchange(dynamic_cast<DigitTape&>(tape).is_pending, false)) return;
    history_->collect();
  }

 private:
  class History final : public UpdateSource {
   public:
    History(Variable& variable, int digit) : variable_(&variable), digit_(digit) {}
    void collect() { numbers_.push_back(next_update_number()); }
    std::optional<std::uint64_t> next_update() const noexcept override {
      if (numbers_.empty()) return std::nullopt;
      return numbers_.front();
    }
    void apply_next_update() noexcept override {
      if (numbers_.empty()) return;
      numbers_.pop_front();
      double& value = variable_->value().values<double>()[0];
      value = 10.0 * value + digit_;
    }

   private:
    Variable* variable_;
    int digit_;
    std::list<std::uint64_t> numbers_;
  };

  static LayerTraits traits(const std::string& name, ScopeOptions scope) {
    LayerTraits traits;
    traits.type = "Digit";
    traits.name = name;
    traits.scope = std::move(scope);
    return traits;
  }

  void do_create(const Shape&) override {
    Variable& variable = add_variable("history", Tensor({1}, dtype()), VariableRole::statistic);
    history_ = std::make_shared<History>(variable, digit_);
    set_update_source(history_);
  }

  int digit_;
  std::shared_ptr<History> history_;
};

Sequential digits(const std::string& collection) {
  Sequential model({.dtype = DType::float64}, Strategy());
  model.add(Digit(1, "a", {.updates_collections = {collection, "all"}}));
  model.add(Digit(2, "a", {.reuse = true, .updates_collections = {"twos", "all"}}));
  model.add(Digit(3, "a", {.reuse = true, .updates_collections = {collection, "all"}}));
  model.build({1, 1});
  return model;
}

void train(Sequential& model) {
  static_cast<void>(model.forward(Tensor({1, 1}, DType::float64), {.mode = Mode::training}));
}

double history_of(const VariableStore& store) {
  return values_of(store.variable("a/history")).front();
}

}  // namespace

TEST_CASE("a model makes deferred updates in the order of the calls, each once", "[model]") {
  const VariableStore store;
  const auto scope = store.scope();
  Sequential model = digits(update_ops_collection);
  model.apply_updates();
  REQUIRE(history_of(store) == 0.0);
  train(model);
  train(model);
  REQUIRE(history_of(store) == 0.0);
  model.apply_updates();
  REQUIRE(history_of(store) == 123123.0);
  model.apply_updates();
  store.apply_updates();
  REQUIRE(history_of(store) == 123123.0);
}

TEST_CASE("a collection makes the updates of its layers in the order of the calls", "[model]") {
  const VariableStore store;
  const auto scope = store.scope();
  Sequential model = digits(update_ops_collection);
  train(model);
  train(model);
  store.apply_updates();
  REQUIRE(history_of(store) == 1313.0);
  store.apply_updates("twos");
  REQUIRE(history_of(store) == 131322.0);
  store.apply_updates("all");
  REQUIRE(history_of(store) == 131322.0);

  train(model);
  model.layers()[2]->apply_updates();
  REQUIRE(history_of(store) == 1313223.0);
  store.apply_updates("all");
  REQUIRE(history_of(store) == 131322312.0);
}

TEST_CASE("updates of layers that are gone are not made", "[model]") {
  const VariableStore store;
  const auto scope = store.scope();
  {
    Sequential model = digits(update_ops_collection);
    train(model);
  }
  store.apply_updates();
  REQUIRE(history_of(store) == 0.0);
}

TEST_CASE("calls that are not committed defer nothing", "[model]") {
  const VariableStore store;
  const auto scope = store.scope();
  Sequential model = digits(update_ops_collection);
  const Tensor x({1, 1}, DType::float64);
  static_cast<void>(model.forward(x, {.mode = Mode::training, .commit = Commit::by_caller}));
  model.apply_updates();
  REQUIRE(history_of(store) == 0.0);
  model.commit();
  model.commit();
  model.apply_updates();
  REQUIRE(history_of(store) == 123.0);
}
