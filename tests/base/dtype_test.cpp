// Run-time element types and the way from them to C++ types.

#include "lockstep/base/dtype.hpp"

#include <cstdint>
#include <string>
#include <type_traits>

#include "base/visit_dtype.hpp"
#include "support/catch.hpp"

namespace lockstep {
namespace {

TEST_CASE("dtype: a C++ type and its dtype have the same size and kind") {
  CHECK(size_of(dtype_of<float>()) == sizeof(float));
  CHECK(size_of(dtype_of<double>()) == sizeof(double));
  CHECK(size_of(dtype_of<Float16>()) == sizeof(Float16));
  CHECK(size_of(dtype_of<BFloat16>()) == sizeof(BFloat16));
  CHECK(size_of(dtype_of<std::int64_t>()) == sizeof(std::int64_t));
  CHECK(is_floating(dtype_of<float>()));
  CHECK(is_floating(dtype_of<double>()));
  CHECK(is_floating(dtype_of<Float16>()));
  CHECK(is_floating(dtype_of<BFloat16>()));
  CHECK_FALSE(is_floating(dtype_of<std::int64_t>()));
  CHECK_FALSE(is_floating(dtype_of<bool>()));
  CHECK(dtype_of<const float>() == dtype_of<float>());
}

TEST_CASE("dtype: names are those of NumPy") {
  CHECK(name_of(DType::float32) == "float32");
  CHECK(name_of(DType::float64) == "float64");
  CHECK(name_of(DType::float16) == "float16");
  CHECK(name_of(DType::bfloat16) == "bfloat16");
  CHECK(name_of(DType::int64) == "int64");
}

TEST_CASE("dtype: a name leads back to its dtype, any other is refused") {
  for (const DType dtype : {DType::float32, DType::float64, DType::float16, DType::bfloat16,
                            DType::int64, DType::boolean})
    CHECK(dtype_of(name_of(dtype)) == dtype);
  CHECK_THROWS_WITH(dtype_of("half"), Catch::Contains("'half'") && Catch::Contains("bfloat16"));
}

TEST_CASE("dtype: parameters are as wide as what passes between layers, and never 16-bit") {
  for (const DType dtype : {DType::float32, DType::float64, DType::float16, DType::bfloat16}) {
    CHECK(is_16_bit(dtype) == (size_of(dtype) == 2));
    CHECK(parameter_dtype_of(dtype) == (is_16_bit(dtype) ? DType::float32 : dtype));
  }
}

TEST_CASE("dtype: a visitor of floating types receives the type of the dtype") {
  for (const DType dtype : {DType::float32, DType::float64, DType::float16, DType::bfloat16})
    CHECK(visit_floating(dtype, []<class T>(TypeTag<T>) { return dtype_of<T>(); }) == dtype);
  for (const DType dtype : {DType::float32, DType::float64})
    CHECK(visit_parameter(dtype, []<class T>(TypeTag<T>) { return dtype_of<T>(); }) == dtype);
}

TEST_CASE("dtype: a visitor of parameters never sees 16 bits") {
  bool was_called = false;
  const auto visit = [&] { visit_parameter(DType::float16, [&](auto) { was_called = true; }); };
  CHECK_THROWS_AS(visit(), ArgumentError);
  CHECK_FALSE(was_called);
}

TEST_CASE("dtype: a visitor of floating types never sees int64") {
  bool was_called = false;
  const auto visit = [&] { visit_floating(DType::int64, [&](auto) { was_called = true; }); };
  CHECK_THROWS_AS(visit(), ArgumentError);
  CHECK_FALSE(was_called);
}

}  // namespace
}  // namespace lockstep
