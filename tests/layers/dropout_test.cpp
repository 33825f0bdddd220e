#include "lockstep/layers/dropout.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

const Call step_3{.mode = Mode::training, .step = 3};

Dropout built(DropoutOptions options, const Shape& shape) {
  options.dtype = DType::float64;
  Dropout dropout(options);
  dropout.build(shape);
  return dropout;
}

Tensor ones(const Shape& shape) {
  Tensor result(shape, DType::float64);
  std::ranges::fill(result.values<double>(), 1.0);
  return result;
}

}  // namespace

TEST_CASE("a batch may be cut between dropout layers, bit for bit") {
  for (const double rate : {0.0, 0.3, 0.9}) {
    Dropout dropout = built({.rate = rate}, {1, 4, 2});
    check_cut_law(dropout, random_tensor({13, 4, 2}, 1), 0.0);
  }
}

TEST_CASE("the mask of a sample depends on its global index, not on its place") {
  Dropout dropout = built({}, {1, 50});
  std::vector<std::int64_t> samples{90, 7, 12345678901, 8};
  Call call = step_3;
  call.samples = samples;
  const Tensor y = output_of(dropout, ones({4, 50}), call);
  std::ranges::reverse(samples);
  const Tensor reversed = output_of(dropout, ones({4, 50}), call);
  for (std::int64_t i = 0; i < 4; ++i)
    CHECK(is_identical(rows_of(y, i, 1), rows_of(reversed, 3 - i, 1)));
  CHECK_FALSE(is_identical(rows_of(y, 0, 1), rows_of(y, 1, 1)));
}

TEST_CASE("dropout keeps its rate and the mean") {
  for (const double rate : {0.0, 0.25, 0.5, 0.9}) {
    CAPTURE(rate);
    constexpr std::int64_t num_elements = 100 * 1000;
    Dropout dropout = built({.rate = rate}, {1, 1000});
    const Tensor y = output_of(dropout, ones({100, 1000}), step_3);
    const auto values = y.values<double>();
    const auto num_dropped = std::ranges::count(values, 0.0);
    const double scale = 1.0 / (1.0 - rate);
    CHECK(std::ranges::count(values, scale) == num_elements - num_dropped);
    // Five standard deviations of a binomial distribution.
    CHECK(std::abs(static_cast<double>(num_dropped) - rate * num_elements) <=
          5.0 * std::sqrt(num_elements * rate * (1.0 - rate)));
  }
}

TEST_CASE("gradients of dropout are those of finite differences") {
  Dropout dropout = built({.rate = 0.4}, {1, 6});
  CHECK(gradient_error(dropout, random_tensor({5, 6}, 2), step_3) < 1e-9);
  CHECK(gradient_error(dropout, random_tensor({5, 6}, 2), {.mode = Mode::inference}) < 1e-9);
}

TEST_CASE("dropout obeys the laws of layers") {
  const auto make = [](DType dtype) {
    return std::make_unique<Dropout>(DropoutOptions{.dtype = dtype});
  };
  check_layer(make, random_tensor({5, 2, 3}, 3));
  check_layer(make, random_tensor({5, 2, 3}, 3), {.mode = Mode::inference});
}

TEST_CASE("dropout passes everything in inference mode") {
  Dropout dropout = built({.rate = 0.9}, {1, 20});
  const Tensor x = random_tensor({3, 20}, 4);
  CHECK(is_identical(output_of(dropout, x, {.mode = Mode::inference, .step = 3}), x));
}

TEST_CASE("what is dropped is zero, NaN too") {
  Dropout dropout = built({.rate = 0.5}, {1, 100});
  const Tensor mask = output_of(dropout, ones({1, 100}), step_3);
  Tensor x({1, 100}, DType::float64);
  std::ranges::fill(x.values<double>(), std::numeric_limits<double>::quiet_NaN());
  const Tensor y = output_of(dropout, x, step_3);
  for (std::size_t i = 0; i < 100; ++i)
    CHECK(std::isnan(y.values<double>()[i]) == (mask.values<double>()[i] != 0.0));
}

