#include "comm/schedule.hpp"

#include <algorithm>
#include <utility>

namespace lockstep {

void Schedule::begin() {
  done_when_.clear();
  for (auto i = due_.begin(); i != due_.end(); ++i) {
    const auto earlier = std::count(due_.begin(), i, *i);
    done_when_.push_back((*i)->num_appointments() + earlier + 1);
  }
}

void Schedule::report(std::int64_t step, Failure failure) {
  for (std::size_t i = 0; i < due_.size(); ++i) {
    const bool is_pending = due_[i]->num_appointments() < done_when_[i];
    if (!is_pending || due_[i]->group().size() <= failure.num_informed()) continue;
    // Throws for all of the group; a larger one may still be waiting.
    if (auto known = attempt([&] { due_[i]->merge(step, failure); })) failure = std::move(*known);
  }
  rethrow(failure);
}

}  // namespace lockstep
