#include "layers/statistics_replacement.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <utility>

#include "base/random.hpp"
#include "comm/agreement.hpp"
#include "layers/batch_normalization_parts.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

MovingVariables variables_of(const MovingStatistics* moving) {
  if (moving == nullptr)
    throw ArgumentError("the layer keeps no moving statistics that could be replaced");
  return moving->variables();
}

void check(const LayerPopulation& population, std::size_t num_channels, Nonfinite nonfinite) {
  for (const auto& [what, values] :
       {std::pair("counts", &population.count), std::pair("means", &population.mean),
        std::pair("variances", &population.variance)})
    if (values->size() != num_channels)
      throw ArgumentError(fmt::format("expected {} {}, one for each channel, got {}", num_channels,
                                      what, values->size()));
  const auto is_possible = [&](double value) {
    return value >= 0.0 || (nonfinite == Nonfinite::warn && std::isnan(value));
  };
  for (std::size_t c = 0; c < num_channels; ++c)
    if (!(population.count[c] >= 0.0) || !is_possible(population.variance[c]))
      throw ArgumentError(
          fmt::format("expected a count and a variance >= 0, got {} and {} in "
                      "channel {}",
                      population.count[c], population.variance[c], c));
}

}  // namespace

StatisticsReplacement::StatisticsReplacement(const BatchNormalization& layer,
                                             const LayerPopulation& population)
    : layer_(&layer), moments_(variables_of(layer.parts_->moving.get())) {
  layer.require_updates_made();
  const BatchNormalizationOptions& options = layer.options();
  check(population, layer.parts_->num_channels, options.nonfinite);
  const bool is_unbiased =
      options.moving_variance == MovingVariance::unbiased || layer.parts_->is_fused;
  std::vector<double> variance = population.variance;
  if (is_unbiased)
    for (std::size_t c = 0; c < variance.size(); ++c)
      variance[c] *= population.count[c] / std::max(population.count[c] - 1.0, 1.0);
  moments_.replace_by({population.count, population.mean, variance}, options.epsilon);
  if (options.nonfinite == Nonfinite::warn) return;
  if (const auto channel = moments_.first_unstorable())
    throw NonFiniteError(fmt::format("the statistics of channel {} are not finite in {}", *channel,
                                     name_of(parameter_dtype_of(layer.dtype()))));
}

void StatisticsReplacement::assign() noexcept {
  moments_.count_one_update();
  moments_.assign(layer_->options());
}

std::string fingerprint_of(std::span<const LayerPopulation> populations) {
  RandomKey key(populations.size());
  for (const LayerPopulation& population : populations) {
    key = key.with(population.layer);
    for (const auto* values : {&population.count, &population.mean, &population.variance})
      for (const double value : *values) key = key.with(std::bit_cast<std::uint64_t>(value));
  }
  return fmt::format("{:016x}", key.bits(0));
}

void BatchNormalization::replace_moving_statistics(const LayerPopulation& population) {
  require_built();
  std::optional<StatisticsReplacement> replacement;
  const auto failure = attempt([&] { replacement.emplace(*this, population); });
  const Property property{"population", fingerprint_of({&population, 1})};
  agree(control(), {fmt::format("layer '{}'", name()), "replace_moving_statistics"}, {&property, 1},
        failure);
  replacement->assign();
}

}  // namespace lockstep
