// Options of batch normalization.

#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>

#include "lockstep/base/dtype.hpp"
#include "lockstep/base/export.hpp"
#include "lockstep/base/shape.hpp"
#include "lockstep/base/tensor.hpp"
#include "lockstep/kernels/activation_function.hpp"
#include "lockstep/layers/axes.hpp"
#include "lockstep/layers/mode.hpp"
#include "lockstep/layers/scope_options.hpp"
#include "lockstep/parallel/synchronization_group.hpp"
#include "lockstep/params/constraint.hpp"
#include "lockstep/params/initializer.hpp"
#include "lockstep/params/regularizer.hpp"

namespace lockstep {

/// What a layer with trainable = false does in training mode.
enum class FrozenMode : std::uint8_t {
  inference,                  ///< moving statistics, no update (TensorFlow 2, Keras)
  batch_statistics,           ///< batch statistics, no update (TensorFlow 1)
  batch_statistics_updating,  ///< batch statistics and updates; gamma and beta stay
};

/// What of the batch's variance goes into moving_variance; the biased one normalizes in any case.
enum class MovingVariance : std::uint8_t {
  biased,    ///< sum of squares / W (Keras)
  unbiased,  ///< sum of squares / max(W - 1, 1) (PyTorch)
  /// Unbiased, and with an epsilon of at least 1.001e-5, where TensorFlow's fused kernel would run:
  /// `fused` not false, inputs of rank 4 (contrib: 2 or 4), one channel axis, 1 or the last, no
  /// renorm, ghost batches, adjustment or weights. Biased elsewhere. The same whether synchronized
  /// or not, so that one rank computes what many do.
  as_tensorflow,
};

/// When the update of the moving statistics that a call asks for is made.
enum class Updates : std::uint8_t {
  immediate,  ///< when the call is committed
  deferred,   ///< when apply_updates() is called
};

/// How the sums over a batch are taken, forward and backward.
enum class Statistics : std::uint8_t {
  /// As integers, so that results are the same bits for any number and order of ranks, any cut of
  /// the batch between samples, and any instruction set. Up to 2^24 samples in a batch.
  exact,
  /// As floating-point numbers, whose order shows in the last bits. Less work in the cache.
  fast,
};

/// What NaN and infinity in a training input do. Other channels are never affected.
enum class Nonfinite : std::uint8_t {
  error,        ///< all ranks throw NonFiniteError; nothing changes
  skip_update,  ///< the channel's output is NaN on all ranks, its statistics stay
  warn,         ///< as skip_update, but the channel's moving statistics become NaN
};

/// Limits of the correction that batch renormalization makes; 0 <= rmin <= rmax, dmax >= 0.
struct RenormClipping {
  double rmin = 0.0;
  double rmax = std::numeric_limits<double>::infinity();
  double dmax = std::numeric_limits<double>::infinity();

