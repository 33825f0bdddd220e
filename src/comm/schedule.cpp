#include "comm/schedule.hpp"

#include <algorithm>
#include <utility>

namespace lockstep {

void Schedule::add(Exchange& exchange) {
  const auto earlier = std::ranges::count(due_, &exchange, &Appointment::exchange);
  due_.push_back({&exchange, earlier + 1, 0});
}

void Schedule::begin() noexcept {
  for (auto& [exchange, nth, done_when] : due_)
    done_when =
        exchange->num_appointments() + nth * static_cast<std::int64_t>(exchange->num_parts());
}

bool Schedule::is_pending(const Appointment& appointment) noexcept {
  return appointment.exchange->num_appointments() < appointment.done_when;
}

std::optional<Failure> Schedule::missed_merge() const {
  const auto is_missed = [](const Appointment& appointment) {
    return is_pending(appointment) && !appointment.exchange->group().is_solo();
  };
  if (std::ranges::none_of(due_, is_missed)) return std::nullopt;
  return Failure{ErrorCode::state, "the step ended without this merge, which every rank must make"};
}

void Schedule::fail(std::int64_t step, Failure failure) {
  begin();
  report(step, std::move(failure));
}

void Schedule::report(std::int64_t step, Failure failure) {
  for (const Appointment& appointment : due_) {
    Exchange& exchange = *appointment.exchange;
    if (!is_pending(appointment) || exchange.group().size() <= failure.num_informed()) continue;
    // Throws for all of the group; a larger one may still be waiting.
    if (auto known = attempt([&] { exchange.merge(step, failure); })) failure = std::move(*known);
  }
  // Nobody is left to tell. A place makes it an error of this rank that outer meetings pass on.
  if (!failure.origin && failure.place) throw_agreed(Communicator(), *failure.place, failure);
  rethrow(failure);
}

}  // namespace lockstep
