// Views of contiguous row-major elements that somebody else owns.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lockstep/base/dtype.hpp"
#include "lockstep/base/export.hpp"
#include "lockstep/base/shape.hpp"

namespace lockstep {

class Tensor;

/// Read-only view: pointer, dtype, shape. Never owns, always contiguous.
///
/// Making a view never throws: whoever receives it checks that the elements behind it suffice for
/// its shape, so that a wrong view is reported on all ranks instead of on one.
class LOCKSTEP_EXPORT TensorView {
 public:
  TensorView() = default;
  /// `num_available` elements of `dtype` at `data` seen as `shape`.
  TensorView(const void* data, DType dtype, const Shape& shape, std::int64_t num_available) noexcept
      : data_(data), dtype_(dtype), is_set_(true), shape_(shape), num_available_(num_available) {}
  TensorView(const Tensor& tensor) noexcept;  // NOLINT: a tensor is a view

  [[nodiscard]] const void* data() const noexcept { return data_; }
  [[nodiscard]] DType dtype() const noexcept { return dtype_; }
  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
  [[nodiscard]] std::int64_t num_elements() const noexcept { return shape_.num_elements(); }

  /// True for a view that was never set, or of a tensor that was never given a shape. A view of no
  /// memory is not null: it is empty, or wrong.
  [[nodiscard]] bool is_null() const noexcept { return !is_set_; }

  /// Throws ArgumentError unless the shape is valid and the memory behind it suffices.
  void check(const char* what) const;

  /// The elements as T. Throws ArgumentError when that is not the dtype.
  template <class T>
  [[nodiscard]] std::span<const T> values() const {
    require_dtype(dtype_of<T>());
    return {static_cast<const T*>(data_), static_cast<std::size_t>(num_elements())};
  }

  /// The same elements with another shape of as many elements; ArgumentError otherwise.
  [[nodiscard]] TensorView reshaped(const Shape& shape) const;

  /// Elements [first, first + count) along axis 0; ArgumentError when out of range, or when the
  /// view does not pass check().
  [[nodiscard]] TensorView rows(std::int64_t first, std::int64_t count) const;

 protected:
  void require_dtype(DType dtype) const;

  const void* data_ = nullptr;
  DType dtype_ = DType::float32;
  bool is_set_ = false;
  Shape shape_{0};
  std::int64_t num_available_ = 0;
};

/// Writable view; usable wherever a TensorView is.
class LOCKSTEP_EXPORT MutableTensorView : public TensorView {
 public:
  MutableTensorView() = default;
  MutableTensorView(void* data, DType dtype, const Shape& shape,
                    std::int64_t num_available) noexcept
      : TensorView(data, dtype, shape, num_available) {}
  MutableTensorView(Tensor& tensor) noexcept;  // NOLINT: a tensor is a view

  // The constructor took a writable pointer, so it may be handed out as one.
  [[nodiscard]] void* data() const noexcept { return const_cast<void*>(data_); }

  template <class T>
  [[nodiscard]] std::span<T> values() const {
    require_dtype(dtype_of<T>());
    return {static_cast<T*>(data()), static_cast<std::size_t>(num_elements())};
  }

  [[nodiscard]] MutableTensorView reshaped(const Shape& shape) const;
  [[nodiscard]] MutableTensorView rows(std::int64_t first, std::int64_t count) const;
};

/// Views of user memory: pointer and shape, or a range whose size is checked where it is used.
template <class T>
[[nodiscard]] TensorView view(const T* data, const Shape& shape) noexcept {
  return {data, dtype_of<T>(), shape, shape.is_valid() ? shape.num_elements() : 0};
}
template <class T>
[[nodiscard]] MutableTensorView view(T* data, const Shape& shape) noexcept {
  return {data, dtype_of<T>(), shape, shape.is_valid() ? shape.num_elements() : 0};
}
template <class T>
[[nodiscard]] TensorView view(std::span<const T> data, const Shape& shape) noexcept {
  return {data.data(), dtype_of<T>(), shape, static_cast<std::int64_t>(data.size())};
}
template <class T>
[[nodiscard]] MutableTensorView view(std::span<T> data, const Shape& shape) noexcept {
  return {data.data(), dtype_of<T>(), shape, static_cast<std::int64_t>(data.size())};
}
template <class T>
[[nodiscard]] TensorView view(const std::vector<T>& data, const Shape& shape) noexcept {
  return view(std::span<const T>(data), shape);
}
template <class T>
[[nodiscard]] MutableTensorView view(std::vector<T>& data, const Shape& shape) noexcept {
  return view(std::span<T>(data), shape);
}

}  // namespace lockstep
