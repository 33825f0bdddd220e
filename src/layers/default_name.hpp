// Names of layers that are given none.

#pragma once

#include <cctype>
#include <string>
#include <string_view>

#include "lockstep/base/shape.hpp"

namespace lockstep {

/// "BatchNormalization" -> "batch_normalization", "MaxPool2D" -> "max_pool2d".
[[nodiscard]] inline std::string default_name_of(std::string_view type) {
  std::string name;
  bool after_lower = false;
  for (const char c : type) {
    const auto letter = static_cast<unsigned char>(c);
    if (std::isupper(letter) != 0 && after_lower) name += '_';
    name += static_cast<char>(std::tolower(letter));
    after_lower = std::islower(letter) != 0;
  }
  return name;
}

/// The shape of one sample, empty for a shape without axes.
[[nodiscard]] inline Shape sample_shape_of(const Shape& shape) {
  return shape.rank() == 0 ? shape : shape.without_first();
}

}  // namespace lockstep
