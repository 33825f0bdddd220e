// Which normalizations are folded, and that predictions stay what they were.

#include "lockstep/model/fold_batch_normalization.hpp"

#include <functional>
#include <string>
#include <vector>

#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/dropout.hpp"
#include "lockstep/layers/flatten.hpp"
#include "lockstep/layers/residual.hpp"
#include "model/folded_models.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

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

TEST_CASE("a normalizer is folded into the layer that it belongs to") {
  for (BatchNormalizationOptions options : variants()) {
    options.trainable = true;
    FoldedModel folded = require_same_predictions({2, 4, 4, 3}, [&](Sequential& model) {
      model.add(Conv2D({.filters = 2, .kernel_size = {2, 2}, .normalizer = options}));
      model.add(Flatten());
      model.add(Dense({.units = 5,
                       .activation = ActivationFunction::tanh,
                       .normalizer = options,
                       .name = "last"}));
    });
    REQUIRE_ON_ALL_RANKS(
        world(), joined(folded.folded) == "conv2d/batch_normalization, last/batch_normalization");
    REQUIRE_ON_ALL_RANKS(world(), types_of(folded.model) == "Conv2D, Flatten, Dense");
    REQUIRE_ON_ALL_RANKS(world(), folded.model.variable("last/bias").num_elements() == 5);
  }
  BatchNormalizationOptions options{.activation = ActivationFunction::relu};
  FoldedModel activated = require_same_predictions({2, 4, 4, 3}, [&](Sequential& model) {
    model.add(Conv2D({.filters = 2, .kernel_size = {2, 2}, .normalizer = options}));
    model.add(BatchNormalization());
  });
  REQUIRE_ON_ALL_RANKS(world(),
                       types_of(activated.model) == "Conv2D, Activation, BatchNormalization");
  options.track_moving_statistics = false;
  FoldedModel kept = require_same_predictions({6, 3}, [&](Sequential& model) {
    model.add(Dense({.units = 4, .normalizer = options})).add(BatchNormalization());
  });
  REQUIRE_ON_ALL_RANKS(world(), kept.folded.empty() && kept.kept.size() == 2);
  REQUIRE_ON_ALL_RANKS(world(), kept.kept[0].layer == "dense/batch_normalization");
  REQUIRE_ON_ALL_RANKS(world(), kept.kept[1].reason.find("'dense' before it") != std::string::npos);
}

TEST_CASE("the branches of a residual block are folded inside of it") {
  FoldedModel folded = require_same_predictions({2, 4, 4, 3}, [](Sequential& model) {
    const Conv2DOptions convolution{
        .filters = 3, .kernel_size = {3, 3}, .padding = Padding::same, .use_bias = false};
    Residual block({.activation = ActivationFunction::relu, .name = "block"});
    block.add_main(Conv2D(convolution));
    block.add_main(BatchNormalization({.activation = ActivationFunction::tanh, .name = "first"}));
    block.add_main(Conv2D(convolution)).add_main(BatchNormalization({.name = "second"}));
    block.add_shortcut(BatchNormalization({.name = "kept"}));
    block.add_shortcut(Conv2D({.filters = 3})).add_shortcut(BatchNormalization({.name = "third"}));
    model.add(std::move(block)).add(BatchNormalization({.name = "behind"}));
  });
  REQUIRE_ON_ALL_RANKS(world(), joined(folded.folded) == "block/third, block/first, block/second");
  REQUIRE_ON_ALL_RANKS(world(), folded.kept.size() == 2);
  REQUIRE_ON_ALL_RANKS(world(), folded.kept[0].layer == "block/kept");
  REQUIRE_ON_ALL_RANKS(world(), folded.kept[1].layer == "behind");
  Names inner;
  for (const auto& layer : folded.model.layer("block").inner_layers())
    inner.push_back(layer->name() + " " + layer->type());
  REQUIRE_ON_ALL_RANKS(world(),
                       joined(inner) ==
                           "block/kept BatchNormalization, block/conv2d_2 Conv2D, "
                           "block/conv2d Conv2D, block/first Activation, block/conv2d_1 Conv2D");
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
  for (const Case& kept : std::vector<Case>{
           {[](Sequential&) {}, {}, "first layer"},
           {activated, {}, "'dense' before it is no Dense or Conv2D without activation"},
           {apart, {}, "'dropout' before it"},
           {dense, {.axis = 1}, "along axis 3"},
           {convolution, {.axis = 2}, "'conv2d', which are along axis 3"},
           {convolution, {.axis = {1, 3}}, "along axis 3"},
           {dense, {.track_moving_statistics = false}, "no moving statistics"},
           {dense, {.activation = custom}, "a function of the user's own"}}) {
    FoldedModel folded = require_same_predictions({3, 4, 4, 4}, [&](Sequential& model) {
      kept.add_before(model);
      model.add(BatchNormalization(kept.options));
    });
    REQUIRE_ON_ALL_RANKS(world(), folded.folded.empty() && folded.kept.size() == 1);
    INFO(folded.kept[0].reason);
    REQUIRE_ON_ALL_RANKS(world(), folded.kept[0].layer == "batch_normalization");
    REQUIRE_ON_ALL_RANKS(world(), folded.kept[0].reason.find(kept.reason) != std::string::npos);
  }
}
