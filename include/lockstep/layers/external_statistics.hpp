// What batch normalization has learned, by the names and conventions of another system.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "lockstep/base/export.hpp"
#include "lockstep/base/tensor.hpp"
#include "lockstep/layers/batch_normalization_options.hpp"

namespace lockstep {

/// Which value in a moving average the momentum is the weight of.
enum class MomentumConvention : std::uint8_t {
  weight_of_old,  ///< Keras, TensorFlow, ONNX, lockstep
  weight_of_new,  ///< PyTorch
};

/// The variables of one layer as another system keeps them. The functions below give everything but
/// the tensors.
struct ExternalStatistics {
  std::string system = {};  ///< for errors
  /// Its names of variables, by lockstep's within the layer: "gamma" to "bn1.weight". A system
  /// without "num_updates" does not count updates.
  std::map<std::string, std::string> names = {};
  MomentumConvention momentum_convention = MomentumConvention::weight_of_old;
  /// What it averages; `as_tensorflow` is judged for the shape and options of the layer.
  MovingVariance moving_variance = MovingVariance::biased;
  FusedRules fused_rules = FusedRules::keras;  ///< for `as_tensorflow`
  /// In its convention; empty: the average of all batches, for systems that count updates.
  std::optional<double> momentum = 0.99;
  /// Elements per channel of every batch that was averaged. Needed where one side averages biased
  /// variances and the other unbiased ones, which are n / (n - 1) times those.
  std::optional<double> num_elements = std::nullopt;
  std::map<std::string, Tensor> tensors = {};  ///< by its names
};

/// PyTorch's state_dict: weight, bias, running_mean, running_var, num_batches_tracked; with
/// `prefix` "bn1." those of the module bn1. Its momentum is 0.1 by default.
[[nodiscard]] LOCKSTEP_EXPORT ExternalStatistics pytorch_statistics(std::string_view prefix = "");

/// Keras 2 and 3: gamma, beta, moving_mean, moving_variance, those of renorm. Momentum 0.99.
[[nodiscard]] LOCKSTEP_EXPORT ExternalStatistics keras_statistics(std::string_view prefix = "");

/// The same of tf.keras in TensorFlow 1, which averages unbiased variances where its fused kernel
/// runs.
[[nodiscard]] LOCKSTEP_EXPORT ExternalStatistics tf1_keras_statistics(std::string_view prefix = "");

/// contrib: the same names within a scope, and those of zero debias. Momentum 0.999.
[[nodiscard]] LOCKSTEP_EXPORT ExternalStatistics
contrib_statistics(std::string_view scope = "BatchNorm");

/// ONNX, operator set 15: scale, B, input_mean, input_var. Momentum 0.9.
[[nodiscard]] LOCKSTEP_EXPORT ExternalStatistics onnx_statistics(std::string_view prefix = "");

}  // namespace lockstep
