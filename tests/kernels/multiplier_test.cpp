// Products of float32 against the reference in float64.

#include "kernels/multiplier.hpp"

#include <cmath>
#include <cstring>

#include "kernels/float_errors.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

// [rows, columns] after its transposition.
template <class T>
MatrixView<T> matrix_of(const std::vector<T>& values, std::int64_t rows, std::int64_t columns,
                        bool is_transposed) {
  if (is_transposed) return {values.data(), columns, rows, true};
  return {values.data(), rows, columns};
}

struct Case {
  std::int64_t rows, inner, columns;
  bool a_is_transposed, b_is_transposed, has_bias;
  Result mode;
  std::vector<float> a, b, bias, before;  // before: what an accumulated result is added to

  Case(std::int64_t m, std::int64_t k, std::int64_t n, std::mt19937& engine)
      : rows(m),
        inner(k),
        columns(n),
        a_is_transposed(engine() % 2 == 0),
        b_is_transposed(engine() % 2 == 0),
        has_bias(engine() % 2 == 0),
        mode(!has_bias && engine() % 2 == 0 ? Result::accumulate : Result::overwrite),
        a(random_floats(m * k, engine)),
        b(random_floats(k * n, engine)),
        bias(random_floats(n, engine)),
        before(random_floats(m * n, engine)) {
    // What is overwritten must not be read.
    if (mode == Result::overwrite) before.assign(before.size(), NAN);
  }

  template <class T>
  [[nodiscard]] std::vector<T> result(Multiplier& multiplier, const std::vector<T>& left,
                                      const std::vector<T>& right, const std::vector<T>& offsets,
                                      std::vector<T> target) const {
    multiplier.multiply(matrix_of(left, rows, inner, a_is_transposed),
                        matrix_of(right, inner, columns, b_is_transposed),
                        has_bias ? offsets.data() : nullptr, target.data(), mode);
    return target;
  }
  [[nodiscard]] std::vector<float> result(Multiplier& multiplier) const {
    return result(multiplier, a, b, bias, before);
  }
};

bool is_exact_enough(const Case& test, Multiplier& multiplier) {
  const auto exact = test.result(multiplier, widened(test.a), widened(test.b), widened(test.bias),
                                 widened(test.before));
  const auto sums = test.result(multiplier, magnitudes(test.a), magnitudes(test.b),
                                magnitudes(test.bias), magnitudes(test.before));
  return are_sums(test.result(multiplier), exact, sums, test.inner + 1);
}

bool is_same(const std::vector<float>& a, const std::vector<float>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("float32 products of random shapes are those of float64 but for rounding") {
  std::mt19937 engine(1);
  Multiplier multiplier;
  for (int i = 0; i < 200; ++i) {
    const auto extent = [&](std::int64_t most) {
      return static_cast<std::int64_t>(engine()) % most;
    };
    const Case test(extent(4) == 0 ? extent(2) : extent(70), extent(150), 1 + extent(40), engine);
    CAPTURE(test.rows, test.inner, test.columns, test.a_is_transposed, test.b_is_transposed,
            test.has_bias, test.mode == Result::accumulate);
    REQUIRE(is_exact_enough(test, multiplier));
  }
}

TEST_CASE("equal float32 products have equal bits, whatever was multiplied in between") {
  std::mt19937 engine(2);
  Multiplier first, second;
  for (int i = 0; i < 20; ++i) {
    const Case test(13 + i, 57 + 3 * i, 11, engine);
    const Case other(31, 7 + i, 5, engine);
    const std::vector<float> result = test.result(first);
    static_cast<void>(other.result(first));
    REQUIRE(is_same(test.result(first), result));
    REQUIRE(is_same(test.result(second), result));
  }
}

TEST_CASE("a repeated float32 product allocates nothing") {
  std::mt19937 engine(3);
  Multiplier multiplier;
  const std::vector<float> a = random_floats(12 * 34, engine);
  std::vector<float> result(34 * 34);
  const MatrixView<float> matrix{a.data(), 12, 34};
  const auto step = [&] {
    multiplier.multiply(transposed(matrix), matrix, nullptr, result.data(), Result::accumulate);
    multiplier.multiply(matrix, transposed(matrix), a.data(), result.data());
  };
  step();
  const std::int64_t before = num_allocations();
  step();
  CHECK(num_allocations() == before);
}
