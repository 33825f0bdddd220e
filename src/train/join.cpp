#include "lockstep/train/join.hpp"

#include <exception>
#include <utility>

#include "comm/agreement.hpp"
#include "lockstep/base/error.hpp"
#include "train/trainer_parts.hpp"

namespace lockstep {

// The others, in their first step, are at an agreement too, whichever it is.
void Trainer::Parts::prepare_without_data() {
  if (gradients) return;
  Shape shape;
  const auto failure = attempt([&] {
    static_cast<void>(model.variables());
    shape = model.sample_shape().value().prepended(0);
  });
  if (failure) agree(replicas(), {"trainer", "join", -1}, {}, failure);
  prepare(shape);
}

void Trainer::join() {
  Parts& parts = *parts_;
  parts.require(Activity::none, "join()");
  parts.make([&] {
    parts.prepare_without_data();
    do parts.train([&] { return parts.no_batch(); });
    while (!parts.is_out_of_data);
  });
}

void Trainer::fail(std::exception_ptr reason) {
  Parts& parts = *parts_;
  parts.require(Activity::none, "fail()");
  if (reason == nullptr)
    reason = std::make_exception_ptr(StateError("fail() was given no exception as its reason"));
  const auto rethrow_reason = [&]() -> Batch { std::rethrow_exception(reason); };
  parts.make([&] {
    if (!parts.gradients)
      agree(parts.replicas(), {"trainer", "data", -1}, {}, attempt(rethrow_reason));
    parts.train(rethrow_reason);
  });
  throw StateError("the ranks went on without the failure of this one");
}

Join::Join(Trainer& trainer) noexcept
    : trainer_(trainer), exceptions_in_flight_(std::uncaught_exceptions()) {}

Join::~Join() noexcept(false) {
  if (is_finished_) return;
  if (std::uncaught_exceptions() == exceptions_in_flight_) {
    finish();
    return;
  }
  if (!trainer_.parts_->told_error.expired()) return;  // in flight on all ranks
  try {
    trainer_.fail(std::make_exception_ptr(
        StateError("the rank left its loop by an exception of its own, and makes no more steps")));
  } catch (...) {  // what is in flight already says more
  }
}

void Join::finish() {
  if (std::exchange(is_finished_, true)) return;
  trainer_.join();
}

}  // namespace lockstep
