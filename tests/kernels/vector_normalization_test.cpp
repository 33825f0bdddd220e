// The vector kernels of every target against the reference, and against each other bit by bit.

#include "kernels/vector_normalization.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "base/random.hpp"
#include "kernels/reference_normalization.hpp"
#include "support/catch.hpp"
#include "support/kernels.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

// Channels last, planes of odd sizes, merged rows, several strips, dense, tiny, empty.
const std::vector<Columns> shapes{
    {1, 1, 1},    {300, 1, 1},  {37, 3, 1},    {1000, 3, 1}, {70, 17, 1},   {131, 64, 1},
    {9, 1000, 1}, {5, 2050, 1}, {2, 1, 667},   {3, 3, 667},  {2, 64, 49},   {3, 40, 49},
    {7, 5, 4},    {4, 1000, 2}, {2, 17, 128},  {2, 17, 129}, {1, 64, 1},    {2, 3, 9001},
    {0, 3, 5},    {66, 2, 9},   {1, 17, 4097}, {1, 1024, 1}, {129, 100, 1}, {2, 1030, 3}};

struct Use {
  ActivationFunction activation = ActivationFunction::linear;
  bool has_residual = false;
  bool is_spoiled = false;  // by what is not finite, by -0 and by denormals
};
const std::vector<Use> uses{{},
                            {ActivationFunction::relu, true, false},
                            {ActivationFunction::relu, false, true},
                            {ActivationFunction::relu6, true, true},
                            {ActivationFunction::leaky_relu, false, false},
                            {ActivationFunction::leaky_relu, true, true},
                            {ActivationFunction::linear, true, true},
                            {ActivationFunction::silu, true, false},
                            {ActivationFunction::sigmoid, false, true}};

ColumnLayout layout_of(const Columns& columns) {
  ColumnLayout layout;
  layout.num_columns = columns.channels;
  layout.append(columns.outer, 0);
  layout.append(columns.channels, 1);
  layout.append(columns.inner, 0);
  return layout;
}

// Elements that begin in the middle of a vector.
template <class T>
struct Elements {
  std::vector<T> memory;
  explicit Elements(std::int64_t count) : memory(static_cast<std::size_t>(count) + 3, T(77.0)) {}
  T* data() { return memory.data() + 1; }
  const T* data() const { return memory.data() + 1; }
};

template <class T>
Elements<T> random_elements(std::int64_t count, std::uint64_t seed, bool is_spoiled) {
  Elements<T> result(count);
  const RandomKey key(seed);
  const std::vector special{infinity, -infinity, not_a_number, -0.0, 1e-40, -3e-42, 1e-7};
  for (std::int64_t i = 0; i < count; ++i) {
    const auto place = static_cast<std::uint64_t>(i);
    double value = 3.0 + 2.0 * key.normal(place);
    if (is_spoiled && place % 13 == seed) value = special[place / 13 % special.size()];
    result.data()[i] = static_cast<T>(value);
  }
  return result;
}

struct Sums {
  std::vector<double> count, sum, squares, output, adjusted, normalized;
  explicit Sums(std::size_t n)
      : count(n), sum(n), squares(n), output(n), adjusted(n), normalized(n) {}
};

template <class T>
struct Results {
  Elements<T> y, y_in_place, dx, residual_gradient, dx_alone, dx_in_place;
  Sums sums;
};

template <class T>
struct Problem {
  Problem(const Columns& chosen, const Use& chosen_use)
      : columns(chosen),
        use(chosen_use),
        layout(layout_of(chosen)),
        activation(chosen_use.activation),
        num_elements(chosen.outer * chosen.channels * chosen.inner),
        x(random_elements<T>(num_elements, 1, use.is_spoiled)),
        dy(random_elements<T>(num_elements, 2, use.is_spoiled)),
        residual(random_elements<T>(num_elements, 3, use.is_spoiled)) {
    const RandomKey key(4);
    for (std::int64_t c = 0; c < columns.channels; ++c) {
      const auto i = static_cast<std::uint64_t>(c) * 6;
      // The center of sums is a float as the layer's is, or not.
      center.push_back(c % 2 == 0 ? 2.75 : 3.0 + 0.1 * key.normal(i));
      scale.push_back(0.7 + 0.1 * key.normal(i + 1));
      shift.push_back(key.normal(i + 2));
      a.push_back(c % 5 == 4 ? 0.0 : key.normal(i + 3));
      p.push_back(c % 5 == 4 ? 0.0 : key.normal(i + 4));
      q.push_back(c % 5 == 4 ? 0.0 : key.normal(i + 5));
    }
  }

