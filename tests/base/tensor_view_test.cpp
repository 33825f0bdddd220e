// Views: never an error when made, always one when used wrongly.

#include "lockstep/base/tensor_view.hpp"

#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/base/tensor.hpp"
#include "support/catch.hpp"

namespace lockstep {
namespace {

constexpr std::int64_t huge = std::int64_t{1} << 40;

std::string complaint_about(const TensorView& view) {
  try {
    view.check("the input");
  } catch (const ArgumentError& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("tensor view: making one never throws") {
  STATIC_REQUIRE(noexcept(TensorView(nullptr, DType::float32, Shape{}, 0)));
  STATIC_REQUIRE(noexcept(view(static_cast<float*>(nullptr), Shape{})));
  STATIC_REQUIRE(noexcept(view(std::declval<std::vector<double>&>(), Shape{})));
  STATIC_REQUIRE(std::is_nothrow_copy_constructible_v<TensorView>);
  STATIC_REQUIRE(std::is_nothrow_constructible_v<MutableTensorView, Tensor&>);
}

TEST_CASE("tensor view: check accepts memory that suffices") {
  std::vector<float> values(12);
  CHECK_NOTHROW(view(values, {3, 4}).check("it"));
  CHECK_NOTHROW(view(values, {11}).check("it"));
  CHECK_NOTHROW(view(values, {}).check("it"));
  CHECK_NOTHROW(view(values.data(), {12}).check("it"));
  CHECK_NOTHROW(view(static_cast<float*>(nullptr), {0, 4}).check("it"));
  CHECK_NOTHROW(view(std::vector<float>{}, {0, huge, huge}).check("it"));
  CHECK_NOTHROW(TensorView().check("it"));
}

TEST_CASE("tensor view: check says what is wrong with it") {
  std::vector<float> values(12);
  CHECK(complaint_about(view(values, {13})) ==
        "the input of shape [13] needs 13 elements; the memory given holds 12");
  CHECK(complaint_about(view(values, {3, -4})) == "the input has the impossible shape [3, -4]");
  CHECK(complaint_about(view(values.data(), {huge, huge})) ==
        "the input has the impossible shape [1099511627776, 1099511627776]");
  CHECK(complaint_about(view(static_cast<float*>(nullptr), {2})) ==
        "the input of shape [2] points nowhere");
  CHECK(complaint_about(view(std::vector<float>{}, {2, 3})) ==
        "the input of shape [2, 3] needs 6 elements; the memory given holds 0");
}

TEST_CASE("tensor view: dtype, shape and elements are those of the memory") {
  std::vector<double> values{1, 2, 3, 4, 5, 6};
  const TensorView v = view(std::as_const(values), {2, 3});
  CHECK(v.dtype() == DType::float64);
  CHECK(v.shape() == Shape{2, 3});
  CHECK(v.data() == values.data());
  CHECK(v.values<double>().size() == 6);
  CHECK(v.values<double>()[5] == 6);
  view(values, {6}).values<double>()[0] = 9;
  CHECK(values[0] == 9);
}

TEST_CASE("tensor view: constness of the memory decides which view it is") {
  const std::vector<float> fixed(2);
  std::vector<float> writable(2);
  STATIC_REQUIRE(std::is_same_v<decltype(view(fixed, {2})), TensorView>);
  STATIC_REQUIRE(std::is_same_v<decltype(view(writable, {2})), MutableTensorView>);
  STATIC_REQUIRE(std::is_same_v<decltype(view(fixed.data(), {2})), TensorView>);
  STATIC_REQUIRE(std::is_same_v<decltype(view(writable.data(), {2})), MutableTensorView>);
  STATIC_REQUIRE(std::is_same_v<decltype(view(std::span(fixed), {2})), TensorView>);
  STATIC_REQUIRE(std::is_same_v<decltype(view(std::span(writable), {2})), MutableTensorView>);
  STATIC_REQUIRE_FALSE(std::is_constructible_v<MutableTensorView, const Tensor&>);
  STATIC_REQUIRE_FALSE(std::is_constructible_v<MutableTensorView, TensorView>);
}

TEST_CASE("tensor view: elements of another type than the dtype are refused") {
  std::vector<float> values(2);
  CHECK_THROWS_AS(view(values, {2}).values<double>(), ArgumentError);
  CHECK_THROWS_AS(TensorView(view(values, {2})).values<std::int64_t>(), ArgumentError);
}

TEST_CASE("tensor view: null is only what was never set") {
  CHECK(TensorView().is_null());
  CHECK(MutableTensorView().is_null());
  std::vector<float> none;
  CHECK_FALSE(view(none, {2, 3}).is_null());  // a vector that was not sized is an error
  CHECK_FALSE(view(none, {0, 3}).is_null());  // an empty batch
  CHECK_FALSE(TensorView(Tensor({0, 3})).is_null());
  CHECK_FALSE(view(none, {0}).is_null());
  CHECK_FALSE(TensorView(Tensor(Shape{0})).is_null());
  const Tensor never_shaped;
  const Tensor copied = never_shaped;  // NOLINT: the copy is what is tested
  CHECK(TensorView(never_shaped).is_null());
  CHECK(TensorView(copied).is_null());
}

TEST_CASE("tensor view: rows are where row-major order puts them") {
  std::vector<float> values{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const MutableTensorView all = view(values, {3, 2, 2});
  for (std::int64_t first = 0; first <= 3; ++first)
    for (std::int64_t count = 0; first + count <= 3; ++count) {
      const MutableTensorView rows = all.rows(first, count);
      CHECK(rows.shape() == Shape{count, 2, 2});
      CHECK(rows.data() == values.data() + 4 * first);
      CHECK_NOTHROW(rows.check("rows"));
      CHECK(TensorView(all).rows(first, count).data() == rows.data());
    }
  CHECK(all.rows(1, 2).rows(1, 1).values<float>()[0] == 8);
}

TEST_CASE("tensor view: rows that are not there are refused") {
  std::vector<float> values(12);
  const TensorView all = view(values, {3, 4});
  constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();
  CHECK_THROWS_AS(all.rows(0, 4), ArgumentError);
  CHECK_THROWS_AS(all.rows(3, 1), ArgumentError);
  CHECK_THROWS_AS(all.rows(4, 0), ArgumentError);
  CHECK_THROWS_AS(all.rows(-1, 1), ArgumentError);
  CHECK_THROWS_AS(all.rows(1, -1), ArgumentError);
  CHECK_THROWS_AS(all.rows(largest, largest), ArgumentError);
  CHECK_THROWS_AS(all.rows(0, largest), ArgumentError);
  CHECK_THROWS_AS(view(values, {}).rows(0, 1), ArgumentError);
}

TEST_CASE("tensor view: rows of a wrong view are refused, those of an empty one are empty") {
  std::vector<float> values(12);
  CHECK_THROWS_AS(view(values, {4, 4}).rows(0, 1), ArgumentError);
  CHECK_THROWS_AS(view(static_cast<float*>(nullptr), {3, 4}).rows(1, 1), ArgumentError);
  CHECK_THROWS_AS(view(values, {std::numeric_limits<std::int64_t>::min()}).rows(0, 1),
                  ArgumentError);
  CHECK(view(values, {0, huge, huge}).rows(0, 0).num_elements() == 0);
}

TEST_CASE("tensor view: a reshape keeps the elements and their number") {
  std::vector<float> values(12);
  const MutableTensorView all = view(values, {3, 4});
  CHECK(all.reshaped({2, 6}).shape() == Shape{2, 6});
  CHECK(all.reshaped({12}).data() == values.data());
  CHECK(TensorView(all).reshaped({12}).data() == values.data());
  CHECK_THROWS_AS(all.reshaped({11}), ArgumentError);
  CHECK_THROWS_AS(all.reshaped({-3, -4}), ArgumentError);
  CHECK_THROWS_AS(all.reshaped({huge, huge}), ArgumentError);
  CHECK_THROWS_AS(view(values, {huge, huge}).reshaped({12}), ArgumentError);
}

TEST_CASE("tensor view: a reshape does not make memory suffice") {
  std::vector<float> values(3);
  CHECK_THROWS_AS(view(values, {2, 2}).reshaped({4}).check("it"), ArgumentError);
}

}  // namespace
}  // namespace lockstep
