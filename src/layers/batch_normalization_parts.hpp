// What a batch normalization layer consists of.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "comm/exchange.hpp"
#include "layers/batch_gradient_sums.hpp"
#include "layers/batch_normalization_record.hpp"
#include "layers/batch_sums.hpp"
#include "layers/channel_groups.hpp"

namespace lockstep {

/// What backward reads and writes; the gradients it writes may be null.
struct GradientTensors {
  TensorView output;
  MutableTensorView input, residual;
};

/// Variables, merges and scratch memory, once the layer is built.
struct BatchNormalization::Parts {
  std::uint64_t number = next_number();  ///< of no other layer in this process
  std::atomic_flag is_in_use;            ///< by a thread in forward or backward
  bool backward_merges = true;           ///< as the last training call of forward did
  std::vector<int> axes;                 ///< of the channels, from the front, ascending
  std::size_t num_channels = 0;
  FinalActivation activation;         ///< that of the options, or of a block around the layer
  Variable* gamma = nullptr;          ///< null without scale
  Variable* beta = nullptr;           ///< null without center
  Variable* shift = nullptr;          ///< K: about it the next sums are taken
  Variable* grid = nullptr;           ///< of those sums as integers; null where they are none
  Variable* gradient_grid = nullptr;  ///< likewise
  std::shared_ptr<MovingStatistics> moving;  ///< null where none are tracked

  bool is_fused = false;             ///< without weights
  bool is_adjusted = false;          ///< by an adjustment
  bool group_is_all = true;          ///< the layer's group holds all replicas
  std::optional<Exchange> forward;   ///< of training calls, among the layer's group
  std::optional<Exchange> backward;  ///< likewise
  std::optional<Exchange> own_forward, own_backward;  ///< of calls that are this rank's alone

  std::unique_ptr<BatchSums> batch_sums;
  std::unique_ptr<BatchGradientSums> gradient_sums;
  FastGradientSums own_gradient_sums{0, false};  ///< of calls that are this rank's alone
  bool is_irregular = false;                     ///< the channel axes do not lie side by side

  bool may_divide = false;             ///< channels can go through the cache in groups
  std::array<ChannelGroup, 3> groups;  ///< that are on their way, in turns

  // Scratch, made once, so that a pass allocates nothing.
  std::vector<double> values, more_values;  ///< [channels]
  std::vector<double> local_range, range;   ///< of a range round
  InputGradientAffine input_gradient;
  BatchNormalizationTape tape;  ///< of calls that bring none

  class Groups;
  class ForwardGroups;
  class BackwardGroups;

  [[nodiscard]] static std::uint64_t next_number() noexcept;
  /// Makes the sums, once there are variables, and scratch memory.
  void prepare(const BatchNormalizationOptions& options);
  /// For the calls of `layer` among the ranks of `group`.
  [[nodiscard]] Exchange make_exchange(Pass pass, const std::string& layer,
                                       const Communicator& group) const;
  [[nodiscard]] BatchGradientSums& gradient_sums_of(bool is_merged) noexcept {
    if (is_merged) return *gradient_sums;
    return own_gradient_sums;
  }
  [[nodiscard]] Exchange& exchange(Pass pass, bool is_merged) noexcept;
  [[nodiscard]] std::unique_ptr<BatchSums> make_batch_sums(std::size_t num_channels) const;
  [[nodiscard]] std::unique_ptr<BatchGradientSums> make_gradient_sums(
      std::size_t num_channels) const;

  /// The moments of the batch of all ranks. Instead of a record there may be a failure, which all
  /// ranks then throw. Collective.
  void merge_at_once(BatchNormalizationTape::Record* record, Exchange& exchange, std::int64_t step,
                     std::optional<Failure> failure);
  void recenter(BatchNormalizationTape::Record& record, BatchSums& sums, Exchange& exchange);
  /// The same in groups of channels, and the output of each.
  void merge_in_groups(BatchNormalizationTape::Record* record, const MutableTensorView& output,
                       const Call& call, std::optional<Failure> failure);
  /// Likewise the sums of backward, into `sums`, or in groups into gradient_sums.
  void merge_gradients_at_once(BatchNormalizationTape::Record* record,
                               const TensorView& output_gradient, Exchange& exchange,
                               BatchGradientSums& sums, std::optional<Failure> failure);
  void merge_gradients_in_groups(BatchNormalizationTape::Record* record,
                                 const GradientTensors& tensors, std::optional<Failure> failure);
  /// Whether the layer has what groups of channels ask for, whatever the size of batches.
  [[nodiscard]] bool can_divide(const BatchNormalizationOptions& options,
                                const Shape& input_shape) const noexcept;
  /// Decides from a batch of all ranks in how many groups the next ones are merged.
  void divide(const BatchNormalizationTape::Record& record) noexcept;
  /// Where the call is recorded. Throws ArgumentError when its tape is of no use.
  [[nodiscard]] BatchNormalizationTape::Record& record_of(const Call& call, Mode mode);
  /// The centers become K; the grids of backward are those of now.
  void center(BatchNormalizationTape::Record& record) const;
  /// Reads gamma and beta into the record.
  void read_parameters(BatchNormalizationTape::Record& record) const noexcept;
  /// K becomes the mean of the batch, rounded, wherever that is finite; the grids become those for
  /// the next batch.
  void learn(const BatchNormalizationTape::Record& record) noexcept;
  void learn_gradients(const BatchNormalizationTape::Record& record) noexcept;
  /// r and d from the moments of the batch and the moving ones.
  void renormalize(BatchNormalizationTape::Record& record) noexcept;
  /// Coefficients of the input's gradient, from sums per column.
  void differentiate(const BatchNormalizationTape::Record& record, const GradientSumsView& sums,
                     InputGradientAffine& gradient);
  /// The gradients of gamma and beta from sums per channel.
  void deliver(const BatchNormalizationTape::Record& record, const GradientSumsView& sums,
               Gradients gradients, GradientScope scope) noexcept;
};

/// Throws ArgumentError when options cannot be used, alone or for this input.
void validate(const BatchNormalizationOptions& options, const Shape& input_shape);

/// Throws ArgumentError for a function or slope that cannot be used.
void validate(const FinalActivation& activation);

/// The channel axes from the front, ascending. Throws ArgumentError.
[[nodiscard]] std::vector<int> channel_axes_of(const BatchNormalizationOptions& options,
                                               const Shape& input_shape);

/// True where MovingVariance::as_tensorflow follows TensorFlow's fused kernel in calls without
/// weights.
[[nodiscard]] bool runs_fused(const BatchNormalizationOptions& options, const Shape& input_shape);

/// Throws ArgumentError when the options do not go with the weights and samples of a training call.
void validate_call(const BatchNormalizationOptions& options, const Call& call,
                   std::int64_t num_samples);

}  // namespace lockstep