  [[nodiscard]] NormalizationBatch<T> batch(const T* values) const {
    return {.x = values,
            .residual = use.has_residual ? residual.data() : nullptr,
            .layout = layout,
            .activation = activation,
            .negative_slope = 0.25};
  }
  [[nodiscard]] AffineView affine() const { return {center.data(), scale.data(), shift.data()}; }
  [[nodiscard]] InputGradientView gradient() const {
    return {center.data(), a.data(), p.data(), q.data()};
  }

  [[nodiscard]] Results<T> results() const {
    Results<T> r{
        Elements<T>(num_elements), x,  Elements<T>(num_elements), Elements<T>(num_elements),
        Elements<T>(num_elements), dy, Sums(center.size())};
    const auto b = batch(x.data());
    const AffineView output = affine();
    add_sums(b, center.data(), r.sums.count.data(), r.sums.sum.data(), r.sums.squares.data());
    add_gradient_sums(
        b, output, output, dy.data(),
        {r.sums.output.data(), r.sums.adjusted.data(), r.sums.normalized.data(), nullptr});
    apply_normalization(b, output, r.y.data());
    apply_normalization(batch(r.y_in_place.data()), output, r.y_in_place.data());
    apply_input_gradient(b, output, gradient(), dy.data(), r.dx.data(), r.residual_gradient.data());
    apply_input_gradient(b, output, {center.data(), a.data(), nullptr, nullptr}, dy.data(),
                         r.dx_alone.data(), static_cast<T*>(nullptr));
    apply_input_gradient(b, output, gradient(), r.dx_in_place.data(), r.dx_in_place.data(),
                         static_cast<T*>(nullptr));
    return r;
  }

  Columns columns;
  Use use;
  ColumnLayout layout;
  AnyActivation activation;
  std::int64_t num_elements;
  Elements<T> x, dy, residual;
  std::vector<double> center, scale, shift, a, p, q;
};

// But for the sign of a NaN, which the order of operands decides.
template <class T>
bool are_same_bits(const Elements<T>& a, const Elements<T>& b) {
  for (std::size_t i = 0; i < a.memory.size(); ++i) {
    const bool are_nan = std::isnan(static_cast<double>(a.memory[i])) &&
                         std::isnan(static_cast<double>(b.memory[i]));
    if (!are_nan && std::memcmp(&a.memory[i], &b.memory[i], sizeof(T)) != 0) return false;
  }
  return true;
}

template <class T>
bool are_same_bits(const Results<T>& a, const Results<T>& b) {
  return are_same_bits(a.y, b.y) && are_same_bits(a.y_in_place, b.y_in_place) &&
         are_same_bits(a.dx, b.dx) && are_same_bits(a.residual_gradient, b.residual_gradient) &&
         are_same_bits(a.dx_alone, b.dx_alone) && are_same_bits(a.dx_in_place, b.dx_in_place);
}

// The unit of rounding of what elements are computed in and stored in, added.
template <class T>
double unit_of() {
  if (std::is_same_v<T, double>) return 0x1p-53;
  if (std::is_same_v<T, float>) return 0x1p-24;
  return std::is_same_v<T, Float16> ? 0x1p-11 : 0x1p-8;
}

// The smallest positive number of a type.
template <class T>
double least_of() {
  if (std::is_same_v<T, double>) return std::numeric_limits<double>::denorm_min();
  if (std::is_same_v<T, Float16>) return 0x1p-24;
  return std::is_same_v<T, float> ? 0x1p-149 : 0x1p-133;
}

