// One call of batch normalization: what backward needs, and what is pending until commit.

#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/function_ref.hpp"
#include "base/visit_dtype.hpp"
#include "comm/exchange.hpp"
#include "comm/failure.hpp"
#include "kernels/blocks.hpp"
#include "kernels/exact_sums.hpp"
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

/// What is done with the number of each sample, once it was read.
using AfterSample = FunctionRef<void(std::int64_t)>;

/// Columns are what is normalized on its own: channels, or channels of ghost batches. Batch, r, d,
/// gamma and beta are per channel, moments and affine functions per column. A record may be a part
/// of another one: that of some of its channels.
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
  bool has_pending_gradient_grid = false;
  bool is_committed = false;
  bool has_gates = false;     ///< so that backward need not compute z again
  bool is_irregular = false;  ///< how channels lie, so that only the reference loops will do
  bool samples_are_channels = false;  ///< so that the batch is one sample
  bool is_written = false;            ///< the output, while statistics were merged
  bool is_streamed = false;           ///< of a part: outputs go past the caches

  TensorView input;
  TensorView residual;  ///< null without
  ColumnLayout layout;
  Samples samples;                ///< of no use with ghost batches
  const Record* whole = nullptr;  ///< what this is a part of
  std::size_t first_channel = 0;  ///< of the part
  SampleWeights weights;
  AdjustmentValues adjustment;
  const BatchNormalizationOptions* options = nullptr;  ///< the layer's, during a call of it
  const FinalActivation* activation = nullptr;         ///< likewise

  std::int64_t num_merged_samples = 0;      ///< of all ranks, where they are counted
  std::vector<std::int64_t> grid;           ///< exponents for the next batch, of sums as integers
  std::vector<std::int64_t> gradient_grid;  ///< of backward of this call
  std::vector<std::int64_t> next_gradient_grid;  ///< of that of the next one
  MovingUpdates update;                          ///< one, or none where it was handed on
  std::vector<double> shift;                     ///< K of the call
  std::vector<double> count, mean, variance;     ///< of the batch
  std::vector<double> stored_variance;           ///< as it is to be averaged
  Moments moments;
  ChannelAffine normalization;      ///< x to xhat
  std::vector<double> r, d;         ///< of batch renormalization; 1 and 0 without
  std::vector<double> gamma, beta;  ///< of the call; 1 and 0 without
  ChannelAffine output;             ///< x to what the adjustment per element, or activation, sees
  std::vector<double> factor, offset;  ///< what follows an adjustment per element; per column
  std::vector<std::uint8_t> gates;     ///< see Gates

  void resize(std::size_t num_channels);

  /// Becomes the channels [first, first + num_channels) of `record`, which outlives that.
  void become_part(const Record& record, std::size_t first, std::size_t num_channels);
  [[nodiscard]] bool is_part() const noexcept { return whole != nullptr; }
  [[nodiscard]] const Record& all() const noexcept { return whole == nullptr ? *this : *whole; }
  /// Takes over what a part has learned of its channels: moments and centers, the next grids.
  void take_moments(const Record& part);
  void take_gradient_grid(const Record& part);

  /// Adds the sums of the local input about the centers.
  void add_sums(
      const SumsView& sums, AfterSample after_sample = [](std::int64_t) {}) const;
  /// Largest x, then largest -x, of the local input per column.
  void take_range(std::span<double> range) const;
  /// Moments of this rank's ghost batches, about centers of their own where those are too far.
  /// `scratch` is resized as needed.
  void measure_ghosts(std::vector<double>& scratch);
  /// Adds, as if they were sums, whether a ghost batch has elements, its mean - K and its variance.
  void add_ghost(std::int64_t ghost, const SumsView& sums) const noexcept;
  /// Of this rank's ghost batches, numbers that are as far from K as their means and deviations
  /// are: largest, then largest negated, per channel.
  void take_ghost_range(std::span<double> range) const noexcept;
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

  /// With what else backward needs of it where the call `has_tape`.
  void write_output(const MutableTensorView& target, bool has_tape);
  /// Adds the sums that backward needs, per column.
  void add_gradient_sums(const TensorView& output_gradient, const GradientSumsView& sums,
                         AfterSample after_sample) const;
  /// The same for a part of the batch.
  template <class T>
  void add_gradient_sums(const NormalizationBatch<T>& part, const T* output_gradient,
                         const GradientSumsView& sums) const;
  /// Writes the gradients of input and residual, each unless it is null.
  void write_gradients(const TensorView& output_gradient, const InputGradientAffine& affine,
                       const MutableTensorView& input_gradient,
                       const MutableTensorView& residual_gradient) const;
  /// The coefficients as the passes over a batch take them.
  [[nodiscard]] InputGradientView gradient_view(const InputGradientAffine& affine) const noexcept;

  [[nodiscard]] std::int64_t num_samples() const noexcept;
  [[nodiscard]] std::int64_t num_ghosts() const noexcept;
  /// A bound of the total weight per channel of one sample of this rank.
  [[nodiscard]] double largest_sample_weight() const noexcept;

  /// Calls visit(NormalizationBatch<T>) for the input as elements of its type T: for all channels.
  template <class Visit>
  void visit_batch(Visit&& visit) const {
    visit_floating(input.dtype(), [&]<class T>(TypeTag<T>) { visit(all().template batch<T>()); });
  }

 private:
  /// Calls visit(NormalizationBatch<T>, first element) for what the record describes: the batch at
  /// once, or of a part its channels in sample after sample, and then `after_sample`.
  template <class Visit>
  void visit_pieces(AfterSample after_sample, Visit&& visit) const;
  template <class T>
  [[nodiscard]] NormalizationBatch<T> batch() const;
  /// Rows of numbers per channel, of a part: into those of all channels.
  void take_rows(const Record& part, std::span<const std::int64_t> from,
                 std::vector<std::int64_t>& to) const;
};

