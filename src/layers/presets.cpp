#include "lockstep/layers/presets.hpp"

#include <spdlog/fmt/fmt.h>

#include <utility>

#include "comm/failure.hpp"

namespace lockstep {

BatchNormalizationOptions keras() { return {}; }

BatchNormalizationOptions keras_sync() { return {.synchronized = true}; }

BatchNormalizationOptions tf1_keras() {
  return {.moving_variance = MovingVariance::as_tensorflow,
          .frozen_mode = FrozenMode::batch_statistics};
}

BatchNormalizationOptions pytorch() {
  return {.axis = 1, .momentum = 0.9, .epsilon = 1e-5, .moving_variance = MovingVariance::unbiased};
}

BatchNormalizationOptions contrib(ContribOptions options) {
  BatchNormalizationOptions result{
      .momentum = options.decay,
      .epsilon = options.epsilon,
      .center = options.center,
      .scale = options.scale,
      .beta_initializer = options.param_initializers.beta,
      .gamma_initializer = options.param_initializers.gamma,
      .moving_mean_initializer = options.param_initializers.moving_mean,
      .moving_variance_initializer = options.param_initializers.moving_variance,
      .beta_regularizer = std::move(options.param_regularizers.beta),
      .gamma_regularizer = std::move(options.param_regularizers.gamma),
      .renorm = options.renorm,
      .renorm_momentum = options.renorm_decay,
      .fused = options.fused,
      .fused_rules = FusedRules::contrib,
      .adjustment = std::move(options.adjustment),
      .activation = std::move(options.activation_fn),
      .moving_variance = MovingVariance::as_tensorflow,
      .zero_debias_moving_mean = options.zero_debias_moving_mean,
      .updates = options.updates_collections.empty() ? Updates::immediate : Updates::deferred,
      .mode = options.is_training ? Mode::training : Mode::inference,
      .trainable = options.trainable,
      .frozen_mode = FrozenMode::batch_statistics,
      .synchronized = options.synchronized,
      .data_format = options.data_format,
      .name = std::move(options.scope),
      .scope = {.default_name = "BatchNorm",
                .reuse = options.reuse,
                .variables_collections = std::move(options.variables_collections),
                .outputs_collections = std::move(options.outputs_collections),
                .updates_collections = std::move(options.updates_collections)}};
  for (const auto& [name, value] :
       {std::pair("decay", options.decay), std::pair("renorm_decay", options.renorm_decay)})
    if (!(value >= 0.0 && value <= 1.0))
      result.refusal = fmt::format("contrib: {} must be in [0, 1], got {}", name, value);
  if (options.data_format != "NHWC" && options.data_format != "NCHW")
    result.refusal = fmt::format("contrib: data_format has to be either NCHW or NHWC, got '{}'",
                                 options.data_format);
  const auto unknown_key =
      attempt([&] { result.renorm_clipping = renorm_clipping_of(options.renorm_clipping); });
  if (unknown_key) result.refusal = "contrib: " + unknown_key->cause;
  return result;
}

Regularizer contrib_l1_regularizer(double scale) { return l1(scale); }
Regularizer contrib_l2_regularizer(double scale) { return l2(0.5 * scale); }

}  // namespace lockstep
