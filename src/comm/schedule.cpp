#include "comm/schedule.hpp"

#include <algorithm>
#include <utility>

namespace lockstep {

void Schedule::begin() {
  done_when_.clear();
  num_ranks_ = 1;
  for (auto i = due_.begin(); i != due_.end(); ++i) {
    const auto earlier = std::count(due_.begin(), i, *i);
    done_when_.push_back((*i)->num_appointments() + earlier + 1);
    num_ranks_ = std::max(num_ranks_, (*i)->group().size());
  }
}

void Schedule::tell(std::int64_t step, Failure failure) {
  for (std::size_t i = 0; i < due_.size(); ++i) {
    Exchange& exchange = *due_[i];
    const bool has_listeners = exchange.group().size() > 1 || num_ranks_ == 1;
    if (!has_listeners || exchange.num_appointments() >= done_when_[i]) continue;
    // When only a part of the ranks has heard it, the failure goes on to the next merge.
    if (auto heard = attempt(num_ranks_, [&] { exchange.merge(step, failure); }))
      failure = std::move(*heard);
  }
  // All merges took place, nobody listens any more: this rank is alone with its failure.
  throw_error(failure.code, failure.cause);
}

}  // namespace lockstep
