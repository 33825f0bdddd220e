// Convolutions of float32 against the reference in float64.

#include "kernels/convolver.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "kernels/float_errors.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

WindowAxis random_axis(std::mt19937& engine) {
  const auto number = [&](std::int64_t most) {
    return 1 + static_cast<std::int64_t>(engine()) % most;
  };
  const std::int64_t input = number(17);
  const std::int64_t size = std::min(number(5), input);
  const std::int64_t stride = number(3);
  if (engine() % 2 == 0) return {input, ceil_quotient(input - size + 1, stride), size, stride, 0};
  const std::int64_t output = ceil_quotient(input, stride);
  const std::int64_t overhang = (output - 1) * stride - input + size;
  return {input, output, size, stride, std::max<std::int64_t>(overhang, 0) / 2};
}

Convolution random_convolution(std::mt19937& engine) {
  constexpr std::array<std::int64_t, 8> extents{1, 2, 3, 5, 8, 16, 17, 32};
  const WindowAxis vertical = random_axis(engine);
  return {.patches = {.window = {vertical, engine() % 3 == 0 ? vertical : random_axis(engine)},
                      .channels = extents[engine() % extents.size()],
                      .order = engine() % 2 == 0 ? ChannelOrder::last : ChannelOrder::first},
          .num_images = static_cast<std::int64_t>(engine() % 4),
          .num_filters = extents[engine() % extents.size()]};
}

// All that a layer computes: results with and without bias, gradients of kernel and images.
template <class T>
struct Outcome {
  std::vector<T> results, biased, kernel_gradient, image_gradient;
};

struct Case {
  Convolution convolution;
  Result mode;
  std::vector<float> images, kernel, bias, upper, before;

  Case(const Convolution& given, std::mt19937& engine)
      : convolution(given), mode(engine() % 2 == 0 ? Result::overwrite : Result::accumulate) {
    const std::int64_t filters = given.num_filters;
    images = random_floats(given.num_images * given.patches.image_size(), engine);
    kernel = random_floats(given.patches.num_elements() * filters, engine);
    bias = random_floats(filters, engine);
    upper = random_floats(given.num_images * given.result_size(), engine);
    before = random_floats(static_cast<std::int64_t>(kernel.size()), engine);
    if (mode == Result::overwrite) before.assign(before.size(), NAN);
  }

  // With all numbers passed through `map`.
  template <class T, class Map>
  [[nodiscard]] Outcome<T> outcome(Convolver& convolver, Map&& map) const {
    const std::vector<T> x = map(images), k = map(kernel), b = map(bias), dy = map(upper);
    const auto nan = static_cast<T>(NAN);  // what is overwritten must not be read
    Outcome<T> all{.results = std::vector<T>(dy.size(), nan),
                   .biased = std::vector<T>(dy.size(), nan),
                   .kernel_gradient = map(before),
                   .image_gradient = std::vector<T>(x.size(), nan)};
    const T* const none = nullptr;
    convolver.convolve(convolution, x.data(), k.data(), none, all.results.data());
    convolver.convolve(convolution, x.data(), k.data(), b.data(), all.biased.data());
    convolver.kernel_gradient(convolution, x.data(), dy.data(), all.kernel_gradient.data(), mode);
    convolver.image_gradient(convolution, k.data(), dy.data(), all.image_gradient.data());
    return all;
  }
  [[nodiscard]] Outcome<float> outcome(Convolver& convolver) const {
    return outcome<float>(convolver, [](const std::vector<float>& values) { return values; });
  }
};

bool is_same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * 4) == 0);
}

bool is_same(const Outcome<float>& a, const Outcome<float>& b) {
  return is_same(a.results, b.results) && is_same(a.biased, b.biased) &&
         is_same(a.kernel_gradient, b.kernel_gradient) &&
         is_same(a.image_gradient, b.image_gradient);
}

}  // namespace

TEST_CASE("float32 convolutions of random shapes are those of float64 but for rounding") {
  std::mt19937 engine(1);
  for (int i = 0; i < 120; ++i) {
    const Case test(random_convolution(engine), engine);
    const PatchGeometry& patches = test.convolution.patches;
    const WindowAxis& vertical = patches.window.vertical;
    const WindowAxis& horizontal = patches.window.horizontal;
    CAPTURE(i, test.convolution.num_images, patches.channels, test.convolution.num_filters,
            patches.order == ChannelOrder::last, vertical.input, vertical.size, vertical.stride,
            vertical.padding, horizontal.input, horizontal.size, horizontal.stride,
            horizontal.padding, test.mode == Result::accumulate);
    Convolver convolver;
    const auto exact = test.outcome<double>(convolver, widened);
    const auto sums = test.outcome<double>(convolver, magnitudes);
    const Outcome<float> got = test.outcome(convolver);
    const std::int64_t num_terms = patches.num_elements() + 1;
    CHECK(are_sums(got.results, exact.results, sums.results, num_terms));
    CHECK(are_sums(got.biased, exact.biased, sums.biased, num_terms));
    CHECK(are_sums(got.kernel_gradient, exact.kernel_gradient, sums.kernel_gradient,
                   test.convolution.num_images * patches.num_positions() + 1));
    CHECK(are_sums(got.image_gradient, exact.image_gradient, sums.image_gradient,
                   vertical.size * horizontal.size * test.convolution.num_filters));
  }
}

TEST_CASE("equal float32 convolutions have equal bits, whatever was computed in between") {
  std::mt19937 engine(2);
  Convolver first, second;
  for (int i = 0; i < 20; ++i) {
    const Case test(random_convolution(engine), engine);
    const Case other(random_convolution(engine), engine);
    const Outcome<float> outcome = test.outcome(first);
    static_cast<void>(other.outcome(first));
    REQUIRE(is_same(test.outcome(first), outcome));
    REQUIRE(is_same(test.outcome(second), outcome));
  }
}

TEST_CASE("repeated float32 convolutions allocate nothing") {
  const ChannelOrder order = GENERATE(ChannelOrder::last, ChannelOrder::first);
  const WindowAxis axis{8, 8, 3, 1, 1};
  std::mt19937 engine(3);
  const Convolution convolution{{{axis, axis}, 16, order}, 3, 16};
  const Case test(convolution, engine);
  std::vector<float> results(test.upper.size()), images(test.images.size()), kernel(test.kernel);
  Convolver convolver;
  const auto step = [&] {
    convolver.convolve(convolution, test.images.data(), test.kernel.data(), test.bias.data(),
                       results.data());
    convolver.kernel_gradient(convolution, test.images.data(), results.data(), kernel.data(),
                              Result::accumulate);
    convolver.image_gradient(convolution, test.kernel.data(), results.data(), images.data());
  };
  step();
  const std::int64_t before = num_allocations();
  step();
  CHECK(num_allocations() == before);
}
