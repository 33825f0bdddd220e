// Models whose batch normalization becomes synchronized and back, at any time, on any ranks.

#include "lockstep/model/synchronize.hpp"

#include <string>
#include <vector>

#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/presets.hpp"
#include "lockstep/layers/residual.hpp"
#include "lockstep/params/variable_scope.hpp"
#include "lockstep/params/variable_store.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

const Strategy& strategy() {
  static const Strategy world{Communicator::world()};
  return world;
}
const Communicator& world() { return strategy().replicas(); }

// Batch normalization with much to lose.
std::vector<BatchNormalizationOptions> rich_options() {
  return {{.momentum = std::nullopt,
           .epsilon = 0.25,
           .scale = false,
           .moving_mean_initializer = Constant{0.5},
           .activation = ActivationFunction::relu,
           .nonfinite = Nonfinite::warn,
           .mode = Mode::training,
           .synchronization_group = BySize{2},
           .name = "first"},
          {.renorm = true,
           .renorm_clipping = {.rmax = 3.0},
           .updates = Updates::deferred,
           .trainable = false,
           .frozen_mode = FrozenMode::batch_statistics_updating,
           .scope = {.name = "inner", .default_name = "norm"}},
          contrib({.decay = 0.5, .zero_debias_moving_mean = true, .scope = "contrib/norm"})};
}

Sequential rich_model(bool is_synchronized) {
  Sequential model({.dtype = DType::float64, .seed = 3}, strategy());
  for (BatchNormalizationOptions options : rich_options()) {
    options.synchronized = is_synchronized;
    model.add(Dense({.units = 4, .activation = ActivationFunction::tanh, .input_shape = Shape{4}}));
    model.add(BatchNormalization(std::move(options)));
  }
  return model;
}

std::int64_t num_samples() { return 3 + world().rank(); }

// One step of plain gradient descent over all ranks.
void train(Sequential& model, std::uint64_t step) {
  const auto rank = static_cast<std::uint64_t>(world().rank());
  const Tensor x = random_tensor({num_samples(), 4}, 10 * step + rank);
  const Tensor& y = model.forward(x, {.mode = Mode::training});
  model.backward(random_tensor(y.shape(), 1000 + 10 * step + rank));
  for (Variable* variable : model.variables()) {
    if (!variable->is_trainable()) continue;
    const auto gradient = variable->grad().values<double>();
    if (variable->gradient_scope() == GradientScope::local)
      allreduce(world(), gradient, Reduction::sum);
    const auto values = variable->value().values<double>();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] -= 0.05 * gradient[i];
  }
  model.apply_updates();
}

// Everything about the layers of a model but what the variables hold.
std::vector<std::string> facts_of(Sequential& model) {
  std::vector<std::string> facts;
  for (const Layer* layer : model.layers())
    facts.push_back(layer->name() + layer->variable_scope() + layer->configuration());
  return facts;
}

std::vector<Tensor> values_of(Sequential& model) {
  std::vector<Tensor> values;
  for (const Variable* variable : model.variables())
    values.push_back(Tensor::copy_of(variable->value()));
  return values;
}

bool is_identical(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  return std::ranges::equal(
      a, b, [](const Tensor& x, const Tensor& y) { return testing::is_identical(x, y); });
}

std::vector<const BatchNormalization*> normalizations_of(Sequential& model) {
  std::vector<const BatchNormalization*> found;
  for (const Layer* layer : model.layers())
    if (const auto* normalization = dynamic_cast<const BatchNormalization*>(layer))
      found.push_back(normalization);
  return found;
}

bool all_are(Sequential& model, bool is_synchronized) {
  return std::ranges::all_of(normalizations_of(model), [&](const BatchNormalization* layer) {
    return layer->options().synchronized == is_synchronized;
  });
}

