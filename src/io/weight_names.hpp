// What a variable is called in a file, and how it lies there.

#pragma once

#include <string>
#include <vector>

#include "lockstep/base/tensor.hpp"
#include "lockstep/io/safetensors.hpp"
#include "lockstep/io/weights.hpp"
#include "lockstep/params/variable.hpp"

namespace lockstep {

/// A variable in a file. Axis i of the tensor there is the variable's axis axes[i].
struct StoredForm {
  std::string name;
  std::vector<int> axes;
};

[[nodiscard]] StoredForm stored_form_of(const Variable& variable, WeightNames names);

/// From the variable to the file, and back. A tensor of another rank than the form's stays as it
/// is.
[[nodiscard]] Tensor to_stored(const StoredForm& form, const TensorView& value);
[[nodiscard]] Tensor from_stored(const StoredForm& form, const TensorView& stored);

[[nodiscard]] Shape stored_shape_of(const StoredForm& form, const Shape& shape);

/// Adds a variable in its stored form. Throws ArgumentError where another one has its name.
void add_weight(const Variable& variable, const TensorView& value, WeightNames names,
                TensorFile& content);

/// True for variables that other systems have too. The others are of use for the same bits only.
[[nodiscard]] bool is_weight(const Variable& variable);

/// "pytorch" or "keras".
[[nodiscard]] std::string name_of(WeightNames names);
/// Throws DataError for another text.
[[nodiscard]] WeightNames weight_names_of(const std::string& text);

}  // namespace lockstep
