// A data set gives the asked samples in the asked order and refuses what does not fit.

#include "lockstep/train/dataset.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"

using namespace lockstep;

namespace {

// Sample i has the inputs 10 i + {0, 1} + 0.1 and the label i mod 3.
template <class T>
ArrayDataset five_samples() {
  Tensor inputs(Shape{5, 2}, dtype_of<T>());
  Tensor labels(Shape{5}, DType::int64);
  for (std::size_t i = 0; i < 10; ++i)
    inputs.values<T>()[i] =
        static_cast<T>(10.0 * static_cast<double>(i / 2) + static_cast<double>(i % 2) + 0.1);
  for (std::size_t i = 0; i < 5; ++i)
    labels.values<std::int64_t>()[i] = static_cast<std::int64_t>(i % 3);
  return {std::move(inputs), std::move(labels)};
}

const std::vector<std::int64_t> some_indices{4, 0, 4, 2};

}  // namespace

TEMPLATE_TEST_CASE("read gives the samples of the indices, in their order", "", float, double,
                   Float16, BFloat16) {
  const ArrayDataset data = five_samples<TestType>();
  Tensor inputs(Shape{4, 2}, dtype_of<TestType>());
  Tensor labels(Shape{4}, DType::int64);
  data.read(some_indices, inputs, labels);
  for (std::size_t n = 0; n < some_indices.size(); ++n) {
    const auto i = static_cast<std::size_t>(some_indices[n]);
    CHECK(labels.values<std::int64_t>()[n] == some_indices[n] % 3);
    for (std::size_t feature = 0; feature < 2; ++feature)
      CHECK(inputs.values<TestType>()[2 * n + feature] ==
            data.inputs().values<TestType>()[2 * i + feature]);
  }
}

TEST_CASE("values are converted between the floating types") {
  const ArrayDataset wide = five_samples<double>();
  Tensor narrow(Shape{4, 2}, DType::float32);
  Tensor exact(Shape{4, 2}, DType::float64);
  Tensor labels(Shape{4}, DType::int64);
  wide.read(some_indices, narrow, labels);
  wide.read(some_indices, exact, labels);
  for (std::size_t i = 0; i < 8; ++i)
    CHECK(narrow.values<float>()[i] == static_cast<float>(exact.values<double>()[i]));

  Tensor half(Shape{4, 2}, DType::float16);
  wide.read(some_indices, half, labels);
  for (std::size_t i = 0; i < 8; ++i)
    CHECK(half.values<Float16>()[i] == Float16(exact.values<double>()[i]));

  const ArrayDataset kept_narrow = five_samples<float>();
  kept_narrow.read(some_indices, exact, labels);
  for (std::size_t i = 0; i < 8; ++i)
    CHECK(exact.values<double>()[i] == static_cast<double>(narrow.values<float>()[i]));
}

TEST_CASE("targets may be floating and of any shape") {
  const Tensor targets =
      Tensor::of(std::span<const float>(std::array{1.F, 2.F, 3.F, 4.F, 5.F, 6.F}), Shape{2, 3});
  const ArrayDataset data(Tensor(Shape{2, 4}), targets);
  CHECK(data.target_shape() == Shape{3});
  CHECK_FALSE(data.num_classes());
  Tensor inputs(Shape{1, 4});
  Tensor read(Shape{1, 3}, DType::float64);
  data.read(std::vector<std::int64_t>{1}, inputs, read);
  CHECK(read.values<double>()[0] == 4.0);
  CHECK(read.values<double>()[2] == 6.0);
}

TEST_CASE("a data set describes one sample") {
  const ArrayDataset data = five_samples<float>();
  CHECK(data.num_samples() == 5);
  CHECK(data.input_shape() == Shape{2});
  CHECK(data.target_shape() == Shape{});
  CHECK(data.input_dtype() == DType::float32);
  CHECK(data.target_dtype() == DType::int64);
  CHECK(data.num_classes() == 3);
}

TEST_CASE("no indices are no samples") {
  const ArrayDataset data = five_samples<float>();
  Tensor inputs(Shape{0, 2});
  Tensor labels(Shape{0}, DType::int64);
  CHECK_NOTHROW(data.read({}, inputs, labels));
}

TEST_CASE("what does not fit is refused and nothing is written") {
  const ArrayDataset data = five_samples<float>();
  const auto refuses = [&](const std::vector<std::int64_t>& indices, Tensor inputs, Tensor labels) {
    const Tensor inputs_before = inputs;
    CHECK_THROWS_AS(data.read(indices, inputs, labels), ArgumentError);
    const auto* before = static_cast<const std::byte*>(inputs_before.data());
    const auto* after = static_cast<const std::byte*>(inputs.data());
    const auto bytes = static_cast<std::size_t>(inputs.num_elements()) * size_of(inputs.dtype());
    CHECK(std::equal(before, before + bytes, after));
  };
  const Tensor inputs(Shape{2, 2});
  const Tensor labels(Shape{2}, DType::int64);
  refuses({0, 5}, inputs, labels);
  refuses({-1, 0}, inputs, labels);
  refuses({0, std::numeric_limits<std::int64_t>::max()}, inputs, labels);
  refuses({4}, inputs, labels);
  refuses({4, 3, 2}, inputs, labels);
  refuses({4, 3}, Tensor(Shape{2, 3}), labels);
  refuses({4, 3}, Tensor(Shape{2, 2}, DType::int64), labels);
  refuses({4, 3}, inputs, Tensor(Shape{2, 1}, DType::int64));
  refuses({4, 3}, inputs, Tensor(Shape{2}, DType::float32));
  std::vector<float> short_memory(3);
  Tensor some_labels = labels;
  CHECK_THROWS_AS(
      data.read(std::vector<std::int64_t>{4, 3}, view(short_memory, Shape{2, 2}), some_labels),
      ArgumentError);
}

TEST_CASE("arrays that do not belong together are refused") {
  const auto labels_of = [](std::vector<std::int64_t> labels) {
    const auto count = static_cast<std::int64_t>(labels.size());
    return Tensor::copy_of(view(labels, Shape{count}));
  };
  const Tensor inputs(Shape{3, 2});
  CHECK_THROWS_AS(ArrayDataset(inputs, labels_of({0, 1})), ArgumentError);
  CHECK_THROWS_AS(ArrayDataset(inputs, Tensor(Shape{})), ArgumentError);
  CHECK_THROWS_AS(ArrayDataset(Tensor(Shape{3, 2}, DType::int64), labels_of({0, 1, 2})),
                  ArgumentError);
  CHECK_THROWS_AS(ArrayDataset(inputs, labels_of({0, -1, 2})), ArgumentError);
  CHECK_THROWS_AS(ArrayDataset(inputs, labels_of({0, 1, 2}), 2), ArgumentError);
  CHECK_THROWS_AS(ArrayDataset(inputs, Tensor(Shape{3, 1}), 2), ArgumentError);
  CHECK(ArrayDataset(inputs, labels_of({0, 1, 2}), 10).num_classes() == 10);
}
