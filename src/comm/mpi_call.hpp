// How the library calls MPI's collectives: counted, noted in the journal, and never waiting longer
// than the watchdog allows.

#pragma once

#include <mpi.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>

#include "base/turn.hpp"
#include "comm/handle.hpp"
#include "comm/journal.hpp"
#include "comm/watch.hpp"
#include "lockstep/comm/communicator.hpp"

namespace lockstep {

/// A collective as a call that blocks, `blocking(..., communicator)`, and as one that only starts
/// it, `starting(..., communicator, request)`. Both return MPI's code.
template <class Blocking, class Starting>
struct Collective {
  const char* name;  ///< a literal, MPI's name of the blocking one
  Blocking blocking;
  Starting starting;
  bool is_message = true;  ///< whether it counts as traffic
};
template <class Blocking, class Starting>
Collective(const char*, Blocking, Starting) -> Collective<Blocking, Starting>;
template <class Blocking, class Starting>
Collective(const char*, Blocking, Starting, bool) -> Collective<Blocking, Starting>;

/// The right of a thread to use a communicator. Throws StateError when it must not call MPI at all,
/// or when another thread is in a call of the same communicator.
[[nodiscard]] Turn turn_of(Communicator::Handle& handle);

/// One call of a collective on its way through clock, journal and counters.
class MpiCall {
 public:
  /// Notes that the call begins.
  MpiCall(Communicator::Handle& handle, const char* name, std::size_t num_bytes, bool is_message);

  /// Waits until a call that was started is done, or the watchdog, where it is on, ends the job.
  void wait(MPI_Request& request) const;

  /// Time that is spent otherwise is none of the call's.
  void pause() noexcept { spent_ += Clock::now() - since_; }
  void resume() noexcept { since_ = Clock::now(); }
  void finish() noexcept;

  void check(int code) const { check_mpi(code, name_); }

 private:
  Communicator::Handle* handle_;
  const char* name_;
  std::size_t num_bytes_;
  bool is_message_;
  Clock::time_point since_;
  Clock::duration spent_{0};
  Journal* journal_ = nullptr;  // null: nobody wants to know
  std::size_t number_ = 0;      // there
};

/// Makes one call of a collective, to which this rank contributes `num_bytes`. Errors are those of
/// turn_of() and CommunicationError. Collective.
template <class Blocking, class Starting, class... Arguments>
void call(const Communicator& group, const Collective<Blocking, Starting>& collective,
          std::size_t num_bytes, Arguments... arguments) {
  Communicator::Handle& handle = *group.handle();
  const Turn turn = turn_of(handle);
  MpiCall made(handle, collective.name, num_bytes, collective.is_message);
  if (is_watching()) {
    MPI_Request request = MPI_REQUEST_NULL;
    made.check(collective.starting(arguments..., handle.communicator, &request));
    made.wait(request);
  } else {
    made.check(collective.blocking(arguments..., handle.communicator));
  }
  made.finish();
}

/// A collective that is under way while this rank does something else. Its memory must stay as it
/// is until finish(), which is collective in so far as all ranks must come there.
class PendingCall {
 public:
  PendingCall() noexcept = default;  ///< nothing is under way
  PendingCall(PendingCall&& other) noexcept;
  PendingCall& operator=(PendingCall&& other) noexcept;  ///< the two change places
  ~PendingCall();  ///< as finish(), but says nothing of errors

  /// Starts it; arguments and errors are those of call(). Collective.
  template <class Blocking, class Starting, class... Arguments>
  [[nodiscard]] static PendingCall start(const Communicator& group,
                                         const Collective<Blocking, Starting>& collective,
                                         std::size_t num_bytes, Arguments... arguments) {
    Communicator::Handle& handle = *group.handle();
    const Turn turn = turn_of(handle);
    PendingCall pending(handle, MpiCall(handle, collective.name, num_bytes, true));
    pending.call_->check(collective.starting(arguments..., handle.communicator, &pending.request_));
    pending.call_->pause();
    return pending;
  }

  /// Waits until it is done. Nothing happens when nothing is under way.
  void finish();

 private:
  PendingCall(Communicator::Handle& handle, MpiCall made) : handle_(&handle), call_(made) {}

  Communicator::Handle* handle_ = nullptr;
  std::optional<MpiCall> call_;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

}  // namespace lockstep
