#include "lockstep/parallel/strategy.hpp"

#include <algorithm>
#include <utility>

namespace lockstep {
namespace {

Strategy& current_strategy() {
  thread_local Strategy strategy;
  return strategy;
}

}  // namespace

Shard shard_of(std::int64_t global_batch, int rank, int num_ranks) noexcept {
  const std::int64_t share = global_batch / num_ranks;
  const std::int64_t rest = global_batch % num_ranks;
  return {rank * share + std::min<std::int64_t>(rank, rest), share + (rank < rest ? 1 : 0)};
}

Strategy::Strategy() : replicas_(std::make_shared<const Communicator>()) {}

Strategy::Strategy(Communicator replicas)
    : replicas_(std::make_shared<const Communicator>(std::move(replicas))) {}

Strategy::Scope::Scope(Strategy strategy)
    : previous_(std::exchange(current_strategy().replicas_, std::move(strategy.replicas_))) {}

Strategy::Scope::~Scope() { current_strategy().replicas_ = std::move(previous_); }

Strategy Strategy::current() { return current_strategy(); }

}  // namespace lockstep
