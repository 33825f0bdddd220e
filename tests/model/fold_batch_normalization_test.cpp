// Folded models predict what the originals predict, and leave these alone.

#include "lockstep/model/fold_batch_normalization.hpp"

#include <array>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/dropout.hpp"
#include "lockstep/layers/flatten.hpp"
#include "lockstep/params/variable_scope.hpp"
#include "lockstep/params/variable_store.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Names = std::vector<std::string>;

const Strategy& strategy() {
  static const Strategy world{Communicator::world()};
  return world;
}
const Communicator& world() { return strategy().replicas(); }

// A model of these layers whose parameters and statistics are none of the initial ones.
Sequential trained(const Shape& input_shape, DType dtype,
                   const std::function<void(Sequential&)>& add_layers) {
  Sequential model({.dtype = dtype, .seed = 5, .name = "net"}, strategy());
  add_layers(model);
  model.build(input_shape.with(0, 1));
  for (Layer* layer : model.layers()) {
    randomize_parameters(*layer);
    if (auto* normalization = dynamic_cast<BatchNormalization*>(layer);
        normalization != nullptr && normalization->options().track_moving_statistics) {
      const Shape& shape = normalization->moving_mean().shape();
      Tensor variance = random_tensor(shape, 8);
      for (double& value : variance.values<double>()) value = 0.1 + value * value;
      normalization->moving_mean().assign(random_tensor(shape, 7));
      normalization->moving_variance().assign(variance);
    }
  }
  return model;
}

Tensor input(const Shape& shape, DType dtype) {
  const Tensor values = random_tensor(shape, 3);
  return dtype == DType::float64 ? values : to_float32(values);
}

std::string joined(const Names& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

std::string types_of(Sequential& model) {
  Names types;
  for (const Layer* layer : model.layers()) types.push_back(layer->type());
  return joined(types);
}

double distance_of_predictions(Sequential& a, Sequential& b, const Tensor& x) {
  const Tensor first = a.predict(x), second = b.predict(x);
  if (first.shape() != second.shape()) return INFINITY;
  return x.dtype() == DType::float64 ? distance(first.values<double>(), second.values<double>())
                                     : distance(first.values<float>(), second.values<float>());
}

// Folds, and requires the same predictions of both dtypes; returns what became of the float64 one.
FoldedModel require_same_predictions(const Shape& shape,
                                     const std::function<void(Sequential&)>& add_layers) {
  Sequential rough = trained(shape, DType::float32, add_layers);
  FoldedModel rough_folded = fold_batch_normalization(rough);
  rough_folded.model.build(shape);
  REQUIRE_ON_ALL_RANKS(world(), distance_of_predictions(rough_folded.model, rough,
                                                        input(shape, DType::float32)) < 1e-5);
  Sequential model = trained(shape, DType::float64, add_layers);
  FoldedModel folded = fold_batch_normalization(model);
  folded.model.build(shape);
  REQUIRE_ON_ALL_RANKS(
      world(), distance_of_predictions(folded.model, model, input(shape, DType::float64)) < 1e-12);
  return folded;
}

// Every option that decides what a layer does in inference mode, or that only seems to.
std::vector<BatchNormalizationOptions> variants() {
  return {{},
          {.epsilon = 0.0},
          {.center = false},
          {.scale = false},
          {.center = false, .scale = false},
          {.renorm = true},
          {.moving_variance = MovingVariance::unbiased},
          {.epsilon = 1e-7, .moving_variance = MovingVariance::as_tensorflow},
          {.epsilon = 1e-7,
           .fused_rules = FusedRules::contrib,
           .moving_variance = MovingVariance::as_tensorflow},
          {.virtual_batch_size = 2, .zero_debias_moving_mean = true},
          {.trainable = false, .frozen_mode = FrozenMode::batch_statistics},
          {.synchronized = true}};
}

}  // namespace

