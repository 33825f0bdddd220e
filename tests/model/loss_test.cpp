// Losses: sums over samples, gradients, extremes and errors.

#include "lockstep/model/loss.hpp"

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "base/convert.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/base/tensor.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

using namespace lockstep;
using namespace lockstep::testing;
using Catch::Matchers::Contains;

namespace {

struct Case {
  std::unique_ptr<Loss> loss;
  Tensor predictions;
  Tensor targets;
};

const std::vector<std::int64_t> labels{2, 0, 1, 1, 2};

std::vector<Case> cases() {
  std::vector<Case> result;
  result.push_back({std::make_unique<SparseCategoricalCrossentropy>(), random_tensor({5, 3}, 1),
                    Tensor::of(std::span(labels), {5})});
  result.push_back({std::make_unique<MeanSquaredError>(), random_tensor({5, 2, 3}, 2),
                    random_tensor({5, 2, 3}, 3)});
  return result;
}

double value_of(const Loss& loss, const TensorView& predictions, const TensorView& targets) {
  return loss.evaluate(predictions, targets, {});
}

Tensor gradient_of(const Loss& loss, const TensorView& predictions, const TensorView& targets) {
  Tensor gradient(predictions.shape(), predictions.dtype());
  loss.evaluate(predictions, targets, gradient);
  return gradient;
}

Tensor in_float32(const Tensor& source) {
  Tensor result(source.shape(), DType::float32);
  for (std::size_t i = 0; i < result.values<float>().size(); ++i)
    result.values<float>()[i] = static_cast<float>(source.values<double>()[i]);
  return result;
}

}  // namespace

TEST_CASE("the loss of a batch is the sum of the losses of its samples") {
  for (const Case& c : cases()) {
    INFO(c.loss->name());
    const Tensor whole = gradient_of(*c.loss, c.predictions, c.targets);
    double sum = 0.0;
    for (std::int64_t sample = 0; sample < 5; ++sample) {
      const TensorView prediction = TensorView(c.predictions).rows(sample, 1);
      const TensorView target = TensorView(c.targets).rows(sample, 1);
      sum += value_of(*c.loss, prediction, target);
      const Tensor gradient = gradient_of(*c.loss, prediction, target);
      REQUIRE(distance(gradient.values<double>(),
                       TensorView(whole).rows(sample, 1).values<double>()) == 0.0);
    }
    REQUIRE(value_of(*c.loss, c.predictions, c.targets) == Approx(sum).epsilon(1e-15));
  }
}

TEST_CASE("predictions of 16 bits count as the numbers they are, gradients are rounded once") {
  for (const Case& c : cases())
    for (const DType dtype : {DType::float16, DType::bfloat16}) {
      INFO(c.loss->name() << " " << name_of(dtype));
      Tensor narrow(c.predictions.shape(), dtype), wide(c.predictions.shape(), DType::float64);
      convert(c.predictions, narrow);
      convert(narrow, wide);
      REQUIRE(value_of(*c.loss, narrow, c.targets) == value_of(*c.loss, wide, c.targets));
      Tensor expected(narrow.shape(), dtype);
      convert(gradient_of(*c.loss, wide, c.targets), expected);
      REQUIRE(is_identical(gradient_of(*c.loss, narrow, c.targets), expected));
    }
}

TEST_CASE("the gradient is the one of finite differences") {
  for (Case& c : cases()) {
    INFO(c.loss->name());
    const Tensor gradient = gradient_of(*c.loss, c.predictions, c.targets);
    const auto loss = [&] { return value_of(*c.loss, c.predictions, c.targets); };
    REQUIRE(distance(gradient.values<double>(),
                     differences_of(c.predictions.values<double>(), loss)) < 1e-9);
  }
}

TEST_CASE("float32 and float64 predictions give the same loss and gradient") {
  for (const Case& c : cases()) {
    INFO(c.loss->name());
    const Tensor rounded = in_float32(c.predictions);
    REQUIRE(value_of(*c.loss, rounded, c.targets) ==
            Approx(value_of(*c.loss, c.predictions, c.targets)).epsilon(1e-6));
    REQUIRE(distance(gradient_of(*c.loss, rounded, c.targets).values<float>(),
                     gradient_of(*c.loss, c.predictions, c.targets).values<double>()) < 1e-6);
  }
}

TEST_CASE("an empty batch has the loss 0") {
  for (const Case& c : cases()) {
    INFO(c.loss->name());
    const TensorView predictions = TensorView(c.predictions).rows(0, 0);
    Tensor gradient(predictions.shape(), DType::float64);
    REQUIRE(c.loss->evaluate(predictions, TensorView(c.targets).rows(0, 0), gradient) == 0.0);
  }
  REQUIRE(value_of(MeanSquaredError(), Tensor({3, 0}), Tensor({3, 0})) == 0.0);
}