// What five roundings of terms of `size` make of a result, or that both are NaN or infinite alike.
template <class T>
bool is_close(T got, T expected, double size) {
  const auto a = static_cast<double>(got), b = static_cast<double>(expected);
  if (std::isnan(b)) return std::isnan(a);
  if (std::isinf(b)) return a == b;
  return std::abs(a - b) <= 6.0 * unit_of<T>() * (size + std::abs(b)) + 2.0 * least_of<T>();
}

// Where an activation has a kink, the last bit decides.
bool is_near_kink(double z) { return std::abs(z) < 1e-5 || std::abs(z - 6.0) < 1e-5; }

template <class T>
std::size_t num_wrong(const Problem<T>& problem, const Results<T>& got,
                      const Results<T>& expected) {
  std::size_t result = 0;
  const auto& [outer, channels, inner] = problem.columns;
  for (std::int64_t i = 0; i < problem.num_elements; ++i) {
    const auto c = static_cast<std::size_t>(i / inner % channels);
    const double distance = static_cast<double>(problem.x.data()[i]) - problem.center[c];
    const double residual =
        problem.use.has_residual ? static_cast<double>(problem.residual.data()[i]) : 0.0;
    double gradient = std::abs(static_cast<double>(problem.dy.data()[i]));
    const double z = distance * problem.scale[c] + problem.shift[c] + residual;
    const double size = std::abs(distance * problem.scale[c]) + std::abs(problem.shift[c]) +
                        std::abs(residual) + std::abs(problem.center[c]);
    // Derivatives that are no constants see the roundings of z.
    if (problem.use.activation > ActivationFunction::leaky_relu && std::isfinite(size))
      gradient *= 1.0 + size;
    const double dx_size = std::abs(problem.a[c]) * gradient +
                           std::abs(problem.p[c]) * (std::abs(distance) + problem.center[c]) +
                           std::abs(problem.q[c]);
    bool is_right = is_close(got.y.data()[i], expected.y.data()[i], size);
    if (!is_near_kink(z))
      is_right &=
          is_close(got.dx.data()[i], expected.dx.data()[i], dx_size) &&
          is_close(got.dx_alone.data()[i], expected.dx_alone.data()[i],
                   std::abs(problem.a[c]) * gradient) &&
          is_close(got.residual_gradient.data()[i], expected.residual_gradient.data()[i], gradient);
    result += is_right ? 0U : 1U;
  }
  return result;
}

double finite_or_zero(double value) { return std::isfinite(value) ? value : 0.0; }

// Sums of the absolute terms say how much rounding can matter; elements at a kink are worth as much
// as they can be.
template <class T>
bool are_close(const Problem<T>& problem, const Sums& got, const Sums& expected) {
  const double tolerance = std::is_same_v<T, double> ? 1e-12 : 1e-6;
  const std::size_t n = problem.center.size();
  std::vector<double> sizes(n), kinks(n);
  for (std::int64_t i = 0; i < problem.num_elements; ++i) {
    const auto c = static_cast<std::size_t>(i / problem.columns.inner % problem.columns.channels);
    const double distance =
        finite_or_zero(static_cast<double>(problem.x.data()[i])) - problem.center[c];
    const double gradient = finite_or_zero(static_cast<double>(problem.dy.data()[i]));
    const double residual =
        problem.use.has_residual ? static_cast<double>(problem.residual.data()[i]) : 0.0;
    const double size =
        (1.0 + std::abs(distance)) * (1.0 + std::abs(distance) + std::abs(gradient));
    sizes[c] += size;
    if (is_near_kink(distance * problem.scale[c] + problem.shift[c] + residual)) kinks[c] += size;
  }
  const auto is_near = [&](double a, double b, std::size_t c, double more) {
    if (std::isnan(b) || std::isinf(b)) return std::isnan(a) || a == b;
    return std::abs(a - b) <= tolerance * sizes[c] + more;
  };
  bool all = got.count == expected.count;
  for (std::size_t c = 0; c < n; ++c)
    all &= is_near(got.sum[c], expected.sum[c], c, 0.0) &&
           is_near(got.squares[c], expected.squares[c], c, 0.0) &&
           is_near(got.output[c], expected.output[c], c, kinks[c]) &&
           is_near(got.adjusted[c], expected.adjusted[c], c, kinks[c]) &&
           is_near(got.normalized[c], expected.normalized[c], c, kinks[c]);
  return all;
}

