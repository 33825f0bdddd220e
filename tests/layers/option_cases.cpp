#include "layers/option_cases.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace lockstep::testing {
namespace {

using Options = BatchNormalizationOptions;

Feature option(std::string name, std::string option, std::function<void(Options&)> choose) {
  return {std::move(name), std::move(option),
          [choose = std::move(choose)](UseCase& use_case) { choose(use_case.options); }};
}

Feature activation(ActivationFunction function) {
  return option(std::string(name_of(function)), "activation",
                [function](Options& o) { o.activation = function; });
}

Feature group(std::string name, SynchronizationGroup members) {
  return option(std::move(name), "ranks", [members](Options& o) {
    o.synchronized = true;
    o.synchronization_group = members;
  });
}

Feature frozen(std::string name, FrozenMode mode) {
  return option(std::move(name), "trainable", [mode](Options& o) {
    o.trainable = false;
    o.frozen_mode = mode;
  });
}

Feature adjustment(std::string name, AdjustmentKind kind) {
  return {std::move(name), "adjustment", [kind](UseCase& u) {
            u.adjustment = kind;
            u.options.adjustment_differs_by_rank = kind != AdjustmentKind::per_channel;
          }};
}

Feature renorm(std::string name, const RenormClipping& clipping) {
  return option(std::move(name), "renorm", [clipping](Options& o) {
    o.renorm = true;
    o.renorm_clipping = clipping;
    o.renorm_momentum = 0.8;
  });
}

Feature ghosts(std::string name, GhostGrouping grouping) {
  return option(std::move(name), "ghosts", [grouping](Options& o) {
    o.virtual_batch_size = 2;
    o.ghost_grouping = grouping;
  });
}

Feature axis(std::string name, const Axes& axes) {
  return option(std::move(name), "axis", [axes](Options& o) { o.axis = axes; });
}

Feature data_format(const std::string& format) {
  return option(format, "axis", [format](Options& o) { o.data_format = format; });
}

Feature dtype(DType type) {
  return option(std::string(name_of(type)), "dtype", [type](Options& o) { o.dtype = type; });
}

// log(1 + exp(x)), with captures that a copy of the function would need memory for.
CustomActivation softplus() {
  const std::array<double, 8> ones{1, 1, 1, 1, 1, 1, 1, 1};
  return {"softplus", [ones](double x) { return std::log1p(std::exp(ones[7] * x)); },
          [ones](double x) { return 1.0 / (1.0 + std::exp(-ones[7] * x)); }};
}

std::vector<Feature> make_features() {
  return {
      {"batch weights", "weights", [](UseCase& u) { u.has_weights = true; }},
      {"sample mask", "mask", [](UseCase& u) { u.mask_rank = 1; }},
      {"position mask", "mask", [](UseCase& u) { u.mask_rank = 3; }},
      {"residual", "residual", [](UseCase& u) { u.has_residual = true; }},
      adjustment("adjust per channel", AdjustmentKind::per_channel),
      adjustment("adjust per element", AdjustmentKind::per_element),
      adjustment("adjust per rank", AdjustmentKind::per_rank),
      ghosts("ghosts, strided", GhostGrouping::strided),
      ghosts("ghosts, contiguous", GhostGrouping::contiguous),
      renorm("renorm", {}),
      renorm("renorm, clipped", {.rmin = 1.25, .rmax = 1.25, .dmax = 0.125}),
      option("zero debias", "zero debias", [](Options& o) { o.zero_debias_moving_mean = true; }),
      option("cumulative", "momentum", [](Options& o) { o.momentum = std::nullopt; }),
      option("unbiased", "moving variance",
             [](Options& o) { o.moving_variance = MovingVariance::unbiased; }),
      option("tensorflow", "moving variance",
             [](Options& o) { o.moving_variance = MovingVariance::as_tensorflow; }),
      option("contrib", "moving variance",
             [](Options& o) {
               o.moving_variance = MovingVariance::as_tensorflow;
               o.fused_rules = FusedRules::contrib;
             }),
      option("deferred", "updates", [](Options& o) { o.updates = Updates::deferred; }),
      option("untracked", "tracking", [](Options& o) { o.track_moving_statistics = false; }),
      activation(ActivationFunction::relu),
      activation(ActivationFunction::relu6),
      activation(ActivationFunction::leaky_relu),
      activation(ActivationFunction::elu),
      activation(ActivationFunction::sigmoid),
      activation(ActivationFunction::tanh),
      activation(ActivationFunction::gelu),
      activation(ActivationFunction::silu),
      option("custom activation", "activation", [](Options& o) { o.activation = softplus(); }),
      axis("several axes", {1, -1}),
      axis("axis 1", 1),
      data_format("NCHW"),
      data_format("NHWC"),
      option("no scale", "scale", [](Options& o) { o.scale = false; }),
      option("no center", "center", [](Options& o) { o.center = false; }),
      option("gamma 0", "scale", [](Options& o) { o.gamma_initializer = Zeros{}; }),
      option("epsilon 0", "epsilon", [](Options& o) { o.epsilon = 0.0; }),
      frozen("frozen", FrozenMode::inference),
      frozen("frozen, batch", FrozenMode::batch_statistics),
      frozen("frozen, updating", FrozenMode::batch_statistics_updating),
      option("skip_update", "nonfinite", [](Options& o) { o.nonfinite = Nonfinite::skip_update; }),
      option("warn", "nonfinite", [](Options& o) { o.nonfinite = Nonfinite::warn; }),
      option("strict", "strict", [](Options& o) { o.strict = true; }),
      option("regularizers", "regularizers",
             [](Options& o) {
               o.gamma_regularizer = l1_l2(0.01, 0.02);
               o.beta_regularizer = l2(0.03);
             }),
      option("constraints", "constraints",
             [](Options& o) {
               o.gamma_constraint = MaxNorm{.max_value = 0.9};
               o.beta_constraint = NonNeg{};
             }),
      group("synchronized", AllReplicas{}),
      group("groups by size", BySize{2}),
      group("groups by color", ByColor{}),  // of its parity, once the rank is known
      group("groups by node", ByNode{}),
      dtype(DType::float32),
      dtype(DType::bfloat16),
      dtype(DType::float16),
      option("fused", "fused", [](Options& o) { o.fused = true; }),
      option("fast", "statistics", [](Options& o) { o.statistics = Statistics::fast; }),
      option("channel by channel", "groups", [](Options& o) { o.channel_group_bytes = 1; }),
  };
}

}  // namespace