TEST_CASE("crossentropy of equal logits is log(classes), its gradient sums to 0") {
  const SparseCategoricalCrossentropy loss;
  const Tensor zeros({5, 3}, DType::float64);
  const Tensor targets = Tensor::of(std::span(labels), {5});
  REQUIRE(value_of(loss, zeros, targets) == Approx(5.0 * std::log(3.0)).epsilon(1e-15));
  const Tensor gradient = gradient_of(loss, random_tensor({5, 3}, 4), targets);
  for (std::size_t row = 0; row < 5; ++row) {
    const auto values = gradient.values<double>().subspan(3 * row, 3);
    REQUIRE(std::abs(values[0] + values[1] + values[2]) < 1e-15);
    REQUIRE(values[static_cast<std::size_t>(labels[row])] < 0.0);
  }
}

TEST_CASE("crossentropy neither overflows nor hides what is not finite") {
  const SparseCategoricalCrossentropy loss;
  const std::vector<std::int64_t> label{1};
  const auto loss_of = [&](std::vector<double> logits) {
    return value_of(loss, view(std::as_const(logits), {1, 2}), view(label, {1}));
  };
  constexpr double infinity = std::numeric_limits<double>::infinity();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  REQUIRE(loss_of({-1e300, 1e300}) == 0.0);
  REQUIRE(loss_of({1e300, 0.0}) == 1e300);
  REQUIRE(loss_of({1e9 + 1.0, 1e9}) == Approx(std::log1p(std::exp(1.0))).epsilon(1e-12));
  REQUIRE(loss_of({-infinity, 0.0}) == 0.0);
  REQUIRE(loss_of({0.0, -infinity}) == infinity);
  REQUIRE(std::isnan(loss_of({nan, 0.0})));
  REQUIRE(std::isnan(loss_of({0.0, nan})));
  REQUIRE(std::isnan(loss_of({infinity, 0.0})));
}

TEST_CASE("mean squared error takes targets of every dtype") {
  const std::vector<float> predictions{1.0F, 2.0F, 3.0F, 4.0F};
  const std::vector<std::int64_t> whole{0, 2, 5, 4};
  const std::vector<double> real{0.0, 2.0, 5.0, 4.0};
  const TensorView x = view(predictions, {2, 2});
  REQUIRE(value_of(MeanSquaredError(), x, view(whole, {2, 2})) == 0.5 + 2.0);
  REQUIRE(value_of(MeanSquaredError(), x, view(real, {2, 2})) == 0.5 + 2.0);
  const Tensor gradient = gradient_of(MeanSquaredError(), x, view(whole, {2, 2}));
  REQUIRE(distance(gradient.values<float>(), std::vector<float>{1.0F, 0.0F, -2.0F, 0.0F}) == 0.0);
}

TEST_CASE("what does not fit is refused before anything is written") {
  const SparseCategoricalCrossentropy crossentropy;
  const Tensor logits = random_tensor({2, 3}, 5);
  const std::vector<std::int64_t> good{0, 2};
  const std::vector<std::int64_t> bad{0, 3};
  const std::vector<std::int64_t> negative{-1, 0};
  Tensor gradient({2, 3}, DType::float64);
  REQUIRE_THROWS_WITH(crossentropy.evaluate(logits, view(bad, {2}), gradient),
                      Contains("sample 1 has the label 3") && Contains("3 classes"));
  REQUIRE_THROWS_WITH(crossentropy.evaluate(logits, view(negative, {2}), gradient),
                      Contains("sample 0 has the label -1"));
  REQUIRE(distance(gradient.values<double>(), Tensor({2, 3}, DType::float64).values<double>()) ==
          0.0);
  REQUIRE_THROWS_WITH(value_of(crossentropy, Tensor({2, 3, 1}), view(good, {2})),
                      Contains("[samples, classes]") && Contains("[2, 3, 1]"));
  REQUIRE_THROWS_WITH(value_of(crossentropy, logits, view(good, {2, 1})),
                      Contains("[2]") && Contains("[2, 1]"));
  REQUIRE_THROWS_WITH(value_of(crossentropy, logits, Tensor({2})), Contains("got float32"));
  Tensor wrong({2, 3}, DType::float32);
  REQUIRE_THROWS_WITH(crossentropy.evaluate(logits, view(good, {2}), wrong),
                      Contains("float64 [2, 3]") && Contains("got float32 [2, 3]"));

  const MeanSquaredError squares;
  REQUIRE_THROWS_WITH(value_of(squares, logits, Tensor({2, 4})),
                      Contains("[2, 3]") && Contains("[2, 4]"));
  REQUIRE_THROWS_AS(value_of(squares, Tensor({2}, DType::int64), Tensor({2})), ArgumentError);
  REQUIRE_THROWS_AS(value_of(squares, Tensor(Shape{}), Tensor(Shape{})), ArgumentError);
  REQUIRE_THROWS_AS(value_of(squares, logits, view(good, {2, 3})), ArgumentError);
}
