// In which order samples are visited, and how they are cut into batches and shards.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/parallel/strategy.hpp"

namespace lockstep {

struct SamplerOptions {
  std::int64_t num_samples = 0;
  std::int64_t batch_size = 32;  ///< of the global batch, over all ranks
  bool shuffle = true;           ///< false: in the order of the data set
  bool drop_remainder = false;   ///< true: no last batch that is smaller than the others
  std::uint64_t seed = 0;

  friend bool operator==(const SamplerOptions&, const SamplerOptions&) = default;
};

/// The global batches of an epoch. Their order depends on seed and epoch only, so that all ranks,
/// and any number of them, see the same. Starts in epoch 0.
class LOCKSTEP_EXPORT Sampler {
 public:
  /// Throws ArgumentError when num_samples is negative or batch_size is not positive.
  explicit Sampler(const SamplerOptions& options);

  /// Goes to this epoch; batches that were given out before change. Does not allocate.
  void start_epoch(std::int64_t epoch) noexcept;

  /// The same in every epoch; 0 when there are no samples, or too few with drop_remainder.
  [[nodiscard]] std::int64_t num_batches() const noexcept;

  /// Sample indices of a global batch; the last one may be smaller. Valid until start_epoch().
  /// Throws ArgumentError outside [0, num_batches()).
  [[nodiscard]] std::span<const std::int64_t> batch(std::int64_t number) const;

  /// The part of a global batch that is the shard's: `strategy.shard_of(batch(number).size())` for
  /// this rank's. Throws ArgumentError when the shard does not lie within the batch.
  [[nodiscard]] std::span<const std::int64_t> batch(std::int64_t number, const Shard& shard) const;

 private:
  SamplerOptions options_;
  std::vector<std::int64_t> order_;
};

}  // namespace lockstep
