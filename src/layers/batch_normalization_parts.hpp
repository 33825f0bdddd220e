// What a batch normalization layer and its tape consist of.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "comm/exchange.hpp"
#include "kernels/columns.hpp"
#include "layers/moving_statistics.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "norm/affine.hpp"
#include "stats/moments.hpp"

namespace lockstep {

/// One training call: what backward needs, and what is pending until commit.
struct BatchNormalizationTape::Record {
  std::uint64_t owner = 0;  ///< the layer, by the number of its Parts
  TensorView input;
  Columns columns;
  std::int64_t step = -1;
  bool has_call = false;               ///< of forward that succeeded
  bool uses_batch_statistics = false;  ///< or the moving ones, as constants
  bool has_pending_shift = false;
  bool has_pending_update = false;
  MovingUpdates update;         ///< one, or none where it was handed on
  Moments moments;              ///< of the batch
  std::vector<double> mean;     ///< center + offset
  ChannelAffine normalization;  ///< x to xhat
  std::vector<double> r, d;     ///< of batch renormalization; 1 and 0 without

  void resize(std::size_t num_channels);

  /// Adds the sums of the local input about the center to `sums`.
  void add_sums(const SumsView& sums) const noexcept;
  /// Largest x, then largest -x, of the local input per channel.
  void take_range(std::span<double> range) const noexcept;

  void add_gradient_sums(const TensorView& output_gradient, const GradientSumsView& sums) const;
  void write_input_gradient(const TensorView& output_gradient, const InputGradientAffine& affine,
                            const MutableTensorView& input_gradient) const;
};

/// Variables, merges and scratch memory, once the layer is built.
struct BatchNormalization::Parts {
  const std::uint64_t number = next_number();  ///< of no other layer in this process
  bool backward_merges = true;                 ///< as the last training call of forward did
  int axis = 0;                                ///< counted from the front
  std::size_t num_channels = 0;
  Variable* gamma = nullptr;  ///< null without scale
  Variable* beta = nullptr;   ///< null without center
  Variable* shift = nullptr;  ///< K: about it the next sums are taken
  std::optional<MovingStatistics> moving;
  MovingUpdates deferred;  ///< collected until apply_updates()
  MovingUpdates spare;     ///< memory for further updates

  std::optional<Exchange> forward;
  std::optional<Exchange> backward;

  // Scratch, [channels]: made once, so that a pass allocates nothing.
  std::vector<double> factor;  ///< gamma, or ones
  std::vector<double> offset;  ///< beta, or zeros
  std::vector<double> values, more_values;
  std::vector<double> local_range, range;  ///< [2 * channels]
  ChannelAffine output;
  InputGradientAffine input_gradient;
  BatchNormalizationTape tape;  ///< of calls that bring none

  [[nodiscard]] static std::uint64_t next_number() noexcept;
  void resize();
  /// Where the call is recorded. Throws ArgumentError when its tape is of no use.
  [[nodiscard]] BatchNormalizationTape::Record& record_of(const Call& call);
  /// Reads gamma and beta into factor and offset.
  void read_parameters() noexcept;
  /// K becomes the mean of the batch, rounded, wherever that is finite.
  void move_shift(std::span<const double> mean) noexcept;
  /// r and d from the moments of the batch and the moving ones.
  void renormalize(const BatchNormalizationOptions& options,
                   BatchNormalizationTape::Record& record) noexcept;
  /// Makes sure that the record can take an update.
  void provide_update(BatchNormalizationTape::Record& record);
};

/// Throws ArgumentError when options cannot be used, alone or for this input.
void validate(const BatchNormalizationOptions& options, const Shape& input_shape);

}  // namespace lockstep
