#include "lockstep/train/dataset.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

#include "base/visit_dtype.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

void check_destination(const char* what, const MutableTensorView& destination, const Shape& shape,
                       DType kept) {
  destination.check(what);
  const bool fits =
      is_floating(kept) ? is_floating(destination.dtype()) : destination.dtype() == kept;
  if (!fits || destination.shape() != shape)
    throw ArgumentError(fmt::format(
        "{}: expected {} {}, got {} {}", what, is_floating(kept) ? "floating" : name_of(kept),
        to_string(shape), name_of(destination.dtype()), to_string(destination.shape())));
}

// destination[i] = source[indices[i]], for rows of `size` elements.
template <class From, class To>
void gather(std::span<const From> source, std::span<const std::int64_t> indices, std::int64_t size,
            std::span<To> destination) {
  To* to = destination.data();
  for (const std::int64_t index : indices) {
    const From* from = source.data() + index * size;
    to = std::transform(from, from + size, to, [](From value) { return static_cast<To>(value); });
  }
}

void gather(const Tensor& source, std::span<const std::int64_t> indices,
            const MutableTensorView& destination) {
  const std::int64_t size = source.shape().without_first().num_elements();
  if (!is_floating(source.dtype()))
    return gather(source.values<std::int64_t>(), indices, size, destination.values<std::int64_t>());
  visit_floating(source.dtype(), [&]<class From>(TypeTag<From>) {
    visit_floating(destination.dtype(), [&]<class To>(TypeTag<To>) {
      gather(source.values<From>(), indices, size, destination.values<To>());
    });
  });
}

// Checks labels against the number of classes, or finds that number.
std::optional<std::int64_t> checked_num_classes(std::span<const std::int64_t> labels,
                                                std::optional<std::int64_t> num_classes) {
  if (labels.empty()) return num_classes;
  const auto [least, greatest] = std::minmax_element(labels.begin(), labels.end());
  if (*least < 0) throw ArgumentError(fmt::format("labels start at 0, got {}", *least));
  if (num_classes && *greatest >= *num_classes)
    throw ArgumentError(
        fmt::format("label {} is too large for {} classes", *greatest, *num_classes));
  return num_classes ? num_classes : *greatest + 1;
}

}  // namespace

Dataset::~Dataset() = default;

std::optional<std::int64_t> Dataset::num_classes() const noexcept { return std::nullopt; }

void Dataset::read(std::span<const std::int64_t> indices, const MutableTensorView& inputs,
                   const MutableTensorView& targets) const {
  const auto count = static_cast<std::int64_t>(indices.size());
  check_destination("destination of inputs", inputs, input_shape().prepended(count), input_dtype());
  check_destination("destination of targets", targets, target_shape().prepended(count),
                    target_dtype());
  for (const std::int64_t index : indices)
    if (index < 0 || index >= num_samples())
      throw ArgumentError(
          fmt::format("sample {} is asked of a data set of {}", index, num_samples()));
  do_read(indices, inputs, targets);
}

ArrayDataset::ArrayDataset(Tensor inputs, Tensor targets, std::optional<std::int64_t> num_classes)
    : inputs_(std::move(inputs)), targets_(std::move(targets)) {
  if (inputs_.shape().rank() == 0 || targets_.shape().rank() == 0 ||
      inputs_.shape()[0] != targets_.shape()[0])
    throw ArgumentError(fmt::format(
        "axis 0 of inputs and targets runs over the same samples; got the shapes {} and {}",
        to_string(inputs_.shape()), to_string(targets_.shape())));
  if (!is_floating(inputs_.dtype()))
    throw ArgumentError(fmt::format("inputs must be floating, got {}", name_of(inputs_.dtype())));
  if (!is_floating(targets_.dtype()))
    num_classes_ = checked_num_classes(targets_.values<std::int64_t>(), num_classes);
  else if (num_classes)
    throw ArgumentError("floating targets are no labels and have no number of classes");
}

void ArrayDataset::do_read(std::span<const std::int64_t> indices, const MutableTensorView& inputs,
                           const MutableTensorView& targets) const {
  gather(inputs_, indices, inputs);
  gather(targets_, indices, targets);
}

}  // namespace lockstep
