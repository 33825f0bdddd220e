#include "lockstep/layers/external_statistics.hpp"

#include <initializer_list>
#include <utility>

namespace lockstep {
namespace {

using Names = std::map<std::string, std::string>;

Names with_prefix(std::string_view prefix,
                  std::initializer_list<std::pair<const char*, const char*>> names) {
  Names result;
  for (const auto& [ours, theirs] : names) result[ours] = std::string(prefix) + theirs;
  return result;
}

Names names_of_keras(std::string_view prefix) {
  return with_prefix(prefix, {{"gamma", "gamma"},
                              {"beta", "beta"},
                              {"moving_mean", "moving_mean"},
                              {"moving_variance", "moving_variance"},
                              {"moving_stddev", "moving_stddev"},
                              {"renorm_mean", "renorm_mean"},
                              {"renorm_stddev", "renorm_stddev"}});
}

}  // namespace

ExternalStatistics pytorch_statistics(std::string_view prefix) {
  return {.system = "PyTorch",
          .names = with_prefix(prefix, {{"gamma", "weight"},
                                        {"beta", "bias"},
                                        {"moving_mean", "running_mean"},
                                        {"moving_variance", "running_var"},
                                        {"num_updates", "num_batches_tracked"}}),
          .momentum_convention = MomentumConvention::weight_of_new,
          .moving_variance = MovingVariance::unbiased,
          .momentum = 0.1};
}

ExternalStatistics keras_statistics(std::string_view prefix) {
  return {.system = "Keras", .names = names_of_keras(prefix)};
}

ExternalStatistics tf1_keras_statistics(std::string_view prefix) {
  return {.system = "Keras of TensorFlow 1",
          .names = names_of_keras(prefix),
          .moving_variance = MovingVariance::as_tensorflow};
}

ExternalStatistics contrib_statistics(std::string_view scope) {
  const std::string prefix = scope.empty() ? "" : std::string(scope) + '/';
  Names names = names_of_keras(prefix);
  names.merge(with_prefix(prefix, {{"moving_mean/biased", "moving_mean/biased"},
                                   {"moving_mean/local_step", "moving_mean/local_step"}}));
  return {.system = "contrib",
          .names = std::move(names),
          .moving_variance = MovingVariance::as_tensorflow,
          .fused_rules = FusedRules::contrib,
          .momentum = 0.999};
}

// Its variance is that of the population, and its momentum the weight of the old value.
ExternalStatistics onnx_statistics(std::string_view prefix) {
  return {.system = "ONNX",
          .names = with_prefix(prefix, {{"gamma", "scale"},
                                        {"beta", "B"},
                                        {"moving_mean", "input_mean"},
                                        {"moving_variance", "input_var"}}),
          .momentum = 0.9};
}

}  // namespace lockstep