void require_agreed_refusal(Sequential& model, ErrorCode code, const std::string& part) {
  const auto before = facts_of(model);
  const Caught caught = caught_from([&] { synchronize_batch_normalization(model); });
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
  REQUIRE_ON_ALL_RANKS(world(), caught.is(code));
  REQUIRE_ON_ALL_RANKS(world(), caught.what.find(part) != std::string::npos);
  REQUIRE_ON_ALL_RANKS(world(), facts_of(model) == before);
}

}  // namespace

TEST_CASE("there and back again nothing has changed, before variables and after training") {
  for (const bool begins_synchronized : {false, true})
    for (const int num_steps : {-2, -1, 0, 2}) {  // -2: no variables, -1: not built
      Sequential model = rich_model(begins_synchronized);
      if (num_steps == -1) (void)model.variables();
      if (num_steps >= 0) model.build({1, 4});
      for (int step = 0; step < num_steps; ++step)
        train(model, static_cast<std::uint64_t>(step) + 1);
      if (!begins_synchronized && num_steps > 0) continue;  // ranks come together: next case
      const auto facts = facts_of(model);
      const auto configuration = model.configuration();
      const auto layers = model.layers();
      const auto values = num_steps < -1 ? std::vector<Tensor>() : values_of(model);
      const auto change =
          begins_synchronized ? desynchronize_batch_normalization : synchronize_batch_normalization;
      const auto change_back =
          begins_synchronized ? synchronize_batch_normalization : desynchronize_batch_normalization;
      REQUIRE_ON_ALL_RANKS(world(), change(model) == 3);
      REQUIRE_ON_ALL_RANKS(world(), all_are(model, !begins_synchronized));
      REQUIRE_ON_ALL_RANKS(world(), change(model) == 0);
      REQUIRE_ON_ALL_RANKS(world(), model.configuration() != configuration);
      if (num_steps >= -1) REQUIRE_ON_ALL_RANKS(world(), is_identical(values_of(model), values));
      REQUIRE_ON_ALL_RANKS(world(), change_back(model) == 3);
      REQUIRE_ON_ALL_RANKS(world(), facts_of(model) == facts);
      REQUIRE_ON_ALL_RANKS(world(), model.configuration() == configuration);
      REQUIRE_ON_ALL_RANKS(world(), model.layers() == layers);
      if (num_steps >= -1) REQUIRE_ON_ALL_RANKS(world(), is_identical(values_of(model), values));
    }
}

TEST_CASE("a converted model differs from one that was made so in nothing, and learns the same") {
  for (const bool is_synchronized : {false, true})
    for (const bool is_built_before : {false, true}) {
      Sequential made = rich_model(is_synchronized), converted = rich_model(!is_synchronized);
      made.build({1, 4});
      if (is_built_before) converted.build({1, 4});
      REQUIRE_ON_ALL_RANKS(world(),
                           (is_synchronized ? synchronize_batch_normalization
                                            : desynchronize_batch_normalization)(converted) == 3);
      if (!is_built_before) converted.build({1, 4});
      REQUIRE_ON_ALL_RANKS(world(), facts_of(converted) == facts_of(made));
      for (std::uint64_t step = 1; step <= 3; ++step) {
        train(made, step);
        train(converted, step);
      }
      REQUIRE_ON_ALL_RANKS(world(), is_identical(values_of(converted), values_of(made)));
    }
}

TEST_CASE("a model that was taken apart and put together again goes on as if nothing had been") {
  Sequential model = rich_model(true), other = rich_model(true);
  for (Sequential* each : {&model, &other}) {
    each->build({1, 4});
    train(*each, 1);
  }
  desynchronize_batch_normalization(model);
  synchronize_batch_normalization(model);
  for (Sequential* each : {&model, &other}) train(*each, 2);
  REQUIRE_ON_ALL_RANKS(world(), is_identical(values_of(model), values_of(other)));
}

