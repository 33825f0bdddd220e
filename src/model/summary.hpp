// A model as a table for people.

#pragma once

#include <span>
#include <string>
#include <string_view>

#include "lockstep/base/shape.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

struct SummaryRow {
  Layer* layer;
  Shape output_shape;  ///< with the batch axis, of any extent
};

[[nodiscard]] std::string summary_of(std::string_view model, std::span<const SummaryRow> rows);

/// "[None, 8, 8, 3]": a shape whose axis 0 may have any extent.
[[nodiscard]] std::string batch_text_of(const Shape& shape);

}  // namespace lockstep
