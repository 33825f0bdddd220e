// What a folded model has of its original, and that this one stays as it is.

#include <array>
#include <string>
#include <vector>

#include "base/convert.hpp"
#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/dropout.hpp"
#include "lockstep/params/variable_scope.hpp"
#include "lockstep/params/variable_store.hpp"
#include "model/folded_models.hpp"
#include "support/errors.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

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

TEST_CASE("16-bit models are folded, with kernels in float32") {
  const BatchNormalizationOptions options{.activation = ActivationFunction::leaky_relu,
                                          .negative_slope = 0.3};
  Sequential model = trained({4, 3}, DType::bfloat16, [&](Sequential& net) {
    net.add(Dense({.units = 5, .normalizer = options}));
    net.add(Dense({.units = 2})).add(BatchNormalization());
  });
  FoldedModel folded = fold_batch_normalization(model);
  REQUIRE_ON_ALL_RANKS(world(), types_of(folded.model) == "Dense, Activation, Dense");
  REQUIRE_ON_ALL_RANKS(world(), folded.model.variable("dense/kernel").dtype() == DType::float32);
  const Tensor x = random_tensor({4, 3}, 3);
  Tensor rounded(x.shape(), DType::bfloat16);
  convert(x, rounded);
  std::vector<double> expected(8), found(8);
  read_as_double(model.predict(rounded), expected);
  read_as_double(folded.model.predict(rounded), found);
  // Eight significant bits after every layer.
  REQUIRE_ON_ALL_RANKS(world(), distance(found, expected) < 0x1p-6);
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
