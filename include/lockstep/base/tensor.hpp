// Owning, aligned storage for elements of a run-time type.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "lockstep/base/dtype.hpp"
#include "lockstep/base/export.hpp"
#include "lockstep/base/shape.hpp"
#include "lockstep/base/tensor_view.hpp"

namespace lockstep {

/// Contiguous row-major elements, 64-byte aligned, zero at first. Copies copy the elements. Those
/// of 2 MiB and more lie in huge pages where the system has them.
class LOCKSTEP_EXPORT Tensor {
 public:
  /// No elements.
  Tensor() = default;
  /// Zeros. Throws ArgumentError on an invalid shape, MemoryError when memory cannot be had.
  explicit Tensor(const Shape& shape, DType dtype = DType::float32);

  Tensor(const Tensor& other);
  Tensor& operator=(const Tensor& other);
  Tensor(Tensor&& other) noexcept;  ///< leaves the other without elements
  Tensor& operator=(Tensor&& other) noexcept;
  ~Tensor() = default;

  /// A tensor with a copy of `values`, one per element of `shape`.
  template <class T>
  [[nodiscard]] static Tensor of(std::span<const T> values, const Shape& shape) {
    return copy_of(view(values, shape));
  }
  [[nodiscard]] static Tensor copy_of(const TensorView& source);

  [[nodiscard]] DType dtype() const noexcept { return dtype_; }
  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
  [[nodiscard]] std::int64_t num_elements() const noexcept { return shape_.num_elements(); }

  /// Changes the shape; elements are unspecified afterwards. Allocates only when it must grow.
  void resize(const Shape& shape, DType dtype);

  void fill_zero() noexcept;

  [[nodiscard]] const void* data() const noexcept { return memory_.get(); }
  [[nodiscard]] void* data() noexcept { return memory_.get(); }

  template <class T>
  [[nodiscard]] std::span<const T> values() const {
    return TensorView(*this).values<T>();
  }
  template <class T>
  [[nodiscard]] std::span<T> values() {
    return MutableTensorView(*this).values<T>();
  }

 private:
  struct Release {
    std::size_t size;  // bytes
    void operator()(std::byte* memory) const noexcept;
  };

  [[nodiscard]] std::size_t capacity() const noexcept { return memory_.get_deleter().size; }

  std::unique_ptr<std::byte[], Release> memory_;
  DType dtype_ = DType::float32;
  Shape shape_{0};
};

}  // namespace lockstep
