#include "parallel/merge_moments.hpp"

#include "lockstep/comm/collectives.hpp"

namespace lockstep {

void merge_moments(const Communicator& replicas, const Communicator& group, const MomentsView& set,
                   PooledMoments& pool) {
  const bool speaks = group.rank() == 0;
  if (speaks) pool.add_mean(set);
  allreduce(replicas, pool.mean_sums(), Reduction::sum);
  if (speaks) pool.add_variance(set);
  allreduce(replicas, pool.variance_sums(), Reduction::sum);
}

}  // namespace lockstep
