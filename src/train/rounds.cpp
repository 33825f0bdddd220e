#include "train/rounds.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "lockstep/comm/collectives.hpp"
#include "train/ghost_batches.hpp"

namespace lockstep {
namespace {

struct OwnData {
  std::int64_t num_samples;
  std::int64_t batch_size;
  std::int64_t num_batches;
};

}  // namespace

Rounds rounds_of(Sequential& model, const Dataset& data, const FitOptions& options) {
  const SamplerOptions order{.num_samples = data.num_samples(),
                             .batch_size = options.batch_size,
                             .shuffle = options.shuffle,
                             .drop_remainder = options.drop_remainder,
                             .seed = options.seed};
  Rounds rounds{Sampler(order), order};
  const bool is_own = options.sharding == Sharding::own_data;
  rounds.unit = ghost_unit_of(model, rounds.sampler, is_own ? "" : " over all ranks");
  rounds.num_batches = rounds.sampler.num_batches();
  return rounds;
}

void complete(Rounds& rounds, const Communicator& replicas, const FitOptions& options) {
  if (options.sharding != Sharding::own_data) return;
  const OwnData own{rounds.order.num_samples, rounds.order.batch_size, rounds.num_batches};
  std::vector<OwnData> all(static_cast<std::size_t>(replicas.size()));
  allgather(replicas, std::as_bytes(std::span(&own, 1)), std::as_writable_bytes(std::span(all)));
  rounds.first_sample = 0;
  rounds.order.num_samples = rounds.order.batch_size = 0;
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (static_cast<int>(rank) < replicas.rank()) *rounds.first_sample += all[rank].num_samples;
    rounds.order.num_samples += all[rank].num_samples;
    rounds.order.batch_size += all[rank].batch_size;
    rounds.num_batches = std::max(rounds.num_batches, all[rank].num_batches);
  }
}

}  // namespace lockstep
