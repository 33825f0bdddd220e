// Every option and per-call input of batch normalization by name, and runs of layers that use some.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/layers/batch_normalization.hpp"

namespace lockstep::testing {

enum class AdjustmentKind : std::uint8_t { none, per_channel, per_element, per_rank };

/// A way to use the layer: options, and what calls bring besides their input.
struct UseCase {
  UseCase();

  BatchNormalizationOptions options;  ///< float64; random parameters and moving statistics
  Shape shape{12, 2, 3, 4};           ///< of a global batch
  bool has_weights = false;           ///< zeros among them
  int mask_rank = 0;                  ///< 0: no mask
  bool has_residual = false;
  AdjustmentKind adjustment = AdjustmentKind::none;

  [[nodiscard]] std::vector<int> axes() const;  ///< of the channels
  [[nodiscard]] std::int64_t num_channels() const;
};

/// One option or input, with a value that tells it from the default.
struct Feature {
  std::string name;    ///< in the table of src/README.md
  std::string option;  ///< features of one option exclude each other
  std::function<void(UseCase&)> choose;
};

/// All of them, in the order of the table.
[[nodiscard]] const std::vector<Feature>& features();
[[nodiscard]] const Feature& feature(const std::string& name);
[[nodiscard]] UseCase use_case_of(const std::vector<std::string>& names);

/// What the table says about two features.
struct PairRule {
  bool is_one_option = false;
  std::optional<std::string> refusal;  ///< part of the message

  [[nodiscard]] bool is_allowed() const { return !is_one_option && !refusal; }
};
[[nodiscard]] PairRule rule_of(const Feature& a, const Feature& b);
/// Names of the features that the table lists, and all its messages.
[[nodiscard]] const std::vector<std::string>& names_in_table();
[[nodiscard]] std::vector<std::string> messages_in_table();

/// Calls body(a, b) for all pairs of features that may be used together, each once.
void for_each_allowed_pair(const std::function<void(const Feature&, const Feature&)>& body);

/// The rows of a global batch that one rank of a cut has, or all of them.
struct Part {
  std::vector<std::int64_t> cut;
  std::optional<int> rank = std::nullopt;  ///< empty: all rows

  [[nodiscard]] std::int64_t first() const;
  [[nodiscard]] std::int64_t count() const;
};

/// As many rows for every rank.
[[nodiscard]] Part even_part(const Communicator& replicas, std::int64_t count);

/// A layer that trains on one part of every global batch.
struct OptionRun {
  OptionRun(const UseCase& chosen, Part rows, const Communicator& replicas);

  /// Takes the rows of the global batch number `step`.
  void load(std::uint64_t step);
  /// A training call with everything that was loaded.
  [[nodiscard]] Call call(Commit commit = Commit::at_once);
  void forward(Commit commit = Commit::at_once);
  void backward();
  /// Gradients summed over the replicas, plain descent, constraints, deferred updates.
  void update(const Communicator& replicas);
  void train(std::uint64_t step, const Communicator& replicas);

  UseCase use_case;
  Part part;
  BatchNormalization layer;
  BatchNormalizationTape tape;
  Tensor x, dy, residual;  // in the layer's dtype
  Tensor weights, mask;
  Tensor y, dx, residual_gradient;
};

/// A run with four samples per rank, synchronized over all where the features do not say otherwise.
[[nodiscard]] OptionRun synchronized_run(const std::vector<std::string>& names,
                                         const Communicator& replicas);

/// Channel of each element of the run's input.
[[nodiscard]] std::vector<std::size_t> channels_of(const OptionRun& run);

/// Values of all variables but gradients, one after another.
[[nodiscard]] std::vector<double> state_of(BatchNormalization& layer);
/// The elements of a floating tensor in double.
[[nodiscard]] std::vector<double> doubles_of(const TensorView& tensor);

}  // namespace lockstep::testing
