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

Strategy::Strategy() : replicas_(std::make_shared<const Communicator>()) {}

Strategy::Strategy(Communicator replicas)
    : replicas_(std::make_shared<const Communicator>(std::move(replicas))) {}

Shard Strategy::shard_of(std::int64_t global_batch) const noexcept {
  const std::int64_t ranks = num_replicas();
  const std::int64_t base = global_batch / ranks;
  const std::int64_t rest = global_batch % ranks;  // the first ranks take one more
  const std::int64_t r = rank();
  return {r * base + std::min(r, rest), base + (r < rest ? 1 : 0)};
}

Strategy::Scope::Scope(Strategy strategy)
    : previous_(std::exchange(current_strategy().replicas_, std::move(strategy.replicas_))) {}

Strategy::Scope::~Scope() { current_strategy().replicas_ = std::move(previous_); }

Strategy Strategy::current() { return current_strategy(); }

}  // namespace lockstep
