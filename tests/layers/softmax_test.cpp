#include "lockstep/layers/softmax.hpp"

#include <cmath>
#include <memory>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

using namespace lockstep;
using namespace lockstep::testing;

TEST_CASE("softmax is positive, sums to one along its axis and ignores what is added to all") {
  for (const int axis : {-1, 1, 2, -2}) {
    CAPTURE(axis);
    Softmax softmax({.axis = axis, .dtype = DType::float64});
    softmax.build({1, 3, 4});
    Tensor x = random_tensor({2, 3, 4}, 1);
    const Tensor y = output_of(softmax, x);
    const bool is_last = axis == -1 || axis == 2;
    const std::size_t length = is_last ? 4 : 3;
    const std::size_t stride = is_last ? 1 : 4;
    const auto values = y.values<double>();
    for (std::size_t first = 0; first < values.size(); ++first) {
      CHECK(values[first] > 0.0);
      if (first / stride % length != 0) continue;  // not the first of its line
      double sum = 0.0;
      for (std::size_t i = 0; i < length; ++i) sum += values[first + i * stride];
      CHECK(std::abs(sum - 1.0) < 1e-15);
    }
    for (double& value : x.values<double>()) value += 1.0;
    CHECK(distance(output_of(softmax, x).values<double>(), y.values<double>()) < 1e-14);
  }
}

TEST_CASE("gradients of softmax are those of finite differences") {
  for (const int axis : {-1, 1}) {
    Softmax softmax({.axis = axis, .dtype = DType::float64});
    softmax.build({1, 3, 4});
    CHECK(gradient_error(softmax, random_tensor({5, 3, 4}, 2)) < 1e-9);
  }
}

TEST_CASE("softmax obeys the laws of layers") {
  for (const int axis : {-1, 1})
    check_layer(
        [&](DType dtype) {
          return std::make_unique<Softmax>(SoftmaxOptions{.axis = axis, .dtype = dtype});
        },
        random_tensor({4, 3, 5}, 3));
}

TEST_CASE("a batch may be cut between softmax layers") {
  Softmax softmax({.dtype = DType::float64});
  softmax.build({1, 5});
  check_cut_law(softmax, random_tensor({9, 5}, 4), 0.0);
}

TEST_CASE("softmax of known scores, also of large ones") {
  Softmax softmax({.dtype = DType::float64});
  softmax.build({1, 2});
  const double third = std::log(3.0);
  const Tensor x = Tensor::of<double>(std::vector{0.0, third, 1000.0, -1000.0}, {2, 2});
  const Tensor y = output_of(softmax, x);
  CHECK(distance(y.values<double>(), std::vector{0.25, 0.75, 1.0, 0.0}) < 1e-15);
}

TEST_CASE("softmax works in place") {
  Softmax softmax({.dtype = DType::float64});
  softmax.build({1, 4});
  const auto tape = softmax.make_tape();
  Tensor x = random_tensor({3, 4}, 5);
  Tensor gradient = random_tensor({3, 4}, 6);
  const Tensor y = output_of(softmax, x, {.tape = tape.get()});
  const Tensor dx = input_gradient_of(softmax, *tape, gradient, x.shape());
  softmax.forward(x, x, {.tape = tape.get()});
  CHECK(is_identical(x, y));
  softmax.backward(*tape, gradient, gradient);
  CHECK(is_identical(gradient, dx));
}

TEST_CASE("a moved softmax goes on where it was") {
  Softmax first({.axis = 1, .dtype = DType::float64});
  first.build({1, 3, 4});
  const Tensor x = random_tensor({2, 3, 4}, 7);
  const Tensor y = output_of(first, x);
  Softmax second = std::move(first);
  CHECK(is_identical(output_of(second, x), y));
}

TEST_CASE("softmax over the batch or an axis that is not there is refused when built") {
  for (const int axis : {0, 2, -2, -3})
    CHECK_THROWS_AS(Softmax({.axis = axis}).build({4, 3}), ArgumentError);
  CHECK_THROWS_AS(Softmax().build({4}), ArgumentError);
  CHECK(Softmax({.axis = 1}).configuration() != Softmax().configuration());
}
