// One call of batch normalization: what backward needs, and what is pending until commit.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "comm/exchange.hpp"
#include "comm/failure.hpp"
#include "kernels/blocks.hpp"
#include "kernels/normalization.hpp"
#include "layers/adjustment.hpp"
#include "layers/moving_statistics.hpp"
#include "layers/sample_weights.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "norm/affine.hpp"
#include "stats/moments.hpp"

namespace lockstep {

/// What is applied last.
struct FinalActivation {
  AnyActivation function = ActivationFunction::linear;
  double negative_slope = default_negative_slope;
};

/// Columns are what is normalized on its own: channels, or channels of ghost batches. Batch, r, d,
/// gamma and beta are per channel, moments and affine functions per column.
struct BatchNormalizationTape::Record {
  std::uint64_t owner = 0;  ///< the layer, by the number of its Parts
  std::int64_t step = -1;
  bool has_call = false;               ///< of forward that succeeded
  bool uses_batch_statistics = false;  ///< or the moving ones, as constants
  bool is_training = false;            ///< so that it is merged over the layer's group
  bool learns = false;                 ///< so that it updates the moving statistics
  bool is_measured = false;            ///< so that it tells a PopulationRecorder instead
  bool may_be_fused = false;           ///< followed TensorFlow's fused kernel without weights
  bool is_fused = false;               ///< follows TensorFlow's fused kernel
  bool has_ghosts = false;
  bool has_pending_shift = false;
  bool has_pending_update = false;

  TensorView input;
  TensorView residual;  ///< null without
  ColumnLayout layout;
  SampleWeights weights;
  AdjustmentValues adjustment;
  const BatchNormalizationOptions* options = nullptr;  ///< the layer's, during a call of it
  const FinalActivation* activation = nullptr;         ///< likewise

  MovingUpdates update;                       ///< one, or none where it was handed on
  std::vector<double> count, mean, variance;  ///< of the batch
  std::vector<double> stored_variance;        ///< as it is to be averaged
  Moments moments;
  ChannelAffine normalization;      ///< x to xhat
  std::vector<double> r, d;         ///< of batch renormalization; 1 and 0 without
  std::vector<double> gamma, beta;  ///< of the call; 1 and 0 without
  ChannelAffine output;             ///< x to what the adjustment per element, or activation, sees
  std::vector<double> factor, offset;  ///< what follows an adjustment per element; per column

  void resize(std::size_t num_channels);

  /// Adds the sums of the local input about the centers.
  void add_sums(const SumsView& sums) const;
  /// Largest x, then largest -x, of the local input per column.
  void take_range(std::span<double> range) const;
  /// Moments of this rank's ghost batches, about centers of their own where those are too far.
  /// `scratch` is resized as needed.
  void measure_ghosts(std::vector<double>& scratch);
  /// Adds, as if they were sums, how many ghost batches have elements, their means and variances.
  void add_ghosts(const SumsView& sums) const noexcept;
  /// The failure of this rank when a ghost batch is not finite, or too small under `strict`.
  [[nodiscard]] std::optional<Failure> unusable_ghost() const;

  /// count, mean and variance from the moments, or from merged averages of ghost batches.
  void take_batch_from_moments() noexcept;
  void take_batch_from_ghosts(const SumsView& averages) noexcept;

  /// What the call learned, for the moving statistics.
  void take_lesson();
  /// The failure of all ranks when `variable_dtype` cannot hold the batch's variance, or a channel
  /// has one element under `strict`.
  [[nodiscard]] std::optional<Failure> unusable_batch(DType variable_dtype) const;

  /// What is added to variances.
  [[nodiscard]] double epsilon() const noexcept;
  /// What must be equal on all ranks: an adjustment, or where the fused kernel would run without
  /// weights, whether there are any.
  [[nodiscard]] Content content() const noexcept;

  /// Chains normalization, renormalization, adjustment, gamma and beta.
  void link() noexcept;

  void write_output(const MutableTensorView& target) const;
  /// Adds the sums that backward needs, per column.
  void add_gradient_sums(const TensorView& output_gradient, const GradientSumsView& sums) const;
  /// Writes the gradients of input and residual, each unless it is null.
  void write_gradients(const TensorView& output_gradient, const InputGradientAffine& affine,
                       const MutableTensorView& input_gradient,
                       const MutableTensorView& residual_gradient) const;

 private:
  template <class T>
  [[nodiscard]] NormalizationBatch<T> batch() const;
  [[nodiscard]] AffineView view_of(const ChannelAffine& affine) const noexcept;
};

/// What is added to variances, where TensorFlow's fused kernel is followed or not.
[[nodiscard]] double epsilon_of(const BatchNormalizationOptions& options, bool is_fused) noexcept;

/// The midpoints of `range`, rounded to the type of variables, replace the centers of columns that
/// are far and whose range is finite.
void recenter(const Moments& moments, std::span<const double> range, DType dtype,
              std::span<double> center) noexcept;

/// The failure of this rank when its own input was not finite; `range` is [2 * channels].
[[nodiscard]] std::optional<Failure> non_finite_input(std::span<const double> range);

}  // namespace lockstep