TEST_CASE("a Dense takes over any batch normalization of its outputs") {
  for (const BatchNormalizationOptions& options : variants())
    for (const bool use_bias : {false, true})
      for (const Shape& shape : {Shape{6, 4}, Shape{3, 2, 4}}) {
        FoldedModel folded = require_same_predictions(shape, [&](Sequential& model) {
          model.add(Dense({.units = 5, .use_bias = use_bias})).add(BatchNormalization(options));
          model.add(Dense({.units = 3}));
        });
        REQUIRE_ON_ALL_RANKS(world(), joined(folded.folded) == "batch_normalization");
        REQUIRE_ON_ALL_RANKS(world(), folded.kept.empty());
        REQUIRE_ON_ALL_RANKS(world(), types_of(folded.model) == "Dense, Dense");
      }
}

TEST_CASE("a Conv2D takes over any batch normalization of its channels, in both data formats") {
  for (BatchNormalizationOptions options : variants())
    for (const DataFormat format : {DataFormat::nhwc, DataFormat::nchw}) {
      options.axis = format == DataFormat::nhwc ? -1 : 1;
      // Four is the number of channels, rows and columns: a wrong axis would not be noticed.
      FoldedModel folded = require_same_predictions({2, 4, 4, 4}, [&](Sequential& model) {
        model.add(Conv2D({.filters = 4,
                          .kernel_size = {3, 3},
                          .padding = Padding::same,
                          .data_format = format,
                          .use_bias = options.center}));
        model.add(BatchNormalization(options)).add(Flatten()).add(Dense({.units = 3}));
      });
      REQUIRE_ON_ALL_RANKS(world(), types_of(folded.model) == "Conv2D, Flatten, Dense");
    }
}

TEST_CASE("the activation goes with the Dense, or stays under the name of the normalization") {
  for (const auto& [function, slope, is_absorbed] :
       {std::tuple(ActivationFunction::relu, 0.2, true),
        std::tuple(ActivationFunction::gelu, 0.1, true),
        std::tuple(ActivationFunction::leaky_relu, default_negative_slope, true),
        std::tuple(ActivationFunction::leaky_relu, 0.3, false)}) {
    const BatchNormalizationOptions options{
        .activation = function, .negative_slope = slope, .name = "bn"};
    FoldedModel folded = require_same_predictions({6, 4}, [&](Sequential& model) {
      model.add(Dense({.units = 5})).add(BatchNormalization(options)).add(Dense({.units = 3}));
    });
    const std::string expected = is_absorbed ? "Dense, Dense" : "Dense, Activation, Dense";
    REQUIRE_ON_ALL_RANKS(world(), types_of(folded.model) == expected);
    if (!is_absorbed)
      REQUIRE_ON_ALL_RANKS(world(), folded.model.layer("bn").type() == "Activation");
  }
  FoldedModel folded = require_same_predictions({2, 4, 4, 3}, [](Sequential& model) {
    model.add(Conv2D({.filters = 2, .kernel_size = {2, 2}}));
    model.add(BatchNormalization({.activation = ActivationFunction::tanh, .name = "bn"}));
  });
  REQUIRE_ON_ALL_RANKS(world(), types_of(folded.model) == "Conv2D, Activation");
  REQUIRE_ON_ALL_RANKS(world(), folded.model.layers()[1]->name() == "bn");
}

TEST_CASE("several normalizations in a row are folded one after another, until one activates") {
  FoldedModel folded = require_same_predictions({6, 4}, [](Sequential& model) {
    model.add(Dense({.units = 5, .name = "dense"}));
    model.add(BatchNormalization({.name = "a"}));
    model.add(BatchNormalization({.activation = ActivationFunction::relu, .name = "b"}));
    model.add(BatchNormalization({.name = "c"}));
  });
  REQUIRE_ON_ALL_RANKS(world(), joined(folded.folded) == "a, b");
  REQUIRE_ON_ALL_RANKS(world(), folded.kept.size() == 1 && folded.kept[0].layer == "c");
  REQUIRE_ON_ALL_RANKS(world(), folded.kept[0].reason.find("'dense'") != std::string::npos);
}

