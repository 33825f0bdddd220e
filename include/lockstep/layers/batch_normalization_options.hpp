// Options of batch normalization.

#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "lockstep/base/dtype.hpp"
#include "lockstep/base/shape.hpp"
#include "lockstep/params/initializer.hpp"

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
};

/// When the update of the moving statistics that a call asks for is made.
enum class Updates : std::uint8_t {
  immediate,  ///< when the call is committed
  deferred,   ///< when apply_updates() is called
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
};

/// Options of batch normalization; names and defaults are those of Keras.
struct BatchNormalizationOptions {
  int axis = -1;  ///< channel axis; negative counts from the end
  /// Weight of the old value in moving averages, in [0, 1]; empty: the average of all batches.
  std::optional<double> momentum = 0.99;
  double epsilon = 1e-3;  ///< added to the variance inside the root, >= 0
  bool center = true;     ///< whether there is a beta
  bool scale = true;      ///< whether there is a gamma
  Initializer beta_initializer = Zeros{};
  Initializer gamma_initializer = Ones{};
  Initializer moving_mean_initializer = Zeros{};
  Initializer moving_variance_initializer = Ones{};  ///< must give values >= 0
  bool renorm = false;                               ///< batch renormalization (Ioffe 2017)
  RenormClipping renorm_clipping = {};
  double renorm_momentum = 0.99;  ///< weight of the old value in renorm_mean, renorm_stddev
  MovingVariance moving_variance = MovingVariance::biased;
  bool zero_debias_moving_mean = false;  ///< moving_mean forgets its initial value at once
  Updates updates = Updates::immediate;
  Nonfinite nonfinite = Nonfinite::error;
  bool trainable = true;
  FrozenMode frozen_mode = FrozenMode::inference;
  bool synchronized = false;  ///< statistics over all replicas instead of this rank's batch
  std::optional<DType> dtype = std::nullopt;  ///< of inputs, outputs and variables
  std::string name = {};
  std::optional<Shape> input_shape = std::nullopt;  ///< without the batch axis
};

}  // namespace lockstep
