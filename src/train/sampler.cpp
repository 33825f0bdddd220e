#include "lockstep/train/sampler.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/random.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {

Sampler::Sampler(const SamplerOptions& options) : options_(options) {
  if (options.num_samples < 0 || options.batch_size < 1)
    throw ArgumentError(
        fmt::format("a sampler needs num_samples >= 0 and batch_size >= 1, got {} and {}",
                    options.num_samples, options.batch_size));
  order_.resize(static_cast<std::size_t>(options.num_samples));
  start_epoch(0);
}

void Sampler::start_epoch(std::int64_t epoch) noexcept {
  std::iota(order_.begin(), order_.end(), std::int64_t{0});
  if (!options_.shuffle) return;
  // Durstenfeld's shuffle; the modulo prefers small numbers by less than num_samples / 2^64.
  const RandomKey key = RandomKey(options_.seed).with("epoch order").with(epoch);
  for (std::size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[key.bits(i) % i]);
}

std::int64_t Sampler::num_batches() const noexcept {
  const std::int64_t full = options_.num_samples / options_.batch_size;
  const bool has_rest = options_.num_samples % options_.batch_size != 0;
  return full + (has_rest && !options_.drop_remainder ? 1 : 0);
}

std::span<const std::int64_t> Sampler::batch(std::int64_t number) const {
  if (number < 0 || number >= num_batches())
    throw ArgumentError(
        fmt::format("batch {} is asked of an epoch of {} batches", number, num_batches()));
  const std::int64_t first = number * options_.batch_size;
  const std::int64_t count = std::min(options_.batch_size, options_.num_samples - first);
  return std::span(order_).subspan(static_cast<std::size_t>(first),
                                   static_cast<std::size_t>(count));
}

std::span<const std::int64_t> Sampler::batch(std::int64_t number, const Shard& shard) const {
  const std::span<const std::int64_t> whole = batch(number);
  const auto size = static_cast<std::int64_t>(whole.size());
  if (shard.first < 0 || shard.count < 0 || shard.first > size || shard.count > size - shard.first)
    throw ArgumentError(fmt::format("a shard of {} samples from {} is asked of a batch of {}",
                                    shard.count, shard.first, size));
  return whole.subspan(static_cast<std::size_t>(shard.first),
                       static_cast<std::size_t>(shard.count));
}

}  // namespace lockstep