TEST_CASE("what cannot be folded is kept with its values, and the reason is told") {
  const CustomActivation custom{.name = "half",
                                .value = [](double x) { return x / 2.0; },
                                .derivative = [](double) { return 0.5; }};
  struct Case {
    std::function<void(Sequential&)> add_before;
    BatchNormalizationOptions options;
    const char* reason;
  };
  const auto dense = [](Sequential& model) { model.add(Dense({.units = 4})); };
  const auto activated = [](Sequential& model) {
    model.add(Dense({.units = 4, .activation = ActivationFunction::tanh}));
  };
  const auto apart = [&](Sequential& model) {
    dense(model);
    model.add(Dropout());
  };
  const auto convolution = [](Sequential& model) {
    model.add(Conv2D({.filters = 4, .kernel_size = {1, 1}}));
  };
  for (const auto& [add_before, options, reason] : std::vector<Case>{
           {[](Sequential&) {}, {}, "first layer"},
           {activated, {}, "'dense' before it is no Dense or Conv2D without an activation"},
           {apart, {}, "'dropout' before it"},
           {dense, {.axis = 1}, "along axis 3"},
           {convolution, {.axis = 2}, "'conv2d', which are along axis 3"},
           {convolution, {.axis = {1, 3}}, "along axis 3"},
           {dense, {.track_moving_statistics = false}, "no moving statistics"},
           {dense, {.activation = custom}, "a function of the user's own"}}) {
    FoldedModel folded = require_same_predictions({3, 4, 4, 4}, [&](Sequential& model) {
      add_before(model);
      model.add(BatchNormalization(options));
    });
    REQUIRE_ON_ALL_RANKS(world(), folded.folded.empty() && folded.kept.size() == 1);
    INFO(folded.kept[0].reason);
    REQUIRE_ON_ALL_RANKS(world(), folded.kept[0].layer == "batch_normalization");
    REQUIRE_ON_ALL_RANKS(world(), folded.kept[0].reason.find(reason) != std::string::npos);
  }
}

TEST_CASE("a kernel that its dtype cannot hold is not made") {
  Sequential model({.dtype = DType::float32}, strategy());
  model.add(Dense({.units = 2})).add(BatchNormalization({.epsilon = 0.0}));
  model.build({1, 3});
  auto& normalization = dynamic_cast<BatchNormalization&>(*model.layers()[1]);
  normalization.gamma().assign(Tensor::of<double>(std::array{1e30, 1.0}, {2}));
  normalization.moving_variance().assign(Tensor::of<double>(std::array{1e-30, 1.0}, {2}));
  const FoldedModel folded = fold_batch_normalization(model);
  REQUIRE_ON_ALL_RANKS(world(), folded.folded.empty() && folded.kept.size() == 1);
  REQUIRE_ON_ALL_RANKS(world(), folded.kept[0].reason.find("finite") != std::string::npos);
}

TEST_CASE("a constant channel without epsilon stays the constant that it is") {
  Sequential model = trained({4, 3}, DType::float64, [](Sequential& net) {
    net.add(Dense({.units = 2})).add(BatchNormalization({.epsilon = 0.0}));
  });
  model.variable("batch_normalization/moving_variance").assign(Tensor({2}, DType::float64));
  FoldedModel folded = fold_batch_normalization(model);
  const Tensor x = random_tensor({4, 3}, 3);
  REQUIRE_ON_ALL_RANKS(world(), is_identical(folded.model.predict(x), model.predict(x)));
}

TEST_CASE("folded layers keep their names and lose penalties; others keep all they have") {
  Sequential model = trained({4, 3}, DType::float64, [](Sequential& net) {
    net.add(Dense({.units = 2,
                   .use_bias = false,
                   .kernel_regularizer = l2(0.1),
                   .kernel_constraint = NonNeg{},
                   .trainable = false,
                   .name = "first",
                   .input_shape = Shape{3}}));
    net.add(BatchNormalization({.name = "bn"}));
    net.add(Dropout({.rate = 0.25, .name = "drop"}));
    net.add(Dense({.units = 2, .kernel_regularizer = l2(0.1), .name = "last"}));
  });
  FoldedModel folded = fold_batch_normalization(model);
  Names names;
  for (const Variable* variable : folded.model.variables()) names.push_back(variable->name());
  CHECK(names == Names{"first/kernel", "first/bias", "last/kernel", "last/bias"});
  CHECK(folded.model.name() == "net");
  CHECK(to_string(folded.model.variable("first/kernel").regularizer()) == to_string(Regularizer{}));
  CHECK(to_string(folded.model.variable("first/kernel").constraint()) == to_string(Constraint{}));
  CHECK_FALSE(folded.model.layer("first").is_trainable());
  CHECK(to_string(folded.model.variable("last/kernel").regularizer()) == to_string(l2(0.1)));
  CHECK(*folded.model.layers()[1] == *model.layers()[2]);
  CHECK(*folded.model.layers()[2] == *model.layers()[3]);
  // There is nothing left to fold.
  const FoldedModel again = fold_batch_normalization(folded.model);
  CHECK(again.model == folded.model);
  CHECK((again.folded.empty() && again.kept.empty()));
}