template <class T>
Results<T> results_by(KernelTarget target, const Problem<T>& problem) {
  const ChosenKernels chosen(target);
  return problem.results();
}

// Outputs of any size go past the caches, or none does.
class ChosenStreaming {
 public:
  explicit ChosenStreaming(bool always)
      : before_(std::exchange(min_streamed_bytes,
                              always ? 0 : std::numeric_limits<std::int64_t>::max())) {}
  ~ChosenStreaming() { min_streamed_bytes = before_; }
  ChosenStreaming(const ChosenStreaming&) = delete;
  ChosenStreaming& operator=(const ChosenStreaming&) = delete;

 private:
  std::int64_t before_;
};

}  // namespace

TEMPLATE_TEST_CASE("all targets compute what the reference computes, with the same bits",
                   "[kernels]", float, double, Float16, BFloat16) {
  for (const Columns& columns : shapes)
    for (const Use& use : uses) {
      const Problem<TestType> problem(columns, use);
      const auto expected = results_by(KernelTarget::reference, problem);
      const auto scalar = results_by(KernelTarget::scalar, problem);
      INFO(columns.outer << " x " << columns.channels << " x " << columns.inner << ", "
                         << name_of(use.activation) << (use.is_spoiled ? ", spoiled" : ""));
      CHECK(num_wrong(problem, scalar, expected) == 0);
      for (const KernelTarget target : supported_kernel_targets()) {
        if (target == KernelTarget::reference) continue;
        INFO(name_of(target));
        for (const bool is_streamed : {false, true}) {
          const ChosenStreaming streaming(is_streamed);
          const auto got = results_by(target, problem);
          CHECK(are_same_bits(got, scalar));
          CHECK(are_close(problem, got.sums, expected.sums));
        }
      }
    }
}

TEMPLATE_TEST_CASE("gates give what z computed again gives, with the same bits", "[kernels]", float,
                   double, Float16, BFloat16) {
  for (const Columns& columns : shapes)
    for (const Use& use : uses) {
      const Problem<TestType> problem(columns, use);
      for (const KernelTarget target : supported_kernel_targets()) {
        const ChosenKernels chosen(target);
        INFO(columns.outer << " x " << columns.channels << " x " << columns.inner << ", "
                           << name_of(use.activation) << ", " << name_of(target));
        for (const bool is_streamed : {false, true}) {
          const ChosenStreaming streaming(is_streamed);
          const auto expected = problem.results();
          std::vector<std::uint8_t> gates(Gates::num_bytes(problem.num_elements), 0xa5);
          auto batch = problem.batch(problem.x.data());
          Elements<TestType> y(problem.num_elements);
          const bool has_gates =
              apply_normalization(batch, problem.affine(), y.data(), gates.data());
          const bool is_piecewise = use.activation == ActivationFunction::relu ||
                                    use.activation == ActivationFunction::relu6 ||
                                    use.activation == ActivationFunction::leaky_relu;
          CHECK(has_gates ==
                (target != KernelTarget::reference && use.has_residual && is_piecewise));
          CHECK(are_same_bits(y, expected.y));
          if (!has_gates) continue;
          // With them the residual is not read.
          batch.residual = y.data();
          batch.gates.bits = gates.data();
          auto got = expected;
          got.sums = Sums(problem.center.size());
          add_gradient_sums(batch, problem.affine(), problem.affine(), problem.dy.data(),
                            {got.sums.output.data(), got.sums.adjusted.data(),
                             got.sums.normalized.data(), nullptr});
          apply_input_gradient(batch, problem.affine(), problem.gradient(), problem.dy.data(),
                               got.dx.data(), got.residual_gradient.data());
          CHECK(are_same_bits(got, expected));
          CHECK(std::ranges::equal(std::as_bytes(std::span(got.sums.output)),
                                   std::as_bytes(std::span(expected.sums.output))));
          CHECK(std::ranges::equal(std::as_bytes(std::span(got.sums.normalized)),
                                   std::as_bytes(std::span(expected.sums.normalized))));
        }
      }
    }
}

