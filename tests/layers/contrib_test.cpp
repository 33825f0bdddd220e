// contrib's batch_norm by its own parameters, on any number of ranks.

#include <cmath>
#include <vector>

#include "layers/scoped_layers.hpp"
#include "layers/system_reference.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/presets.hpp"
#include "lockstep/model/sequential.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr double tolerance = 1e-13;

BatchNormalization batch_norm(ContribOptions options = {}) {
  BatchNormalizationOptions result = contrib(std::move(options));
  result.dtype = DType::float64;
  return BatchNormalization(std::move(result));
}

Tensor output_of_training(BatchNormalization& layer, const Tensor& x) {
  return output_of(layer, x, {.mode = Mode::training});
}

// What refuses `options`, the same on all ranks.
void require_refused(ContribOptions options, const std::vector<std::string>& parts,
                     const Shape& shape = {4, 3}) {
  BatchNormalization layer = batch_norm(std::move(options));
  require_refusal(caught_from_build(layer, shape), parts);
}

}  // namespace

TEST_CASE("contrib's defaults give contrib's numbers") {
  const System matrices{.old_weight = 0.999, .epsilon = 1e-3, .is_unbiased = true};
  CHECK(deviation_from(matrices, contrib(), {6, 3}) < tolerance);
  System images = matrices;
  images.channel_axis = 3;
  CHECK(deviation_from(images, contrib(), {2, 2, 3, 4}) < tolerance);
  images.channel_axis = 1;
  CHECK(deviation_from(images, contrib({.data_format = "NCHW"}), {2, 4, 2, 3}) < tolerance);
  System sequences{.old_weight = 0.999, .epsilon = 1e-3, .channel_axis = 2};
  CHECK(deviation_from(sequences, contrib(), {3, 2, 4}) < tolerance);
  System custom{.old_weight = 0.75, .epsilon = 0.5, .is_unbiased = true};
  CHECK(deviation_from(custom, contrib({.decay = 0.75, .epsilon = 0.5}), {6, 3}) < tolerance);
}

TEST_CASE("contrib's names say which variables there are and what they begin with") {
  const VariableStore store;
  const auto scope = store.scope();
  BatchNormalization first = batch_norm(), second = batch_norm();
  BatchNormalization scaled = batch_norm({.center = false, .scale = true, .scope = "block/norm"});
  for (BatchNormalization* layer : {&first, &second, &scaled}) require_built(*layer);
  const auto has = [&](const char* name) {
    return testing::caught_from([&] { (void)store.variable(name); }).what.empty();
  };
  for (const char* name : {"BatchNorm/beta", "BatchNorm/moving_mean", "BatchNorm/moving_variance",
                           "BatchNorm_1/beta", "block/norm/gamma", "block/norm/moving_mean"})
    REQUIRE_ON_ALL_RANKS(world(), has(name));
  for (const char* name : {"BatchNorm/gamma", "block/norm/beta"})
    REQUIRE_ON_ALL_RANKS(world(), !has(name));
}

TEST_CASE("contrib's reuse shares the variables of a scope, and needs one") {
  const VariableStore store;
  const auto scope = store.scope();
  BatchNormalization first = batch_norm({.scope = "norm"});
  BatchNormalization second = batch_norm({.reuse = true, .scope = "norm"});
  require_built(first);
  require_built(second);
  REQUIRE_ON_ALL_RANKS(world(), first.variables() == second.variables());
  require_refused({.reuse = true}, {"scope"});
  require_refused({.reuse = true, .scope = "other"}, {"'other/beta'"});
  require_refused({.scope = "norm"}, {"'norm/beta'", "exists"});
}

