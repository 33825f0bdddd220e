// What is normalized in a measurement.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/bench_options.hpp"
#include "lockstep/base/dtype.hpp"
#include "lockstep/base/shape.hpp"

enum class Layout : std::uint8_t { nhwc, nchw, nc };

/// "nhwc".
[[nodiscard]] std::string_view name_of(Layout layout) noexcept;

/// A batch of each rank: `extents` are N, C, H, W whatever the layout, or N, C.
struct Workload {
  lockstep::Shape extents;
  Layout layout = Layout::nc;
  lockstep::DType dtype = lockstep::DType::float32;

  [[nodiscard]] std::int64_t num_channels() const noexcept { return extents[1]; }
  /// H * W; 1 without images.
  [[nodiscard]] std::int64_t num_positions() const noexcept;
  [[nodiscard]] std::int64_t num_elements() const noexcept { return extents.num_elements(); }
  [[nodiscard]] double num_bytes() const noexcept;
  /// Of the tensor, with its axes in the order of the layout.
  [[nodiscard]] lockstep::Shape tensor_shape() const;
  [[nodiscard]] int channel_axis() const noexcept { return layout == Layout::nchw ? 1 : -1; }
  /// Elements between two that follow each other in a channel's plane; see channel_of().
  [[nodiscard]] std::int64_t channel_stride() const noexcept {
    return layout == Layout::nchw ? num_positions() : 1;
  }
  /// Channel of the element at `index` of the tensor.
  [[nodiscard]] std::int64_t channel_of(std::int64_t index) const noexcept {
    return index / channel_stride() % num_channels();
  }
};

/// Calls body(index, channel) for every element of the tensor, in the order of memory.
template <class Body>
void for_each_element(const Workload& workload, const Body& body) {
  const std::int64_t stride = workload.channel_stride();
  const auto num_channels = static_cast<std::size_t>(workload.num_channels());
  std::size_t channel = 0;
  for (std::int64_t first = 0; first < workload.num_elements(); first += stride) {
    for (std::int64_t i = first; i < first + stride; ++i) body(i, channel);
    channel = channel + 1 == num_channels ? 0 : channel + 1;
  }
}

/// N, C, H, W as people write them: "32x64x56x56".
[[nodiscard]] std::string label_of(const Workload& workload);

/// The extents in "32,64,56,56" or "4096,1024". Throws ArgumentError for other texts, and for more
/// than 2^32 elements.
[[nodiscard]] lockstep::Shape extents_of(std::string_view text);

/// What the options ask for: every batch of images in every layout.
[[nodiscard]] std::vector<Workload> workloads_of(const BenchOptions& options);
