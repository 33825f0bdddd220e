// Draws how a training went, as an SVG file that every browser shows.

#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lockstep/base/export.hpp"

namespace lockstep {

/// A line through the points (x[i], y[i]).
struct Curve {
  std::string label;  ///< what the legend says; equal labels have equal colours
  std::vector<double> x;
  std::vector<double> y;  ///< as long as x; NaN, infinite and absurd (> 1e100) values are gaps
  std::string panel;      ///< title of the diagram it belongs to
};

/// A self-contained SVG image: one diagram per panel, side by side in the order of their first
/// curves, with `x_label` under each. Its colours suit light and dark pages. Throws ArgumentError
/// when a curve's x and y differ in length.
[[nodiscard]] LOCKSTEP_EXPORT std::string curves_svg(const std::vector<Curve>& curves,
                                                     const std::string& x_label = "epoch");

/// Writes curves_svg() to a file, whole or not at all. Throws DataError when that fails.
LOCKSTEP_EXPORT void write_curves(const std::filesystem::path& path,
                                  const std::vector<Curve>& curves,
                                  const std::string& x_label = "epoch");

}  // namespace lockstep