  friend bool operator==(const RenormClipping&, const RenormClipping&) = default;
};

/// The clipping in a dictionary with the keys "rmin", "rmax" and "dmax", each of which may be
/// missing. Throws ArgumentError for other keys.
[[nodiscard]] LOCKSTEP_EXPORT RenormClipping
renorm_clipping_of(const std::map<std::string, double>& clipping);

/// Samples of a ghost batch, with G of them in a local batch.
enum class GhostGrouping : std::uint8_t {
  strided,     ///< sample n belongs to ghost batch n mod G (TensorFlow)
  contiguous,  ///< consecutive samples
};

/// Whose rules about `fused` hold.
enum class FusedRules : std::uint8_t {
  keras,    ///< fused = true is refused where TensorFlow's Keras layers have no fused kernel
  contrib,  ///< fused = true means "if possible"; the fused kernel takes inputs of rank 2 too
};

/// What follows the normalization in training mode: a = z * scale + bias. Both tensors are floating
/// and broadcastable to the input; one value per channel is the cheap case.
struct Adjustment {
  Tensor scale;
  Tensor bias;
};
/// Called once per forward in training mode with the shape of the local input.
using AdjustmentFunction = std::function<Adjustment(const Shape& input_shape)>;

/// Options of batch normalization; names and defaults are those of Keras.
struct BatchNormalizationOptions {
  Axes axis = -1;  ///< channel axis or axes; negative ones count from the end
  /// Weight of the old value in moving averages, in [0, 1]; empty: the average of all batches.
  std::optional<double> momentum = 0.99;
  double epsilon = 1e-3;  ///< added to the variance inside the root, >= 0
  bool center = true;     ///< whether there is a beta
  bool scale = true;      ///< whether there is a gamma
  Initializer beta_initializer = Zeros{};
  Initializer gamma_initializer = Ones{};
  Initializer moving_mean_initializer = Zeros{};
  Initializer moving_variance_initializer = Ones{};  ///< must give values >= 0
  Regularizer beta_regularizer = {};
  Regularizer gamma_regularizer = {};
  Constraint beta_constraint = {};
  Constraint gamma_constraint = {};
  bool renorm = false;  ///< batch renormalization (Ioffe 2017)
  RenormClipping renorm_clipping = {};
  double renorm_momentum = 0.99;  ///< weight of the old value in renorm_mean, renorm_stddev
  /// A hint about speed that TensorFlow's layers refuse in some combinations; of effect on results
  /// with MovingVariance::as_tensorflow only.
  std::optional<bool> fused = std::nullopt;
  FusedRules fused_rules = FusedRules::keras;
  /// Samples of a ghost batch; every one is normalized by its own moments, and those of all that
  /// have any weight are averaged. Must divide the local batch in training mode.
  std::optional<std::int64_t> virtual_batch_size = std::nullopt;
  GhostGrouping ghost_grouping = GhostGrouping::strided;
  AdjustmentFunction adjustment = {};
  bool adjustment_differs_by_rank = false;  ///< otherwise ranks compare one that is per channel
  AnyActivation activation = ActivationFunction::linear;  ///< applied last
  double negative_slope = default_negative_slope;         ///< of leaky_relu
  MovingVariance moving_variance = MovingVariance::biased;
  bool zero_debias_moving_mean = false;  ///< moving_mean forgets its initial value at once
  /// Without them there are no moving variables, and inference normalizes by the local batch. By
  /// that of all ranks, where it is to be, a call in training mode does, which then learns nothing.
  bool track_moving_statistics = true;
  Updates updates = Updates::immediate;
  bool strict = false;  ///< a channel with one element is an error in training mode
  Nonfinite nonfinite = Nonfinite::error;
  Statistics statistics = Statistics::exact;
  /// Where the samples of images are channel after channel (NCHW), channels can go through the
  /// cache in groups, each with a message of its own that is under way while the next one is
  /// summed up: elements then come from memory once in place of twice. At most so many bytes of a
  /// rank's input make a group, but at least one channel; 0: all channels at once. Empty: in groups
  /// where that was measured to be faster, but not where ranks share statistics: they wait for each
  /// other at every group, which only pays where each has a core for itself; 256 KiB are worth a
  /// trial then. Of no effect on results with Statistics::exact, and none at all with ghost
  /// batches, renorm or an adjustment.
  std::optional<std::int64_t> channel_group_bytes = std::nullopt;
  Mode mode = Mode::inference;  ///< of calls that name none, until Layer::set_mode()
  bool trainable = true;
  FrozenMode frozen_mode = FrozenMode::inference;
  bool synchronized = false;  ///< statistics over ranks instead of this rank's batch
  SynchronizationGroup synchronization_group = AllReplicas{};  ///< which ranks
  /// "NHWC": the last axis, "NCHW": axis 1; instead of `axis`.
  std::string data_format = {};
  std::optional<DType> dtype = std::nullopt;  ///< of inputs and outputs
  std::string name = {};
  std::optional<Shape> input_shape = std::nullopt;  ///< without the batch axis
  ScopeOptions scope = {};
  /// Why a preset could not use what it was given. A layer with such options is refused when it is
  /// built, like one with other wrong options: with ArgumentError, on all ranks.
  std::string refusal = {};
};

}  // namespace lockstep