TEST_CASE("ranks that come together have one set of statistics, that of the first in each group") {
  Sequential model = rich_model(false);
  model.build({1, 4});
  train(model, 1);
  const auto before = values_of(model);
  synchronize_batch_normalization(model);
  const bool is_first = world().rank() == 0;
  REQUIRE_ON_ALL_RANKS(world(), !is_first || is_identical(values_of(model), before));
  for (const BatchNormalization* layer : normalizations_of(model)) {
    auto* own = dynamic_cast<BatchNormalization*>(&model.layer(layer->name()));
    for (const Variable* variable : own->variables()) {
      const auto* bytes = static_cast<const std::byte*>(variable->value().data());
      const auto size =
          static_cast<std::size_t>(variable->num_elements()) * size_of(variable->dtype());
      REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(own->statistics_group(), {bytes, size}));
    }
  }
  train(model, 2);  // about one center, so that replicas stay replicas
  const auto kernel = model.variable("dense/kernel").value().values<double>();
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), std::as_bytes(kernel)));
}

TEST_CASE("variables in a store stay where they are") {
  const VariableStore store;
  const auto scope = store.scope();
  const VariableScope block({.name = "block"});
  Sequential model({.dtype = DType::float64}, strategy());
  model.add(BatchNormalization());
  model.add(BatchNormalization({.name = "again"}));
  model.build({1, 4});
  const auto variables = store.variables();
  synchronize_batch_normalization(model);
  REQUIRE_ON_ALL_RANKS(world(), model.variables() == variables);
  REQUIRE_ON_ALL_RANKS(world(), store.variables() == variables);
}

TEST_CASE("a layer that cannot be synchronized is named, and no layer is changed") {
  Sequential model({.dtype = DType::float64, .name = "net"}, strategy());
  model.add(BatchNormalization({.name = "good"}));
  model.add(BatchNormalization({.fused = true, .name = "bad"}));
  SECTION("before build, by build") {
    REQUIRE_ON_ALL_RANKS(world(), synchronize_batch_normalization(model) == 2);
    const Caught caught = caught_from([&] { model.build({1, 2, 2, 3}); });
    REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
    REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::argument));
    REQUIRE_ON_ALL_RANKS(world(), caught.what.find("'bad'") != std::string::npos);
  }
  SECTION("once there are variables, at once") {
    for (Layer* layer : model.layers()) layer->create({1, 2, 2, 3}, DType::float64, 0);
    require_agreed_refusal(model, ErrorCode::argument, "'bad'");
  }
  SECTION("after build, at once") {
    model.build({1, 2, 2, 3});
    require_agreed_refusal(model, ErrorCode::argument, "'bad'");
  }
}

TEST_CASE("channels along the batch axis are refused in a model") {
  Sequential model({.dtype = DType::float64}, strategy());
  model.add(BatchNormalization({.name = "good"}));
  model.add(BatchNormalization({.axis = 0, .name = "by_sample"}));
  const Caught caught = caught_from([&] { model.build({4, 4}); });
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::argument));
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
  REQUIRE_ON_ALL_RANKS(world(), caught.what.find("'by_sample'") != std::string::npos);
  REQUIRE_ON_ALL_RANKS(world(), caught.what.find("batch axis") != std::string::npos);
}

TEST_CASE("channels along the batch axis are refused where any group has several ranks") {
  BatchNormalizationOptions options{
      .axis = 0, .synchronization_group = BySize{2}, .name = "by_sample"};
  const auto refused_by = [&](auto&& call) {
    const Caught caught = caught_from(call);
    REQUIRE_ON_ALL_RANKS(world(), caught.what.empty() == world().is_solo());
    if (world().is_solo()) return;
    REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
    REQUIRE_ON_ALL_RANKS(world(), caught.what.find("'by_sample'") != std::string::npos);
    REQUIRE_ON_ALL_RANKS(world(), caught.what.find("batch axis") != std::string::npos);
  };
  SECTION("after build") {
    BatchNormalization layer(options);
    layer.build({4, 3}, world());
    refused_by([&] { layer.set_synchronized(true); });
    REQUIRE_ON_ALL_RANKS(world(), layer.options().synchronized == world().is_solo());
  }
  SECTION("by build") {
    options.synchronized = true;
    BatchNormalization layer(options);
    refused_by([&] { layer.build({4, 3}, world()); });
  }
}