TEST_CASE("contrib's initializers and regularizers reach their variables") {
  BatchNormalization layer =
      batch_norm({.scale = true,
                  .param_initializers = {.beta = Constant{1.0},
                                         .gamma = Constant{2.0},
                                         .moving_mean = Constant{3.0},
                                         .moving_variance = Constant{4.0}},
                  .param_regularizers = {.beta = contrib_l1_regularizer(0.5),
                                         .gamma = contrib_l2_regularizer(0.5)}});
  require_built(layer);
  double expected = 1.0;
  for (const char* name : {"beta", "gamma", "moving_mean", "moving_variance"})
    REQUIRE_ON_ALL_RANKS(world(),
                         values_of(layer.variable(name)) ==
                             std::vector<double>(3, std::exchange(expected, expected + 1)));
  REQUIRE_ON_ALL_RANKS(world(), regularization_loss(layer.beta()) == 0.5 * 3.0 * 1.0);
  REQUIRE_ON_ALL_RANKS(world(), regularization_loss(layer.gamma()) == 0.5 * 3.0 * 4.0 / 2.0);
  require_refused({.param_initializers = {.moving_variance = Constant{-1.0}}}, {"moving_variance"});
  require_refused({.param_regularizers = {.beta = contrib_l2_regularizer(-1.0)}}, {"l2"});
}

TEST_CASE("is_training is the mode of calls that name none") {
  const Tensor x = random_tensor({4, 3}, 1);
  for (const bool is_training : {true, false}) {
    BatchNormalization layer = batch_norm({.is_training = is_training});
    require_built(layer);
    const Mode mode = is_training ? Mode::training : Mode::inference;
    REQUIRE_ON_ALL_RANKS(world(), layer.mode() == mode);
    const Tensor y = output_of(layer, x), of_mode = output_of(layer, x, {.mode = mode});
    REQUIRE_ON_ALL_RANKS(world(), distance_of(y, of_mode) < tolerance);
    layer.set_mode(Mode::inference);
    const double scale = 1.0 / std::sqrt(1.0 + 1e-3);
    const double first = output_of(layer, x).values<double>()[0];
    REQUIRE_ON_ALL_RANKS(world(), std::abs(first - scale * x.values<double>()[0]) < 1e-12);
    const bool differs = std::abs(first - y.values<double>()[0]) > 0.01;
    REQUIRE_ON_ALL_RANKS(world(), differs == is_training);
  }
}

TEST_CASE("updates wait for their collections, or for nothing") {
  const VariableStore store;
  const auto scope = store.scope();
  BatchNormalization by_default = batch_norm();
  BatchNormalization other = batch_norm({.updates_collections = {"a", "b"}});
  BatchNormalization at_once = batch_norm({.updates_collections = {}});
  const Tensor x = random_tensor({4, 3}, 2);
  for (BatchNormalization* layer : {&by_default, &other, &at_once}) {
    require_built(*layer);
    (void)output_of_training(*layer, x);
  }
  const std::vector<double> before(3, 0.0), after = values_of(at_once.moving_mean());
  REQUIRE_ON_ALL_RANKS(world(), after != before);
  REQUIRE_ON_ALL_RANKS(world(), values_of(by_default.moving_mean()) == before);
  store.apply_updates();
  REQUIRE_ON_ALL_RANKS(world(), values_of(by_default.moving_mean()) == after);
  REQUIRE_ON_ALL_RANKS(world(), values_of(other.moving_mean()) == before);
  store.apply_updates("b");
  store.apply_updates("a");
  REQUIRE_ON_ALL_RANKS(world(), values_of(other.moving_mean()) == after);
}

TEST_CASE("variables and outputs are in contrib's collections") {
  const VariableStore store;
  const auto scope = store.scope();
  BatchNormalization layer =
      batch_norm({.variables_collections = CollectionsByVariable{{"beta", {"betas"}}},
                  .outputs_collections = {"activations"},
                  .trainable = false});
  require_built(layer);
  Tensor y({4, 3}, DType::float64);
  layer.forward(random_tensor({4, 3}, 3), y, {});
  REQUIRE_ON_ALL_RANKS(world(), names_of(store.collection("betas")) == Names{"BatchNorm/beta"});
  REQUIRE_ON_ALL_RANKS(world(), store.collection(trainable_variables_collection).empty());
  const auto outputs = store.outputs("activations");
  REQUIRE_ON_ALL_RANKS(world(), outputs.size() == 1 && outputs[0].value.data() == y.data());
}

