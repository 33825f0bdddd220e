// Memory for measurements, as little disturbed by the operating system as possible.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "bench/workload.hpp"
#include "lockstep/base/tensor_view.hpp"

/// Elements of a workload, 2 MiB aligned, on huge pages where there are any.
class Buffer {
 public:
  /// Touches all memory. Throws MemoryError when there is none.
  explicit Buffer(const Workload& workload);

  [[nodiscard]] const lockstep::MutableTensorView& view() const noexcept { return view_; }
  [[nodiscard]] std::byte* data() const noexcept { return memory_.get(); }

 private:
  struct Release {
    void operator()(std::byte* memory) const noexcept;
  };

  std::unique_ptr<std::byte, Release> memory_;
  lockstep::MutableTensorView view_;
};

/// What all measures of a workload share. The residual's gradient takes the place of y.
struct Buffers {
  /// With reproducible numbers in x, residual and dy that differ by rank and, in x, by channel.
  Buffers(const Workload& workload, int rank);

  Buffer x, residual, dy, y, dx;
};

/// The element at `index` of a floating tensor.
[[nodiscard]] double element_of(const lockstep::TensorView& tensor, std::int64_t index);

/// Copies between floating tensors of as many elements, rounding to nearest.
void convert(const lockstep::TensorView& from, const lockstep::MutableTensorView& to);
