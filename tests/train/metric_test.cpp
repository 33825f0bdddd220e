// Metrics: sums that add up, ties, NaN, errors.

#include "lockstep/train/metric.hpp"

#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/base/tensor.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"

using namespace lockstep;
using namespace lockstep::testing;
using Catch::Matchers::Contains;

namespace {

double accuracy_of(const std::vector<double>& predictions,
                   const std::vector<std::int64_t>& labels) {
  const SparseCategoricalAccuracy metric;
  const auto num_samples = static_cast<std::int64_t>(labels.size());
  const auto num_classes = static_cast<std::int64_t>(predictions.size()) / num_samples;
  std::vector<double> sums(2);
  metric.add(view(predictions, {num_samples, num_classes}), view(labels, {num_samples}), sums);
  return metric.result(sums);
}

}  // namespace

TEST_CASE("accuracy counts the samples whose label has the largest prediction") {
  REQUIRE(accuracy_of({0.1, 0.9, 0.0,     //
                       5.0, 1.0, 2.0,     //
                       -3.0, -2.0, -1.0,  //
                       0.0, 1.0, 0.0},
                      {1, 0, 0, 1}) == 0.75);
}

TEST_CASE("of equal predictions the first one counts") {
  REQUIRE(accuracy_of({1.0, 1.0, 0.0}, {0}) == 1.0);
  REQUIRE(accuracy_of({1.0, 1.0, 0.0}, {1}) == 0.0);
  REQUIRE(accuracy_of({0.0, 1.0, 1.0}, {1}) == 1.0);
}

TEST_CASE("a sample with NaN is never right") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  for (const std::int64_t label : {0, 1, 2}) {
    REQUIRE(accuracy_of({nan, 1.0, 0.0}, {label}) == 0.0);
    REQUIRE(accuracy_of({0.0, 1.0, nan}, {label}) == 0.0);
    REQUIRE(accuracy_of({nan, nan, nan}, {label}) == 0.0);
  }
  REQUIRE(accuracy_of({nan}, {0}) == 0.0);
}

TEST_CASE("accuracy of any cut into batches is the same bits") {
  const SparseCategoricalAccuracy metric;
  const Tensor predictions = random_tensor({60, 4}, 1);
  std::vector<std::int64_t> labels(60);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int64_t>(i % 4);
  const TensorView targets = view(std::as_const(labels), {60});
  std::vector<double> whole(2);
  metric.add(predictions, targets, whole);
  REQUIRE(metric.result(whole) > 0.0);
  for (const std::int64_t cut : {0, 1, 7, 60}) {
    std::vector<double> first(2);
    std::vector<double> rest(2);
    metric.add(TensorView(predictions).rows(0, cut), targets.rows(0, cut), first);
    metric.add(TensorView(predictions).rows(cut, 60 - cut), targets.rows(cut, 60 - cut), rest);
    REQUIRE(std::vector{first[0] + rest[0], first[1] + rest[1]} == whole);
  }
}

TEST_CASE("mean absolute error is the mean over all elements") {
  const MeanAbsoluteError metric;
  const std::vector<float> predictions{1.0F, -2.0F, 3.0F, 4.0F};
  const std::vector<std::int64_t> targets{0, 2, 5, 4};
  std::vector<double> sums(2);
  metric.add(view(predictions, {2, 2}), view(targets, {2, 2}), sums);
  REQUIRE(metric.result(sums) == 7.0 / 4.0);
  metric.add(view(predictions, {4}), view(predictions, {4}), sums);
  REQUIRE(metric.result(sums) == 7.0 / 8.0);
}

TEST_CASE("no samples give 0") {
  REQUIRE(SparseCategoricalAccuracy().result(std::vector<double>(2)) == 0.0);
  REQUIRE(MeanAbsoluteError().result(std::vector<double>(2)) == 0.0);
}

TEST_CASE("what does not fit leaves the sums as they were") {
  std::vector<double> sums{1.0, 2.0};
  const std::vector<std::int64_t> labels{0, 5};
  REQUIRE_THROWS_WITH(
      SparseCategoricalAccuracy().add(random_tensor({2, 3}, 2), view(labels, {2}), sums),
      Contains("sample 1 has the label 5"));
  REQUIRE_THROWS_AS(MeanAbsoluteError().add(Tensor({2, 3}), Tensor({3, 2}), sums), ArgumentError);
  REQUIRE(sums == std::vector{1.0, 2.0});
  std::vector<double> short_sums(1);
  REQUIRE_THROWS_WITH(MeanAbsoluteError().add(Tensor({2}), Tensor({2}), short_sums),
                      Contains("expected 2 sums, got 1"));
}