TEST_CASE("a frozen layer of contrib normalizes by the batch and learns nothing") {
  BatchNormalization layer = batch_norm({.trainable = false, .synchronized = true});
  require_built(layer);
  const std::vector<double> before = values_of(layer.moving_mean());
  const Tensor y = output_of_training(layer, random_tensor({4, 3}, 4));
  double sum = 0.0;
  for (std::size_t i = 0; i < 12; i += 3) sum += y.values<double>()[i];
  layer.apply_updates();
  REQUIRE_ON_ALL_RANKS(world(), std::abs(sum) < 1e-13);
  REQUIRE_ON_ALL_RANKS(world(), values_of(layer.moving_mean()) == before);
  REQUIRE_ON_ALL_RANKS(world(), !layer.beta().is_trainable());
}

TEST_CASE("activation, zero debias and adjustment are those of the layer") {
  const Tensor x = random_tensor({4, 3}, 5);
  BatchNormalization relu =
      batch_norm({.activation_fn = ActivationFunction::relu, .zero_debias_moving_mean = true});
  BatchNormalization linear = batch_norm({.adjustment = [](const Shape&) {
    const std::vector<double> two{2.0}, one{1.0};
    return Adjustment{Tensor::of(std::span(two), {1}), Tensor::of(std::span(one), {1})};
  }});
  require_built(relu);
  require_built(linear);
  BatchNormalizationTape tape;
  const Tensor y = output_of(relu, x, {.tape = &tape});
  const Tensor z = output_of_training(linear, x);
  std::vector<double> expected;
  for (const double value : z.values<double>()) expected.push_back(std::max((value - 1) / 2, 0.0));
  REQUIRE_ON_ALL_RANKS(world(), distance(y.values<double>(), expected) < tolerance);
  relu.apply_updates();
  REQUIRE_ON_ALL_RANKS(world(),
                       distance(values_of(relu.moving_mean()), tape.batch_mean()) < tolerance);
}

TEST_CASE("renorm_decay is that of the renorm statistics, decay that of the moving ones") {
  const double epsilon = 0.25;
  BatchNormalization layer = batch_norm({.decay = 0.5,
                                         .epsilon = epsilon,
                                         .renorm = true,
                                         .renorm_clipping = {{"rmax", 1.5}, {"dmax", 0.25}},
                                         .renorm_decay = 0.75});
  require_built(layer, {2, 1});
  const std::vector<double> values{2.0, 4.0};  // mean 3, variance 1
  const Tensor x = Tensor::of(std::span(values), {2, 1});
  const Tensor y = output_of_training(layer, x);
  layer.apply_updates();
  const double stddev = std::sqrt(1.0 + epsilon);
  const auto is = [&](const char* name, double expected) {
    return std::abs(values_of(layer.variable(name))[0] - expected) < tolerance;
  };
  // r = stddev / 1 below rmax; d = 3 / 1 above dmax.
  REQUIRE_ON_ALL_RANKS(world(), std::abs(y.values<double>()[1] - 1.25) < tolerance);
  REQUIRE_ON_ALL_RANKS(world(), is("renorm_mean", 0.25 * 3.0));
  REQUIRE_ON_ALL_RANKS(world(), is("renorm_stddev", 0.75 + 0.25 * stddev));
  REQUIRE_ON_ALL_RANKS(world(), is("moving_mean", 0.5 * 3.0));
  REQUIRE_ON_ALL_RANKS(world(), is("moving_stddev", 0.5 + 0.5 * stddev));
}

TEST_CASE("what contrib refuses is refused when built, on all ranks alike") {
  require_refused({.data_format = "NHCW"}, {"data_format", "NCHW", "NHWC", "'NHCW'"});
  require_refused({.data_format = ""}, {"data_format", "NCHW", "NHWC"});
  require_refused({}, {"NHWC", "rank 2"}, {4});
  require_refused({.renorm = true, .renorm_clipping = {{"rmin", 0.5}, {"max", 1.0}}}, {"'max'"});
  require_refused({.renorm_clipping = {{"max", 1.0}}}, {"'max'"});
  require_refused({.zero_debias_moving_mean = true, .renorm = true}, {"zero_debias"});
  require_refused({.updates_collections = {}, .renorm = true}, {"collection"});
  require_refused({.updates_collections = {"mine"}, .renorm = true}, {"collection"});
  require_refused({.updates_collections = {update_ops_collection, "mine"}, .renorm = true},
                  {"collection"});

  BatchNormalization layer = batch_norm({.renorm = true, .synchronized = true});
  require_built(layer);
  const std::vector<double> weights(4, 1.0);
  const Tensor x = random_tensor({4, 3}, 6);
  Tensor y({4, 3}, DType::float64);
  const auto caught = caught_from(
      [&] { layer.forward(x, y, {.mode = Mode::training, .batch_weights = view(weights, {4})}); });
  require_refusal(caught, {"batch_weights"});
}