[[nodiscard]] AffineView view_of(const ChannelAffine& affine) noexcept;

/// Copies channels between rows of them, `num_rows` each in `from` and `to`: those from `first` on
/// in the longer rows are all that the shorter ones have.
template <class T>
void copy_channels(std::span<const T> from, std::size_t first_from, std::span<T> to,
                   std::size_t first_to, std::size_t num_rows) {
  const std::size_t num_from = from.size() / num_rows, num_to = to.size() / num_rows;
  for (std::size_t row = 0; row < num_rows; ++row)
    std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(row * num_from + first_from),
                std::min(num_from, num_to),
                to.begin() + static_cast<std::ptrdiff_t>(row * num_to + first_to));
}

template <class T>
NormalizationBatch<T> BatchNormalizationTape::Record::batch() const {
  NormalizationBatch<T> result{.x = input.values<T>().data(),
                               .layout = layout,
                               .activation = activation->function,
                               .negative_slope = activation->negative_slope,
                               .is_irregular = is_irregular};
  if (!residual.is_null()) result.residual = residual.values<T>().data();
  if (has_gates) result.gates.bits = gates.data();
  if (weights.is_given) result.weights = {weights.values.data(), weights.stride};
  if (!adjustment.element_scale.empty())
    result.adjustment = {adjustment.element_scale.data(), adjustment.element_bias.data(),
                         factor.data(), offset.data()};
  return result;
}

/// What is added to variances, where TensorFlow's fused kernel is followed or not.
[[nodiscard]] double epsilon_of(const BatchNormalizationOptions& options, bool is_fused) noexcept;

/// The midpoints of `range`, rounded to the type of variables, replace the centers of columns that
/// are far and whose range is finite.
void recenter(const Moments& moments, std::span<const double> range, DType dtype,
              std::span<double> center) noexcept;

/// The failure of this rank when its own input was not finite; `range` begins with the largest x,
/// and the largest -x, of every channel of the record.
[[nodiscard]] std::optional<Failure> non_finite_input(std::span<const double> range,
                                                      const BatchNormalizationTape::Record& record);

}  // namespace lockstep
