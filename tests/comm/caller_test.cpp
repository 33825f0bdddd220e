// What a fork, a wrong thread and a second thread hear.

#include "comm/caller.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>
#include <vector>

#include "comm/exchange.hpp"
#include "comm/mpi_call.hpp"
#include "lockstep/comm/environment.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"

namespace lockstep {
namespace {

using testing::Caught;
using testing::caught_from;

// Exit code of a fork that runs `body`; 99: it did not end by itself.
template <class Body>
int code_of_fork(Body&& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

bool says(const Caught& caught, const std::string& part) {
  return caught.is(ErrorCode::state) && caught.what.find(part) != std::string::npos;
}

TEST_CASE("caller: a fork hears that it must not send, and may do what sends nothing") {
  const Communicator world = Communicator::world();
  Exchange shared(world, "layer 'a'", "forward", 1),
      solo(Communicator(), "layer 'b'", "forward", 1);
  const int code = code_of_fork([&] {
    const bool is_refused =
        world.is_solo() || says(caught_from([&] { shared.merge(-1, std::nullopt); }), "is a fork");
    const bool has_no_world = says(caught_from([] { (void)Communicator::world(); }), "is a fork");
    const bool has_no_mpi = says(caught_from([] { const Environment mpi; }), "is a fork");
    solo.payload()[0] = 3.0;
    solo.merge(-1, std::nullopt);
    return is_refused && has_no_world && has_no_mpi && solo.payload()[0] == 3.0 ? 0 : 1;
  });
  CHECK(code == 0);
  // It is over without a trace here.
  shared.payload()[0] = 1.0;
  shared.merge(-1, std::nullopt);
  REQUIRE_ON_ALL_RANKS(world, code == 0 && shared.payload()[0] == world.size());
}

TEST_CASE("caller: communicators may go in a fork, MPI goes on") {
  const Communicator world = Communicator::world();
  Communicator copy = world.dup();
  const int code = code_of_fork([&] {
    copy = Communicator();
    return 0;
  });
  REQUIRE_ON_ALL_RANKS(world, code == 0 && testing::all_ranks(copy, true));
}

TEST_CASE("caller: another thread than the one that MPI was started for is refused") {
  const Communicator world = Communicator::world();
  const Communicator copy = world.dup();
  Caught caught, of_dup;
  std::thread([&] {
    caught = caught_from([&] {
      std::array<double, 1> sum{};
      allreduce(copy, sum, Reduction::sum);
    });
    of_dup = caught_from([&] { (void)copy.dup(); });
  }).join();
  const bool is_right = (world.is_solo() || says(caught, "by the thread that started MPI")) &&
                        says(of_dup, "by the thread that started MPI");
  REQUIRE_ON_ALL_RANKS(world, is_right);
}

TEST_CASE("caller: two threads at once on one communicator are refused") {
  const Communicator world = Communicator::world();
  const Communicator copy = world.dup();
  Caught caught;
  {
    const Turn turn(*copy.handle());
    caught = caught_from([&] { const Turn another(*copy.handle()); });
  }
  REQUIRE_ON_ALL_RANKS(world, says(caught, "two threads use one layer"));
  REQUIRE_ON_ALL_RANKS(copy, true);
}

}  // namespace
}  // namespace lockstep