TEST_CASE("what one rank alone gets wrong is refused on all ranks") {
  const bool is_last = world().rank() == world().size() - 1;
  ContribOptions options;
  if (is_last) options.renorm_clipping = {{"max", 1.0}};
  require_refused(options, {"'max'"});
  options = {};
  if (is_last) options.data_format = "channels_last";
  require_refused(options, {"'channels_last'"});
  if (world().is_solo()) return;
  BatchNormalization layer = batch_norm({.is_training = !is_last});
  const Caught caught = caught_from_build(layer);
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world(), caught.what.find("mode") != std::string::npos);
}

TEST_CASE("synchronized, contrib's statistics are those of one process with all samples") {
  const std::int64_t total = 3 * world().size();
  const Tensor all = random_tensor({total, 2, 2, 3}, 8);
  const Tensor mine = rows_of(all, 3 * world().rank(), 3);
  BatchNormalization together = batch_norm({.decay = 0.5, .synchronized = true});
  BatchNormalization alone = batch_norm({.decay = 0.5, .scope = "alone"});
  require_built(together, {3, 2, 2, 3});
  alone.build({total, 2, 2, 3}, Communicator());
  (void)output_of_training(together, mine);
  (void)output_of_training(alone, all);
  together.apply_updates();
  alone.apply_updates();
  REQUIRE_ON_ALL_RANKS(world(), distance(values_of(together.moving_variance()),
                                         values_of(alone.moving_variance())) < tolerance);
}

TEST_CASE("weights on some ranks alone would part what the ranks learn, and are refused") {
  if (world().is_solo()) return;
  BatchNormalization layer = batch_norm({.synchronized = true});
  require_built(layer);
  const std::vector<double> weights(4, 1.0);
  Call call{.mode = Mode::training};
  if (world().rank() == 0) call.batch_weights = view(weights, {4});
  const Caught caught = caught_from([&] {
    (void)output_of(layer, random_tensor({4, 3}, 9), call);
  });
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world(), caught.what.find("no weights") != std::string::npos);
}

TEST_CASE("contrib's batch_norm normalizes what another layer makes, in the mode of that layer") {
  const VariableStore store;
  const auto scope = store.scope();
  Dense layer({.units = 3,
               .normalizer = contrib({.activation_fn = ActivationFunction::relu}),
               .dtype = DType::float64,
               .name = "fully_connected"});
  require_built(layer);
  const Tensor x = random_tensor({4, 3}, 9);
  (void)output_of(layer, x);
  layer.apply_updates();
  Variable& mean = store.variable("fully_connected/BatchNorm/moving_mean");
  REQUIRE_ON_ALL_RANKS(world(), values_of(mean) == std::vector<double>(3, 0.0));
  (void)output_of(layer, x, {.mode = Mode::training});
  layer.apply_updates();
  REQUIRE_ON_ALL_RANKS(world(), values_of(mean) != std::vector<double>(3, 0.0));
}

TEST_CASE("a model in training trains layers whose own mode is another") {
  Sequential model({.dtype = DType::float64}, Strategy{Communicator::world()});
  BatchNormalizationOptions options = contrib({.updates_collections = {}, .is_training = false});
  model.add(BatchNormalization(options));
  model.build({4, 3});
  model.forward(random_tensor({4, 3}, 9), {.mode = Mode::training});
  REQUIRE_ON_ALL_RANKS(
      world(), values_of(model.variable("BatchNorm/moving_mean")) != std::vector<double>(3, 0.0));
}