UseCase::UseCase()
    : options{.momentum = 0.75,
              .beta_initializer = RandomNormal{.mean = 0.1, .stddev = 0.3, .seed = 2},
              .gamma_initializer = RandomNormal{.mean = 1.0, .stddev = 0.3, .seed = 1},
              .moving_mean_initializer = RandomNormal{.stddev = 0.5, .seed = 3},
              .moving_variance_initializer = RandomUniform{0.5, 2.0, 4},
              .dtype = DType::float64} {}

const std::vector<Feature>& features() {
  static const std::vector<Feature> all = make_features();
  return all;
}

const Feature& feature(const std::string& name) {
  const auto found = std::ranges::find(features(), name, &Feature::name);
  if (found == features().end()) throw std::out_of_range("no feature '" + name + "'");
  return *found;
}

UseCase use_case_of(const std::vector<std::string>& names) {
  UseCase use_case;
  for (const std::string& name : names) feature(name).choose(use_case);
  return use_case;
}

void for_each_allowed_pair(const std::function<void(const Feature&, const Feature&)>& body) {
  for (const Feature& b : features())
    for (const Feature& a : features()) {
      if (&a == &b) break;
      if (rule_of(a, b).is_allowed()) body(a, b);
    }
}

}  // namespace lockstep::testing
