#include "comm/schedule.hpp"

#include <algorithm>

namespace lockstep {

void Schedule::begin() {
  done_when_.clear();
  for (auto i = due_.begin(); i != due_.end(); ++i) {
    const auto earlier = std::count(due_.begin(), i, *i);
    done_when_.push_back((*i)->num_appointments() + earlier + 1);
  }
}

void Schedule::report(std::int64_t step, const Failure& failure) {
  for (std::size_t i = 0; i < due_.size(); ++i)
    if (due_[i]->num_appointments() < done_when_[i]) {
      std::ranges::fill(due_[i]->payload(), 0.0);
      due_[i]->merge(step, failure);
    }
  // All merges took place, nobody listens any more: this rank is alone with its failure.
  throw_error(failure.code, failure.cause);
}

}  // namespace lockstep
