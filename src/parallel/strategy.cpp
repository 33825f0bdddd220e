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

Shard shard_of(std::int64_t global_batch, int rank, int num_ranks, std::int64_t unit) noexcept {
  const std::int64_t num_units = global_batch / unit + (global_batch % unit == 0 ? 0 : 1);
  const std::int64_t share = num_units / num_ranks;
  const std::int64_t rest = num_units % num_ranks;
  const auto start_of = [&](std::int64_t part) {
    return std::min((part * share + std::min(part, rest)) * unit, global_batch);
  };
  return {start_of(rank), start_of(rank + 1) - start_of(rank)};
}

Strategy::Strategy() : replicas_(std::make_shared<const Communicator>()) {}

Strategy::Strategy(Communicator replicas)
    : replicas_(std::make_shared<const Communicator>(std::move(replicas))) {}

Strategy::Scope::Scope(Strategy strategy)
    : previous_(std::exchange(current_strategy().replicas_, std::move(strategy.replicas_))) {}

Strategy::Scope::~Scope() { current_strategy().replicas_ = std::move(previous_); }

Strategy Strategy::current() { return current_strategy(); }

}  // namespace lockstep
