#include "lockstep/base/tensor_view.hpp"

#include <spdlog/fmt/fmt.h>

#include "lockstep/base/error.hpp"
#include "lockstep/base/tensor.hpp"

namespace lockstep {
namespace {

// Arguments of the view that shows rows [first, first + count) of another.
struct Rows {
  std::int64_t offset;  // elements
  Shape shape;
};

Rows rows_of(const TensorView& view, std::int64_t first, std::int64_t count) {
  view.check("a tensor whose rows are asked for");
  const Shape& shape = view.shape();
  if (shape.rank() == 0 || first < 0 || count < 0 || count > shape[0] || first > shape[0] - count)
    throw ArgumentError(fmt::format("{} rows from row {} are asked of a tensor of shape {}", count,
                                    first, to_string(shape)));
  const std::int64_t offset = first == 0 ? 0 : first * shape.without_first().num_elements();
  return {offset, shape.with(0, count)};
}

void require_same_size(const Shape& from, const Shape& to) {
  if (!from.is_valid() || !to.is_valid() || from.num_elements() != to.num_elements())
    throw ArgumentError(fmt::format("shape {} cannot be seen as {}: the numbers of elements differ",
                                    to_string(from), to_string(to)));
}

}  // namespace

TensorView::TensorView(const Tensor& tensor) noexcept
    : TensorView(tensor.data(), tensor.dtype(), tensor.shape(), tensor.num_elements()) {
  is_set_ = tensor.data() != nullptr;
}

MutableTensorView::MutableTensorView(Tensor& tensor) noexcept
    : MutableTensorView(tensor.data(), tensor.dtype(), tensor.shape(), tensor.num_elements()) {
  is_set_ = tensor.data() != nullptr;
}

void TensorView::check(const char* what) const {
  if (!shape_.is_valid())
    throw ArgumentError(fmt::format("{} has the impossible shape {}", what, to_string(shape_)));
  if (num_elements() > num_available_)
    throw ArgumentError(fmt::format("{} of shape {} needs {} elements; the memory given holds {}",
                                    what, to_string(shape_), num_elements(), num_available_));
  if (data_ == nullptr && num_elements() > 0)
    throw ArgumentError(fmt::format("{} of shape {} points nowhere", what, to_string(shape_)));
}

void TensorView::require_dtype(DType dtype) const {
  if (dtype_ != dtype)
    throw ArgumentError(
        fmt::format("{} elements are asked of a tensor of {}", name_of(dtype), name_of(dtype_)));
}

TensorView TensorView::reshaped(const Shape& shape) const {
  require_same_size(shape_, shape);
  return {data_, dtype_, shape, num_available_};
}

MutableTensorView MutableTensorView::reshaped(const Shape& shape) const {
  require_same_size(shape_, shape);
  return {data(), dtype_, shape, num_available_};
}

TensorView TensorView::rows(std::int64_t first, std::int64_t count) const {
  const Rows rows = rows_of(*this, first, count);
  const auto bytes = static_cast<std::size_t>(rows.offset) * size_of(dtype_);
  return {static_cast<const std::byte*>(data_) + bytes, dtype_, rows.shape,
          num_available_ - rows.offset};
}

MutableTensorView MutableTensorView::rows(std::int64_t first, std::int64_t count) const {
  const Rows rows = rows_of(*this, first, count);
  const auto bytes = static_cast<std::size_t>(rows.offset) * size_of(dtype_);
  return {static_cast<std::byte*>(data()) + bytes, dtype_, rows.shape,
          num_available_ - rows.offset};
}

}  // namespace lockstep
