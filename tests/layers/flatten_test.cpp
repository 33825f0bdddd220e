#include "lockstep/layers/flatten.hpp"

#include <memory>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

using namespace lockstep;
using namespace lockstep::testing;

TEST_CASE("flatten keeps samples and elements") {
  const Shape flat{2, 24};
  for (const Shape& shape : {Shape{2, 24}, Shape{2, 4, 6}, Shape{2, 2, 3, 4}}) {
    Flatten flatten({.dtype = DType::float64});
    flatten.build(shape);
    CHECK(flatten.output_shape(shape) == flat);
    const auto tape = flatten.make_tape();
    const Tensor x = random_tensor(shape, 1);
    const Tensor y = output_of(flatten, x, {.tape = tape.get()});
    CHECK(is_identical(y, Tensor::copy_of(TensorView(x).reshaped(flat))));
    CHECK(is_identical(input_gradient_of(flatten, *tape, y, shape), x));
  }
  CHECK(Flatten().output_shape({5}) == Shape{5, 1});
}

TEST_CASE("flatten obeys the laws of layers") {
  const auto make = [](DType dtype) {
    return std::make_unique<Flatten>(FlattenOptions{.dtype = dtype});
  };
  const Tensor x = random_tensor({5, 2, 3}, 2);
  check_layer(make, x);
  const auto flatten = make(DType::float64);
  flatten->build(x.shape());
  CHECK(gradient_error(*flatten, x) < 1e-9);
  check_cut_law(*flatten, x, 0.0);
}

TEST_CASE("flatten works in place") {
  Flatten flatten({.dtype = DType::float64});
  flatten.build({1, 2, 3});
  Tensor x = random_tensor({4, 2, 3}, 3);
  const Tensor y = output_of(flatten, x);
  flatten.forward(x, MutableTensorView(x).reshaped({4, 6}), {});
  CHECK(is_identical(Tensor::copy_of(TensorView(x).reshaped({4, 6})), y));
}

TEST_CASE("a moved flatten goes on where it was") {
  Flatten first({.dtype = DType::float64});
  first.build({1, 2, 3});
  const Tensor x = random_tensor({4, 2, 3}, 4);
  const Tensor y = output_of(first, x);
  Flatten second = std::move(first);
  CHECK(is_identical(output_of(second, x), y));
}

TEST_CASE("flatten refuses samples of unknown shape when built") {
  CHECK_THROWS_AS(Flatten().build({1, -1, 3}), ArgumentError);
}
