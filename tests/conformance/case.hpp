// What the files of a conformance folder say.

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/base/dtype.hpp"
#include "lockstep/base/shape.hpp"
#include "lockstep/layers/batch_normalization_options.hpp"

namespace lockstep::conformance {

/// "f32" or "f64".
[[nodiscard]] std::string name_in_format(DType dtype);

/// Row-major values.
struct Array {
  Shape shape;
  std::vector<double> values;
};

/// An array in the blob of its group, which holds all of it.
struct StoredArray {
  std::shared_ptr<const std::string> blob;  ///< little-endian
  DType dtype = DType::float32;             ///< or float64
  Shape shape;
  std::size_t offset = 0;        ///< of the first value, in bytes
  std::int64_t num_repeats = 1;  ///< how often the stored values follow each other

  [[nodiscard]] Array load() const;
};

/// |got - expected| <= absolute + relative * |expected|.
struct Tolerance {
  double absolute = 0.0;
  double relative = 0.0;
};

struct Expectation {
  StoredArray array;
  std::map<DType, Tolerance> tolerances;  ///< by the precision that the layer computes in
};

/// One call of the layer, or several equal ones, and what it must have brought about.
struct Step {
  bool is_training = true;
  bool is_trainable = true;
  int times = 1;
  std::optional<double> learning_rate;  ///< of gradient descent after backward
  std::optional<double> momentum;       ///< of this step; empty: the layer's option
  std::map<std::string, StoredArray> inputs;
  std::map<std::string, Expectation> expectations;
};

struct Case {
  std::string id;
  std::string group;
  bool is_optional = false;             ///< need not be supported
  std::string damage;                   ///< what is wrong with the case; empty: nothing
  std::vector<std::string> objections;  ///< what the runner does not know; empty: nothing
  BatchNormalizationOptions options;
  std::map<std::string, StoredArray> variables;  ///< initial values, by the layer's names
  int split_axis = 0;                            ///< counted from the front
  std::vector<std::vector<std::int64_t>> splits;
  std::vector<DType> precisions;
  std::vector<Step> steps;  ///< at least one, unless it is damaged
};

}  // namespace lockstep::conformance