TEST_CASE("sums in double are those of the numbers", "[kernels]") {
  for (const Columns& columns : shapes) {
    const Problem<float> problem(columns, {});
    Sums expected(problem.center.size());
    reference::add_sums(problem.batch(problem.x.data()), problem.center.data(),
                        expected.count.data(), expected.sum.data(), expected.squares.data());
    const VectorBatch<float> batch{columns, problem.x.data(), nullptr, {}};
    for (const KernelTarget target : supported_kernel_targets()) {
      const VectorKernelTable* const table = vector_kernels(target);
      if (table == nullptr) continue;
      Sums got(problem.center.size());
      table->of_float.add_sums(batch, problem.center.data(), got.sum.data(), got.squares.data());
      for (std::size_t c = 0; c < got.sum.size(); ++c) {
        CHECK(std::abs(got.sum[c] - expected.sum[c]) <= 1e-12 * (1.0 + expected.squares[c]));
        CHECK(std::abs(got.squares[c] - expected.squares[c]) <= 1e-12 * expected.squares[c]);
      }
    }
  }
}

TEST_CASE("sums of floats hold where floats would not", "[kernels]") {
  const std::int64_t count = 4096;
  const ColumnLayout layout = layout_of({count, 1, 1});
  const AnyActivation linear = ActivationFunction::linear;
  std::vector<float> x(static_cast<std::size_t>(count));
  const auto [mean, stddev] = GENERATE(std::pair{0.0, 1e-25}, std::pair{1e25, 1e22},
                                       std::pair{1e6, 1.0}, std::pair{300.0, 1.0});
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(mean + stddev * RandomKey(5).normal(i));
  x[7] = static_cast<float>(mean + 1e6 * stddev);  // an outlier
  const NormalizationBatch<float> batch{.x = x.data(), .layout = layout, .activation = linear};
  const double center = 0.0;
  const auto variance_by = [&](KernelTarget target) {
    const ChosenKernels chosen(target);
    double n = 0.0, sum = 0.0, squares = 0.0;
    add_sums(batch, &center, &n, &sum, &squares);
    return squares / n - sum / n * (sum / n);
  };
  const double expected = variance_by(KernelTarget::reference);
  for (const KernelTarget target : supported_kernel_targets()) {
    INFO(name_of(target));
    CHECK(std::abs(variance_by(target) - expected) <= 128 * 0x1p-24 * expected);  // additions
  }
}

TEST_CASE("sums of floats about a center near the mean keep the digits of the variance",
          "[kernels]") {
  const std::int64_t count = 4096;
  const ColumnLayout layout = layout_of({count, 1, 1});
  const AnyActivation linear = ActivationFunction::linear;
  const double center = GENERATE(3.0, 3.5, 2.1, 3.99);  // the last are 0.9 and 0.99 deviations off
  std::vector<float> x(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(3.0 + RandomKey(6).normal(i));
  const NormalizationBatch<float> batch{.x = x.data(), .layout = layout, .activation = linear};
  const VectorBatch<float> vector{{1, 1, count}, x.data(), nullptr, {}};
  Sums exact(1);
  reference::add_sums(batch, &center, exact.count.data(), exact.sum.data(), exact.squares.data());
  for (const KernelTarget target : supported_kernel_targets()) {
    const VectorKernelTable* const table = vector_kernels(target);
    if (table == nullptr) continue;
    INFO(name_of(target));
    Sums quick(1), used(1);
    table->of_float.add_quick_sums(vector, &center, quick.sum.data(), quick.squares.data());
    CHECK(std::abs(quick.squares[0] - exact.squares[0]) <= 64 * 0x1p-24 * exact.squares[0]);
    const ChosenKernels chosen(target);
    add_sums(batch, &center, used.count.data(), used.sum.data(), used.squares.data());
    // The layer uses them here, where float and double centers are the same.
    if (center == 3.5) CHECK(used.squares[0] == quick.squares[0]);
  }
}
