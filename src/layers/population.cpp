#include "lockstep/layers/population.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "comm/agreement.hpp"
#include "layers/batch_normalization_record.hpp"
#include "parallel/merge_moments.hpp"

namespace lockstep {

struct PopulationRecorder::Entry {
  const BatchNormalization* layer;
  const Variable* moving_mean;  // equal for layers that share their statistics
  bool is_own;                  // moments of this rank alone
  LayerPopulation moments;
};

namespace {

SetMoments moments_of(const LayerPopulation& population, std::size_t channel) {
  return {population.count[channel], population.mean[channel], population.variance[channel]};
}

void add(const SetMoments& set, LayerPopulation& population, std::size_t channel) {
  const SetMoments both = union_of(moments_of(population, channel), set);
  population.count[channel] = both.count;
  population.mean[channel] = both.mean;
  population.variance[channel] = both.variance;
}

void add(const LayerPopulation& part, LayerPopulation& population) {
  for (std::size_t c = 0; c < part.count.size(); ++c) add(moments_of(part, c), population, c);
}

// The population of the union of all groups.
void merge(const Communicator& replicas, const Communicator& group, PooledMoments& pool,
           LayerPopulation& population) {
  merge_moments(replicas, group, {population.count, population.mean, population.variance}, pool);
  for (std::size_t c = 0; c < population.count.size(); ++c) {
    population.count[c] = pool.count(c);
    population.mean[c] = pool.mean(c);
    population.variance[c] = pool.variance(c);
  }
}

}  // namespace

PopulationRecorder::PopulationRecorder() = default;
PopulationRecorder::~PopulationRecorder() = default;
PopulationRecorder::PopulationRecorder(PopulationRecorder&&) noexcept = default;
PopulationRecorder& PopulationRecorder::operator=(PopulationRecorder&&) noexcept = default;

void PopulationRecorder::add(const BatchNormalization& layer, const Variable& moving_mean,
                             const BatchNormalizationTape::Record& record) {
  const std::size_t num_channels = record.count.size();
  auto entry = std::ranges::find(entries_, &layer, &Entry::layer);
  if (entry == entries_.end()) {
    const std::vector<double> zeros(num_channels);
    entry = entries_.insert(
        entry,
        {&layer, &moving_mean, record.has_ghosts, {layer.variable_scope(), zeros, zeros, zeros}});
  }
  const Moments& moments = record.moments;
  for (std::size_t column = 0; column < moments.count.size(); ++column) {
    const SetMoments batch{moments.count[column],
                           record.normalization.center[column] + moments.offset[column],
                           moments.variance[column]};
    const bool is_finite = std::isfinite(batch.mean) && std::isfinite(batch.variance);
    if (is_finite || record.options->nonfinite == Nonfinite::warn)
      lockstep::add(batch, entry->moments, column % num_channels);
  }
}

PopulationStatistics PopulationRecorder::statistics(const Communicator& replicas) const {
  PopulationStatistics statistics;
  std::vector<std::optional<PooledMoments>> pools(entries_.size());  // where there is to merge
  std::string measured;
  const auto failure = attempt([&] {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      const auto& [layer, moving_mean, is_own, moments] = entries_[i];
      const bool is_merged = !is_own && layer->statistics_group().size() == replicas.size();
      if (!is_merged) pools[i].emplace(moments.count.size());
      statistics.push_back(moments);
      measured += fmt::format("{}{} of {} channels{}", i > 0 ? ", " : "", layer->name(),
                              moments.count.size(), is_merged ? "" : " to be merged");
    }
  });
  agree(replicas, {"population", "merge"}, {{{"measured", measured}}}, failure);

  const Communicator alone;
  for (std::size_t i = 0; i < entries_.size(); ++i)
    if (pools[i])
      merge(replicas, entries_[i].is_own ? alone : entries_[i].layer->statistics_group(), *pools[i],
            statistics[i]);
  for (std::size_t i = entries_.size(); i-- > 0;) {
    const auto first = std::ranges::find(entries_, entries_[i].moving_mean, &Entry::moving_mean);
    const auto owner = static_cast<std::size_t>(first - entries_.begin());
    if (owner == i) continue;
    lockstep::add(statistics[i], statistics[owner]);
    statistics.erase(statistics.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return statistics;
}

}  // namespace lockstep
