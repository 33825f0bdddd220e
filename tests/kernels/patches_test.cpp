// Patches: against the definition, and gathering as the adjoint of scattering.

#include "kernels/patches.hpp"

#include <numeric>
#include <vector>

#include "support/catch.hpp"

namespace lockstep {
namespace {

// Every combination of window size, stride and padding on images of 5 x 4 pixels.
std::vector<PatchGeometry> geometries() {
  constexpr std::int64_t height = 5;
  constexpr std::int64_t width = 4;
  std::vector<PatchGeometry> result;
  for (const ChannelOrder order : {ChannelOrder::last, ChannelOrder::first})
    for (const std::int64_t channels : {1, 3})
      for (const std::int64_t rows : {1, 2, 3})
        for (const std::int64_t columns : {1, 2, 3})
          for (const std::int64_t stride : {1, 2, 3})
            for (const std::int64_t padding : {0, 1, 2}) {
              // As many positions as start in the input or in front of it.
              const WindowAxis vertical{height, ceil_quotient(height + padding, stride), rows,
                                        stride, std::min(padding, rows - 1)};
              const WindowAxis horizontal{width, ceil_quotient(width, stride), columns, stride,
                                          std::min(padding, columns - 1)};
              result.push_back({{vertical, horizontal}, channels, order});
            }
  return result;
}

// The patches by their definition, always [positions, elements].
std::vector<double> patches_by_definition(const PatchGeometry& geometry,
                                          const std::vector<double>& image) {
  const WindowAxis& vertical = geometry.window.vertical;
  const WindowAxis& horizontal = geometry.window.horizontal;
  std::vector<double> patches;
  for (std::int64_t y = 0; y < vertical.output; ++y)
    for (std::int64_t x = 0; x < horizontal.output; ++x)
      for (std::int64_t i = 0; i < vertical.size; ++i)
        for (std::int64_t j = 0; j < horizontal.size; ++j)
          for (std::int64_t c = 0; c < geometry.channels; ++c) {
            const std::int64_t row = y * vertical.stride + i - vertical.padding;
            const std::int64_t column = x * horizontal.stride + j - horizontal.padding;
            const bool is_outside =
                row < 0 || row >= vertical.input || column < 0 || column >= horizontal.input;
            const std::int64_t index =
                geometry.order == ChannelOrder::last
                    ? (row * horizontal.input + column) * geometry.channels + c
                    : (c * vertical.input + row) * horizontal.input + column;
            patches.push_back(is_outside ? 0.0 : image[static_cast<std::size_t>(index)]);
          }
  return patches;
}

std::vector<double> numbers(std::int64_t count, double first) {
  std::vector<double> result(static_cast<std::size_t>(count));
  std::iota(result.begin(), result.end(), first);
  return result;
}

TEST_CASE("gathered patches are those of the definition") {
  for (const PatchGeometry& geometry : geometries()) {
    const std::vector<double> image = numbers(geometry.image_size(), 1.0);
    std::vector<double> patches(static_cast<std::size_t>(geometry.patches_size()), -1.0);
    gather_patches(geometry, image.data(), patches.data());

    const std::vector<double> expected = patches_by_definition(geometry, image);
    const auto positions = static_cast<std::size_t>(geometry.num_positions());
    const auto elements = static_cast<std::size_t>(geometry.num_elements());
    bool are_equal = true;
    for (std::size_t p = 0; p < positions; ++p)
      for (std::size_t e = 0; e < elements; ++e) {
        const std::size_t stored =
            geometry.order == ChannelOrder::last ? p * elements + e : e * positions + p;
        are_equal = are_equal && patches[stored] == expected[p * elements + e];
      }
    REQUIRE(are_equal);
  }
}

TEST_CASE("scattering is the adjoint of gathering") {
  for (const PatchGeometry& geometry : geometries()) {
    const std::vector<double> image = numbers(geometry.image_size(), 1.0);
    const std::vector<double> weights = numbers(geometry.patches_size(), -20.0);
    std::vector<double> patches(weights.size());
    gather_patches(geometry, image.data(), patches.data());
    std::vector<double> scattered(image.size(), 0.0);
    scatter_patches(geometry, weights.data(), scattered.data());

    // Whole numbers: both inner products are exact.
    REQUIRE(std::inner_product(patches.begin(), patches.end(), weights.begin(), 0.0) ==
            std::inner_product(image.begin(), image.end(), scattered.begin(), 0.0));
  }
}

TEST_CASE("scattering adds to what is there") {
  const WindowAxis axis{2, 2, 1, 1, 0};
  const PatchGeometry geometry{{axis, axis}, 1, ChannelOrder::last};
  const std::vector<float> patches{1, 2, 3, 4};
  std::vector<float> image{10, 20, 30, 40};
  scatter_patches(geometry, patches.data(), image.data());
  REQUIRE(image == std::vector<float>{11, 22, 33, 44});
}

}  // namespace
}  // namespace lockstep
