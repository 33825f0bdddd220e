#include "kernels/vector_choice.hpp"

#include <variant>

namespace lockstep {

std::optional<Columns> columns_of(const ColumnLayout& layout) noexcept {
  Columns columns{1, 1, 1};
  const auto axes = layout.used();
  std::size_t i = 0;
  if (axes.size() > 1 && axes[0].column_stride == 0) columns.outer = axes[i++].extent;
  if (i < axes.size() && axes[i].column_stride == 1) columns.channels = axes[i++].extent;
  if (i < axes.size() && axes[i].column_stride == 0) columns.inner = axes[i++].extent;
  if (i != axes.size() || columns.channels != layout.num_columns) return std::nullopt;
  return columns;
}

VectorActivation vector_activation(const AnyActivation& activation, double slope) noexcept {
  VectorActivation result{false, false, slope};
  const auto* const function = std::get_if<ActivationFunction>(&activation);
  if (function == nullptr || *function > ActivationFunction::leaky_relu) {
    result.other = &activation;
  } else if (*function == ActivationFunction::linear) {
    return {};
  } else if (*function != ActivationFunction::leaky_relu) {
    result.is_zero_below = true;
    result.below = 0.0;
    if (*function == ActivationFunction::relu6) result.above = 6.0;
  }
  return result;
}

}  // namespace lockstep