TEST_CASE("the original stays as it is, and has no variable in common with the folded model") {
  Sequential model = trained({4, 3}, DType::float64, [](Sequential& net) {
    net.add(Dense({.units = 2})).add(BatchNormalization()).add(Activation());
    net.add(BatchNormalization());
  });
  const std::string configuration = model.configuration();
  const std::vector<double> before = values_of(model.variables());
  FoldedModel folded = fold_batch_normalization(model);
  for (Layer* layer : folded.model.layers()) randomize_parameters(*layer);
  REQUIRE_ON_ALL_RANKS(world(), values_of(model.variables()) == before);
  REQUIRE_ON_ALL_RANKS(world(), model.configuration() == configuration);
  model.forward(random_tensor({4, 3}, 2), {.mode = Mode::training});
}

TEST_CASE("layers that share variables fold each for itself, and no store learns of it") {
  const VariableStore store;
  const auto root = store.scope();
  Sequential model = trained({4, 3}, DType::float64, [](Sequential& net) {
    for (const bool reuse : {false, true}) {
      const VariableScope scope({.name = "block", .reuse = reuse});
      net.add(Dense({.units = 3}));
      net.add(BatchNormalization({.activation = ActivationFunction::relu}));
    }
  });
  const std::size_t num_variables = store.variables().size();
  FoldedModel folded = fold_batch_normalization(model);
  const Tensor x = random_tensor({4, 3}, 3);
  REQUIRE_ON_ALL_RANKS(world(), folded.folded.size() == 2);
  REQUIRE_ON_ALL_RANKS(world(), distance_of_predictions(folded.model, model, x) < 1e-12);
  REQUIRE_ON_ALL_RANKS(world(), store.variables().size() == num_variables);
  // The scope is open again.
  CHECK(Dense({.units = 1, .name = "later"}).name() == "later");
  CHECK(VariableStore::current().has_value());
}

TEST_CASE("folding is local; the folded model is built as any other, with the same predictions") {
  Sequential model = trained({4, 3}, DType::float64, [](Sequential& net) {
    net.add(Dense({.units = 2})).add(SyncBatchNormalization()).add(Activation());
    net.add(SyncBatchNormalization());
  });
  const std::int64_t before = num_collectives();
  FoldedModel folded = fold_batch_normalization(model);
  const Tensor x = random_tensor({4, 3}, 3);
  const Tensor predictions = folded.model.predict(x);
  REQUIRE_ON_ALL_RANKS(world(), num_collectives() == before);
  REQUIRE_ON_ALL_RANKS(world(), !folded.model.is_built());
  folded.model.build({1, 3});
  REQUIRE_ON_ALL_RANKS(world(), is_identical(folded.model.predict(x), predictions));
}

TEST_CASE("a model without variables is asked for them, and cannot be folded without") {
  Sequential known({.dtype = DType::float64}, strategy());
  known.add(Dense({.units = 2, .input_shape = Shape{3}})).add(BatchNormalization());
  const Tensor x = random_tensor({4, 3}, 3);
  FoldedModel folded = fold_batch_normalization(known);
  REQUIRE_ON_ALL_RANKS(world(), distance_of_predictions(folded.model, known, x) < 1e-12);
  Sequential unknown;
  unknown.add(Dense({.units = 2})).add(BatchNormalization());
  CHECK(caught_from([&] {
          static_cast<void>(fold_batch_normalization(unknown));
        }).is(ErrorCode::state));
}