TEST_CASE("deferred updates must be made before") {
  Sequential model({.dtype = DType::float64}, strategy());
  model.add(BatchNormalization({.name = "at_once"}));
  model.add(BatchNormalization({.updates = Updates::deferred, .name = "later"}));
  model.build({1, 4});
  model.forward(random_tensor({3, 4}, 1), {.mode = Mode::training});
  require_agreed_refusal(model, ErrorCode::state, "'later'");
  model.apply_updates();
  REQUIRE_ON_ALL_RANKS(world(), synchronize_batch_normalization(model) == 2);
}

TEST_CASE("what was recorded before cannot be differentiated afterwards") {
  Sequential model({.dtype = DType::float64}, strategy());
  model.add(BatchNormalization());
  model.build({1, 4});
  const Tensor x = random_tensor({3, 4}, 1);
  model.forward(x, {.mode = Mode::training});
  synchronize_batch_normalization(model);
  const Caught caught = caught_from([&] { model.backward(x); });
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::state));
  model.forward(x, {.mode = Mode::training});
  model.backward(x);
}

TEST_CASE("ranks that convert different models, or in different ways, hear of it") {
  if (world().is_solo()) return;
  const bool is_first = world().rank() == 0;
  Sequential model({.dtype = DType::float64, .name = "net"}, strategy());
  model.add(BatchNormalization({.name = is_first ? "a" : "b"}));
  require_agreed_refusal(model, ErrorCode::mismatch, "layer");

  Sequential same({.dtype = DType::float64}, strategy());
  same.add(BatchNormalization({.name = "norm"}));
  same.add(BatchNormalization({.synchronized = true, .name = "other"}));
  same.build({1, 4});
  const auto before = facts_of(same);
  const Caught caught = caught_from([&] {
    (is_first ? synchronize_batch_normalization : desynchronize_batch_normalization)(same);
  });
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world(), facts_of(same) == before);
}

TEST_CASE("a layer alone is converted likewise") {
  BatchNormalization layer({.dtype = DType::float64});
  layer.set_synchronized(true);
  layer.build({2, 3}, world());
  REQUIRE_ON_ALL_RANKS(world(), layer.statistics_group().size() == world().size());
  layer.set_synchronized(true);
  layer.set_synchronized(false);
  REQUIRE_ON_ALL_RANKS(world(), layer.statistics_group().size() == 1);
  if (world().is_solo()) return;
  const Caught caught = caught_from([&] { layer.set_synchronized(world().rank() == 0); });
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::mismatch));
}

TEST_CASE("batch normalization inside of other layers is converted with them") {
  const auto make = [](bool is_synchronized) {
    const BatchNormalizationOptions options{.synchronized = is_synchronized};
    Sequential model({.dtype = DType::float64, .seed = 3}, strategy());
    model.add(Dense({.units = 4, .normalizer = options, .input_shape = Shape{4}}));
    Residual block({.activation = ActivationFunction::relu});
    block.add_main(Dense({.units = 4})).add_main(BatchNormalization(options));
    model.add(std::move(block));
    model.build();
    return model;
  };
  for (const bool is_synchronized : {false, true}) {
    Sequential made = make(is_synchronized), converted = make(!is_synchronized);
    const int count = (is_synchronized ? synchronize_batch_normalization
                                       : desynchronize_batch_normalization)(converted);
    REQUIRE_ON_ALL_RANKS(world(), count == 2);
    REQUIRE_ON_ALL_RANKS(world(), facts_of(converted) == facts_of(made));
    for (std::uint64_t step = 1; step <= 3; ++step) {
      train(made, step);
      train(converted, step);
    }
    REQUIRE_ON_ALL_RANKS(world(), is_identical(values_of(converted), values_of(made)));
  }
}