TEST_CASE("masks depend on step, seed and layer name, and on nothing else") {
  const Tensor x = ones({2, 100});
  const auto mask = [&](const DropoutOptions& options, const Call& call) {
    Dropout dropout = built(options, {1, 100});
    return output_of(dropout, x, call);
  };
  const Tensor reference = mask({}, step_3);
  CHECK(is_identical(mask({}, step_3), reference));
  CHECK_FALSE(is_identical(mask({}, {.mode = Mode::training, .step = 4}), reference));
  CHECK_FALSE(is_identical(mask({}, {.mode = Mode::training, .step = 3, .seed = 1}), reference));
  CHECK_FALSE(is_identical(mask({.name = "other"}, step_3), reference));
  CHECK_FALSE(is_identical(mask({.seed = 1}, step_3), reference));
  // A seed of the layer's own comes before the call's.
  CHECK(is_identical(mask({.seed = 1}, {.mode = Mode::training, .step = 3, .seed = 9}),
                     mask({.seed = 1}, step_3)));
}

TEST_CASE("without steps masks change from call to call, alike on layers called as often") {
  Dropout first = built({}, {1, 100});
  Dropout second = built({}, {1, 100});
  const Tensor x = ones({2, 100});
  const Call call{.mode = Mode::training};
  (void)output_of(first, x, call);
  (void)output_of(second, ones({0, 100}), call);  // a rank without samples counts as well
  (void)output_of(second, x, step_3);             // these do not count
  (void)output_of(second, x, {.mode = Mode::inference});
  const Tensor y = output_of(first, x, call);
  CHECK(is_identical(output_of(second, x, call), y));

  Dropout moved = std::move(first);
  const Tensor next = output_of(moved, x, call);
  CHECK_FALSE(is_identical(next, y));
  CHECK(is_identical(output_of(second, x, call), next));
}

TEST_CASE("backward repeats the mask of the call that its tape recorded") {
  Dropout dropout = built({}, {1, 100});
  const auto tape = dropout.make_tape();
  const Tensor x = ones({2, 100});
  std::vector<std::int64_t> samples{5, 3};
  const Tensor y =
      output_of(dropout, x, {.mode = Mode::training, .tape = tape.get(), .samples = samples});
  samples.assign({0, 0});
  (void)output_of(dropout, x, {.mode = Mode::training});
  CHECK(is_identical(input_gradient_of(dropout, *tape, x, x.shape()), y));
}

TEST_CASE("dropout works in place") {
  Dropout dropout = built({}, {1, 10});
  const auto tape = dropout.make_tape();
  Tensor x = random_tensor({4, 10}, 5);
  Call call = step_3;
  const Tensor y = output_of(dropout, x, call);
  call.tape = tape.get();
  Tensor values = x;
  dropout.forward(values, values, call);
  CHECK(is_identical(values, y));
  dropout.backward(*tape, x, x);
  CHECK(is_identical(x, y));
}

TEST_CASE("impossible rates are refused when built") {
  for (const double rate : {-0.1, 1.0, 2.0, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_AS(Dropout({.rate = rate}).build({1, 3}), ArgumentError);
}

TEST_CASE("sample indices must be one per sample") {
  Dropout dropout = built({}, {1, 100});
  const std::vector<std::int64_t> samples{0, 1, 2};
  const Tensor x = ones({2, 100});
  Call call{.mode = Mode::training, .samples = samples};
  CHECK_THROWS_AS(output_of(dropout, x, call), ArgumentError);
  // The refused call did not count.
  Dropout fresh = built({}, {1, 100});
  call.samples = {};
  CHECK(is_identical(output_of(dropout, x, call), output_of(fresh, x, call)));
}

TEST_CASE("the configuration of dropout tells all of its options") {
  const std::string plain = Dropout().configuration();
  CHECK(Dropout({.rate = 0.1}).configuration() != plain);
  CHECK(Dropout({.seed = 0}).configuration() != plain);
  CHECK(Dropout({.seed = 1}).configuration() != Dropout({.seed = 0}).configuration());
}
