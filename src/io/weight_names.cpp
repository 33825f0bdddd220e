#include "io/weight_names.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <string_view>
#include <utility>

#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

using namespace std::string_view_literals;

constexpr std::array<std::pair<std::string_view, std::string_view>, 6> pytorch_names{
    {{"kernel", "weight"},
     {"gamma", "weight"},
     {"beta", "bias"},
     {"moving_mean", "running_mean"},
     {"moving_variance", "running_var"},
     {"num_updates", "num_batches_tracked"}}};

// The name within the layer that has the variable.
std::string_view leaf_of(std::string_view name) { return name.substr(name.rfind('/') + 1); }

std::vector<int> axes_of(const Variable& variable, WeightNames names) {
  const int rank = variable.shape().rank();
  const bool is_kernel = names == WeightNames::pytorch && leaf_of(variable.name()) == "kernel";
  if (is_kernel && rank == 2) return {1, 0};
  if (is_kernel && rank == 4) return {3, 2, 0, 1};
  std::vector<int> axes(static_cast<std::size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

// Axis i of the result is axis axes[i] of the source.
Shape permuted(const Shape& source, const std::vector<int>& axes) {
  Shape result = source;
  for (int axis = 0; axis < source.rank(); ++axis)
    result = result.with(axis, source[axes[static_cast<std::size_t>(axis)]]);
  return result;
}

Tensor permuted(const TensorView& source, const std::vector<int>& axes) {
  const auto rank = static_cast<int>(axes.size());
  if (source.shape().rank() != rank || std::ranges::is_sorted(axes)) return Tensor::copy_of(source);
  std::vector<std::int64_t> strides(axes.size(), 1);  // of the source, in elements
  for (int axis = rank - 1; axis > 0; --axis)
    strides[static_cast<std::size_t>(axis - 1)] =
        strides[static_cast<std::size_t>(axis)] * source.shape()[axis];
  const Shape shape = permuted(source.shape(), axes);
  Tensor result(shape, source.dtype());
  const std::size_t size = size_of(source.dtype());
  const auto* from = static_cast<const std::byte*>(source.data());
  auto* to = static_cast<std::byte*>(result.data());
  for (std::int64_t i = 0; i < shape.num_elements(); ++i) {
    std::int64_t rest = i, offset = 0;
    for (int axis = rank - 1; axis >= 0; --axis) {
      offset += rest % shape[axis] *
                strides[static_cast<std::size_t>(axes[static_cast<std::size_t>(axis)])];
      rest /= shape[axis];
    }
    std::memcpy(to + static_cast<std::size_t>(i) * size,
                from + static_cast<std::size_t>(offset) * size, size);
  }
  return result;
}

}  // namespace

StoredForm stored_form_of(const Variable& variable, WeightNames names) {
  std::string name = variable.name();
  if (names == WeightNames::keras) return {std::move(name), axes_of(variable, names)};
  const std::string_view leaf = leaf_of(name);
  const auto found =
      std::ranges::find(pytorch_names, leaf, [](const auto& pair) { return pair.first; });
  if (found != pytorch_names.end())
    name.replace(name.size() - leaf.size(), leaf.size(), found->second);
  std::ranges::replace(name, '/', '.');
  return {std::move(name), axes_of(variable, names)};
}

Tensor to_stored(const StoredForm& form, const TensorView& value) {
  return permuted(value, form.axes);
}

Tensor from_stored(const StoredForm& form, const TensorView& stored) {
  std::vector<int> inverse(form.axes.size());
  for (std::size_t axis = 0; axis < form.axes.size(); ++axis)
    inverse[static_cast<std::size_t>(form.axes[axis])] = static_cast<int>(axis);
  return permuted(stored, inverse);
}

Shape stored_shape_of(const StoredForm& form, const Shape& shape) {
  return permuted(shape, form.axes);
}

void add_weight(const Variable& variable, const TensorView& value, WeightNames names,
                TensorFile& content) {
  const StoredForm form = stored_form_of(variable, names);
  if (!content.tensors.try_emplace(form.name, to_stored(form, value)).second)
    throw ArgumentError(
        fmt::format("variable '{}' would be stored as '{}', as another one is; give its layer "
                    "another name, or use WeightNames::keras",
                    variable.name(), form.name));
}

bool is_weight(const Variable& variable) {
  static constexpr std::array own{"shift"sv, "grid"sv, "gradient_grid"sv, "num_elements"sv};
  return variable.role() != VariableRole::state ||
         std::ranges::find(own, leaf_of(variable.name())) == own.end();
}

std::string name_of(WeightNames names) {
  return names == WeightNames::pytorch ? "pytorch" : "keras";
}

WeightNames weight_names_of(const std::string& text) {
  for (const WeightNames names : {WeightNames::pytorch, WeightNames::keras})
    if (text == name_of(names)) return names;
  throw DataError(fmt::format("tensors are named as in '{}'; pytorch and keras are known", text));
}

}  // namespace lockstep
