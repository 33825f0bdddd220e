// Options with which batch normalization computes what other systems compute.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>

#include "lockstep/base/export.hpp"
#include "lockstep/layers/batch_normalization_options.hpp"
#include "lockstep/params/variable_store.hpp"

namespace lockstep {

/// BatchNormalization of Keras 3 and of Keras for R; of tf.keras 2 where its fused kernel does not
/// run.
[[nodiscard]] LOCKSTEP_EXPORT BatchNormalizationOptions keras();

/// SyncBatchNormalization of tf.keras.
[[nodiscard]] LOCKSTEP_EXPORT BatchNormalizationOptions keras_sync();

/// BatchNormalization of tf.keras in TensorFlow 1, with what its fused kernel changes. A frozen
/// layer normalizes by the batch.
[[nodiscard]] LOCKSTEP_EXPORT BatchNormalizationOptions tf1_keras();

/// BatchNorm1d, 2d and 3d of PyTorch: channels along axis 1. Its momentum is the weight of the new
/// value, so that 0.1 there is 0.9 here, and None there is an empty one here.
[[nodiscard]] LOCKSTEP_EXPORT BatchNormalizationOptions pytorch();

struct ContribInitializers {
  Initializer beta = Zeros{};
  Initializer gamma = Ones{};
  Initializer moving_mean = Zeros{};
  Initializer moving_variance = Ones{};  ///< must give values >= 0
};

struct ContribRegularizers {
  Regularizer beta = {};
  Regularizer gamma = {};
};

/// The parameters of tf.contrib.layers.batch_norm, by their names and with their defaults.
/// `batch_weights` belong to a call: Call::batch_weights.
struct ContribOptions {
  double decay = 0.999;  ///< weight of the old value in moving averages
  bool center = true;
  bool scale = false;
  double epsilon = 1e-3;
  AnyActivation activation_fn = ActivationFunction::linear;
  ContribInitializers param_initializers = {};
  ContribRegularizers param_regularizers = {};
  /// Updates wait for apply_updates() of the layer, its model or, for these collections, the store.
  /// None: updates are immediate.
  CollectionNames updates_collections = {update_ops_collection};
  bool is_training =
      true;            ///< the layer's mode, until Layer::set_mode(); in a model that of its own
  bool reuse = false;  ///< needs `scope`, or a VariableScope with reuse around the layer
  std::variant<CollectionNames, CollectionsByVariable> variables_collections = {};
  CollectionNames outputs_collections = {};
  bool trainable = true;
  /// Not false: as if computed by the fused kernel where TensorFlow has one; see
  /// MovingVariance::as_tensorflow. Never an error.
  std::optional<bool> fused = std::nullopt;
  std::string data_format = "NHWC";  ///< or "NCHW"
  bool zero_debias_moving_mean = false;
  /// What the names of the variables begin with: "scope/beta"; empty: "BatchNorm", made unique.
  std::string scope = {};
  bool renorm = false;
  std::map<std::string, double> renorm_clipping = {};  ///< "rmin", "rmax", "dmax"
  double renorm_decay = 0.99;
  AdjustmentFunction adjustment = {};
  bool synchronized = false;  ///< no parameter of contrib: statistics over ranks
};

/// The options of a layer that computes what contrib's does. Never throws for what `options` hold:
/// a decay, data_format or key of renorm_clipping that cannot be is refused when the layer is
/// built. Also for the `normalizer` of Dense and Conv2D, whose mode then decides.
[[nodiscard]] LOCKSTEP_EXPORT BatchNormalizationOptions contrib(ContribOptions options = {});

/// scale * sum |w|.
[[nodiscard]] LOCKSTEP_EXPORT Regularizer contrib_l1_regularizer(double scale);
/// scale * sum w^2 / 2: half of what l2() gives for the same factor.
[[nodiscard]] LOCKSTEP_EXPORT Regularizer contrib_l2_regularizer(double scale);

}  // namespace lockstep
