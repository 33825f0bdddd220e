// Elements on their way between storage types.

#include "base/convert.hpp"

#include <array>
#include <cstddef>
#include <vector>

#include "base/random.hpp"
#include "base/visit_dtype.hpp"
#include "lockstep/base/tensor.hpp"
#include "support/catch.hpp"

namespace lockstep {
namespace {

constexpr std::array floating{DType::float32, DType::float64, DType::float16, DType::bfloat16};

std::vector<double> values_of(const TensorView& tensor) {
  std::vector<double> values(static_cast<std::size_t>(tensor.num_elements()));
  read_as_double(tensor, values);
  return values;
}

Tensor random_values(DType dtype) {
  Tensor result({1000}, dtype);
  std::vector<double> values;
  for (std::uint64_t i = 0; i < 1000; ++i) values.push_back(RandomKey(7).normal(i));
  write_from_double(values, result);
  return result;
}

}  // namespace

TEST_CASE("convert: every element is rounded once, to the type of the target") {
  for (const DType from : floating)
    for (const DType to : floating) {
      INFO(name_of(from) << " to " << name_of(to));
      const Tensor source = random_values(from);
      Tensor target(source.shape(), to);
      convert(source, target);
      const auto exact = values_of(source);
      const auto rounded = values_of(target);
      for (std::size_t i = 0; i < exact.size(); ++i)
        REQUIRE(rounded[i] == rounded_to(to, exact[i]));
    }
}

TEST_CASE("convert: from double to 16 bits there is no stop at float") {
  // Just above the middle of two neighbours; as a float it would be the middle.
  CHECK(rounded_to(DType::bfloat16, 1.0 + 0x1p-8 + 0x1p-40) == 1.0 + 0x1p-7);
  CHECK(rounded_to(DType::float16, 1.0 + 0x1p-11 + 0x1p-40) == 1.0 + 0x1p-10);
  CHECK(rounded_to(DType::bfloat16, 1.0 + 0x1p-8) == 1.0);
  CHECK(rounded_to(DType::float16, 1.0 + 0x1p-11) == 1.0);
  CHECK(rounded_to(DType::float64, 0.1) == 0.1);
}

}  // namespace lockstep
