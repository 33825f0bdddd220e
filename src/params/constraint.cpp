#include "lockstep/params/constraint.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cmath>
#include <string_view>

#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

constexpr double epsilon = 1e-7;  // Keras's default, beside every norm

using Axes = std::bitset<Shape::max_rank>;

Axes axes_of(const std::vector<int>& axes, const Shape& shape) {
  if (axes.empty()) throw ArgumentError("a norm needs at least one axis to run along, got none");
  const int rank = shape.rank();
  Axes result;
  for (const int axis : axes) {
    if (axis < -rank || axis >= rank)
      throw ArgumentError(
          fmt::format("a norm cannot run along axis {} of the shape {}", axis, to_string(shape)));
    const auto position = static_cast<std::size_t>(axis < 0 ? axis + rank : axis);
    if (result[position])
      throw ArgumentError(fmt::format("a norm cannot run along axis {} twice", position));
    result.set(position);
  }
  return result;
}

void check_limit(std::string_view name, double value) {
  if (!std::isfinite(value) || value < 0.0)
    throw ArgumentError(fmt::format("a norm needs a finite {} >= 0, got {}", name, value));
}

// Positions along some axes of a row-major tensor, the last axis first.
struct Grid {
  int num_axes = 0;
  std::array<std::int64_t, Shape::max_rank> extents{};
  std::array<std::int64_t, Shape::max_rank> strides{};

  void add(std::int64_t extent, std::int64_t stride) {
    extents[static_cast<std::size_t>(num_axes)] = extent;
    strides[static_cast<std::size_t>(num_axes++)] = stride;
  }
};

// Calls `visit` with the offset of every position along the grid's first `num_axes` axes.
template <class Visit>
void for_each_offset(const Grid& grid, int num_axes, std::int64_t offset, Visit&& visit) {
  if (num_axes == 0) return visit(offset);
  const auto axis = static_cast<std::size_t>(num_axes - 1);
  for (std::int64_t i = 0; i < grid.extents[axis]; ++i)
    for_each_offset(grid, num_axes - 1, offset + i * grid.strides[axis], visit);
}
template <class Visit>
void for_each_offset(const Grid& grid, Visit&& visit) {
  for_each_offset(grid, grid.num_axes, 0, visit);
}

// Brings every norm along `along_axes` to desired_of(norm). Where the last axis holds many norms
// side by side, some are computed at once, so that memory is read in its order.
template <class Desired>
void scale_norms(const std::vector<int>& along_axes, const Shape& shape, double* values,
                 Desired&& desired_of) {
  constexpr std::int64_t block = 64;
  const Axes is_along = axes_of(along_axes, shape);
  Grid along, across;
  std::int64_t width = 1;
  std::int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    if (is_along[static_cast<std::size_t>(axis)])
      along.add(shape[axis], stride);
    else if (axis == shape.rank() - 1)
      width = shape[axis];
    else
      across.add(shape[axis], stride);
    stride *= shape[axis];
  }
  for_each_offset(across, [&](std::int64_t origin) {
    for (std::int64_t first = 0; first < width; first += block) {
      double* const begin = values + origin + first;
      const auto count = static_cast<std::size_t>(std::min(block, width - first));
      std::array<double, block> factors{};
      for_each_offset(along, [&](std::int64_t offset) {
        const double* const row = begin + offset;
        for (std::size_t i = 0; i < count; ++i) factors[i] += row[i] * row[i];
      });
      for (std::size_t i = 0; i < count; ++i) {
        const double norm = std::sqrt(factors[i]);
        factors[i] = desired_of(norm) / (epsilon + norm);
      }
      for_each_offset(along, [&](std::int64_t offset) {
        double* const row = begin + offset;
        for (std::size_t i = 0; i < count; ++i) row[i] *= factors[i];
      });
    }
  });
}

void check(std::monostate, const Shape&) {}
void check(const NonNeg&, const Shape&) {}
void check(const MaxNorm& norm, const Shape& shape) {
  check_limit("max_value", norm.max_value);
  axes_of(norm.axes, shape);
}
void check(const UnitNorm& norm, const Shape& shape) { axes_of(norm.axes, shape); }
void check(const MinMaxNorm& norm, const Shape& shape) {
  check_limit("min_value", norm.min_value);
  check_limit("max_value", norm.max_value);
  if (norm.min_value > norm.max_value)
    throw ArgumentError(fmt::format("a norm needs min_value <= max_value, got {} and {}",
                                    norm.min_value, norm.max_value));
  if (!(norm.rate >= 0.0 && norm.rate <= 1.0))
    throw ArgumentError(fmt::format("a norm needs a rate in [0, 1], got {}", norm.rate));
  axes_of(norm.axes, shape);
}
void check(const ConstraintFunction& function, const Shape&) {
  if (function.name.empty())
    throw ArgumentError("a constraint function needs a name, by which ranks compare it");
  if (!function.project)
    throw ArgumentError(fmt::format("the constraint function '{}' needs project", function.name));
}

void apply(std::monostate, const Shape&, std::span<double>) {}
void apply(const NonNeg&, const Shape&, std::span<double> values) {
  for (double& value : values)
    if (value < 0.0) value = 0.0;
}
void apply(const MaxNorm& norm, const Shape& shape, std::span<double> values) {
  scale_norms(norm.axes, shape, values.data(),
              [&](double now) { return std::min(now, norm.max_value); });
}
void apply(const UnitNorm& norm, const Shape& shape, std::span<double> values) {
  scale_norms(norm.axes, shape, values.data(), [](double) { return 1.0; });
}
void apply(const MinMaxNorm& norm, const Shape& shape, std::span<double> values) {
  scale_norms(norm.axes, shape, values.data(), [&](double now) {
    return norm.rate * std::clamp(now, norm.min_value, norm.max_value) + (1.0 - norm.rate) * now;
  });
}
void apply(const ConstraintFunction& function, const Shape& shape, std::span<double> values) {
  function.project(values, shape);
}

std::string axes_text(const std::vector<int>& axes) {
  std::string text = "axes";
  for (const int axis : axes) text += fmt::format(" {}", axis);
  return text;
}

std::string text_of(std::monostate) { return "none"; }
std::string text_of(const NonNeg&) { return "non_neg"; }
std::string text_of(const MaxNorm& norm) {
  return fmt::format("max_norm({}, {})", norm.max_value, axes_text(norm.axes));
}
std::string text_of(const UnitNorm& norm) {
  return fmt::format("unit_norm({})", axes_text(norm.axes));
}
std::string text_of(const MinMaxNorm& norm) {
  return fmt::format("min_max_norm({}, {}, rate {}, {})", norm.min_value, norm.max_value, norm.rate,
                     axes_text(norm.axes));
}
std::string text_of(const ConstraintFunction& function) {
  return fmt::format("function({})", function.name);
}

}  // namespace

void validate(const Constraint& constraint, const Shape& shape) {
  std::visit([&](const auto& alternative) { check(alternative, shape); }, constraint);
}

void project(const Constraint& constraint, const Shape& shape, std::span<double> values) {
  validate(constraint, shape);
  if (!shape.is_valid() || static_cast<std::size_t>(shape.num_elements()) != values.size())
    throw ArgumentError(
        fmt::format("{} values were given for the shape {}", values.size(), to_string(shape)));
  std::visit([&](const auto& alternative) { apply(alternative, shape, values); }, constraint);
}

std::string to_string(const Constraint& constraint) {
  return std::visit([](const auto& alternative) { return text_of(alternative); }, constraint);
}

}  // namespace lockstep
