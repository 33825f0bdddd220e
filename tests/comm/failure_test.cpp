// A failure of one rank becomes the same error on all.

#include "comm/failure.hpp"

#include <spdlog/fmt/fmt.h>

#include <new>
#include <stdexcept>
#include <string>

#include "support/errors.hpp"
#include "support/mpi.hpp"

namespace lockstep {
namespace {

// How an error names its rank; a group of one has nobody to tell apart.
std::string who(int rank) {
  if (Communicator::world().is_solo()) return "";
  return fmt::format("rank {} on {}: ", rank, host_name());
}

using testing::Caught;
using testing::caught_from;
using testing::is_same_on_all_ranks;
using testing::num_collectives;

const Meeting meeting{"layer 'bn'", "forward", 12};

Failure failure_of(int rank) {
  return {ErrorCode::data, fmt::format("reason of rank {}", rank), 7};
}

TEST_CASE("failure: what succeeds has none") {
  CHECK_FALSE(attempt([] {}).has_value());
}

TEST_CASE("failure: an exception keeps kind and message") {
  const auto failure = attempt([] { throw DataError("the file is short"); });
  REQUIRE(failure);
  CHECK(failure->code == ErrorCode::data);
  CHECK(failure->cause == "the file is short");
  CHECK(failure->channel == -1);
  CHECK(failure->num_informed() == 1);
  CHECK(attempt([] { throw ArgumentError("a"); })->code == ErrorCode::argument);
}

TEST_CASE("failure: foreign exceptions keep their message, lack of memory its kind") {
  const auto foreign = attempt([] { throw std::out_of_range("index 3"); });
  CHECK(foreign->code == ErrorCode::foreign);
  CHECK(foreign->cause == "index 3");
  const auto memory = attempt([] { throw std::bad_alloc(); });
  CHECK(memory->code == ErrorCode::memory);
  CHECK(memory->cause == "out of memory");
  const auto other = attempt([] { throw 42; });
  CHECK(other->code == ErrorCode::foreign);
  CHECK_FALSE(other->cause.empty());
}

TEST_CASE("failure: with an error of MPI nothing can be agreed, so it passes through") {
  const auto body = [] { (void)attempt([] { throw CommunicationError("MPI_Bcast failed"); }); };
  CHECK_THROWS_AS(body(), CommunicationError);
}

TEST_CASE("failure: rethrown it is the error that it was") {
  const Caught local = caught_from([] { rethrow(*attempt([] { throw StateError("early"); })); });
  CHECK(local.is(ErrorCode::state));
  CHECK(local.what == "early");
  CHECK_FALSE(local.origin);

  const Communicator world = Communicator::world();
  const auto throw_it = [&] { throw_agreed(world, meeting, failure_of(world.rank())); };
  const Caught agreed = caught_from(throw_it);
  const Caught again = caught_from([&] { rethrow(*attempt([&] { throw_it(); })); });
  REQUIRE_ON_ALL_RANKS(world, again.type == agreed.type && again.what == agreed.what);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, again));
}

TEST_CASE("failure: the failure of any rank is thrown on all with its origin") {
  const Communicator world = Communicator::world();
  for (int guilty = 0; guilty < world.size(); ++guilty) {
    std::optional<Failure> failure;
    if (world.rank() == guilty) failure = failure_of(guilty);
    const std::int64_t before = num_collectives();
    const Caught caught = caught_from([&] { throw_agreed(world, meeting, failure); });
    CHECK(num_collectives() - before == (world.is_solo() ? 0 : 1));
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    const std::string reason = fmt::format("reason of rank {}", guilty);
    CHECK(caught.is(ErrorCode::data));
    CHECK(caught.what == who(guilty) + "layer 'bn', forward, step 12, channel 7: " + reason);
    REQUIRE_ON_ALL_RANKS(world, caught.origin.has_value());
    CHECK(caught.origin->rank == guilty);
    CHECK(caught.origin->num_ranks == world.size());
    CHECK(caught.origin->is_here == (world.rank() == guilty));
    CHECK(caught.origin->host == host_name());
    CHECK(caught.origin->layer == "layer 'bn'");
    CHECK(caught.origin->phase == "forward");
    CHECK(caught.origin->step == 12);
    CHECK(caught.origin->channel == 7);
    CHECK(caught.origin->cause == reason);
  }
}

TEST_CASE("failure: of several ranks that fail the lowest is named, and how many there are") {
  const Communicator world = Communicator::world();
  for (int lowest = 0; lowest < world.size(); ++lowest) {
    std::optional<Failure> failure;
    if (world.rank() >= lowest) failure = failure_of(world.rank());
    const Caught caught = caught_from([&] { throw_agreed(world, meeting, failure); });
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    REQUIRE_ON_ALL_RANKS(world, caught.origin->rank == lowest);
    const int num_failed = world.size() - lowest;
    const bool has_count = caught.what.ends_with(fmt::format("({} ranks failed)", num_failed));
    REQUIRE_ON_ALL_RANKS(world, has_count == (num_failed > 1));
  }
}

TEST_CASE("failure: every kind arrives as its type") {
  const Communicator world = Communicator::world();
  const int last = world.size() - 1;
  for (const ErrorCode code :
       {ErrorCode::foreign, ErrorCode::argument, ErrorCode::mismatch, ErrorCode::state,
        ErrorCode::non_finite, ErrorCode::data, ErrorCode::memory}) {
    std::optional<Failure> failure;
    if (world.rank() == last) failure = Failure{code, "why"};
    const Caught caught = caught_from([&] { throw_agreed(world, meeting, failure); });
    const Caught expected = caught_from([&] { throw_error(code, ""); });
    REQUIRE_ON_ALL_RANKS(world, caught.type == expected.type && caught.is(code));
  }
}

TEST_CASE("failure: long texts are cut, not lost") {
  const Communicator world = Communicator::world();
  const Meeting long_meeting{std::string(5000, 'l'), std::string(5000, 'p'), -1};
  const Failure failure{ErrorCode::argument, std::string(5000, 'c')};
  const Caught caught = caught_from([&] { throw_agreed(world, long_meeting, failure); });
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  const ErrorOrigin& origin = *caught.origin;
  CHECK(origin.layer == std::string(95, 'l'));
  CHECK(origin.phase == std::string(31, 'p'));
  CHECK(origin.cause == std::string(511, 'c'));
  CHECK(caught.what.find("step") == std::string::npos);
  CHECK(caught.what.find("channel") == std::string::npos);
}

TEST_CASE("failure: when nobody failed, the first two ranks at different places are named") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  for (int other = 1; other < world.size(); ++other) {
    const Meeting mine{"layer 'bn'", "forward", world.rank() >= other ? 13 : 12};
    const Caught caught = caught_from([&] { throw_agreed(world, mine, std::nullopt); });
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    CHECK(caught.origin->rank == other);
    CHECK_THAT(caught.what,
               Catch::Contains(fmt::format("rank 0 is at layer 'bn', forward, step 12; rank {} is "
                                           "at layer 'bn', forward, step 13",
                                           other)));
  }
}

TEST_CASE("failure: when nobody failed and all are at one place, the error says so") {
  const Communicator world = Communicator::world();
  const Caught caught = caught_from([&] { throw_agreed(world, meeting, std::nullopt); });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  CHECK_THAT(caught.what, Catch::StartsWith("layer 'bn', forward, step 12: "));
}

TEST_CASE("failure: a larger group still needs what a smaller one agreed on") {
  const Communicator world = Communicator::world();
  const Communicator alone = world.split(world.rank());
  const auto failure = attempt([&] { throw_agreed(alone, meeting, failure_of(0)); });
  REQUIRE(failure);
  CHECK(failure->num_informed() == 1);
  CHECK(caught_from([&] { rethrow_if_known(alone, failure); }).is(ErrorCode::data));
  const Caught in_world = caught_from([&] { rethrow_if_known(world, failure); });
  CHECK(in_world.is(ErrorCode::data) == world.is_solo());
  // This rank's own failure is never known to the others, not even alone.
  CHECK(caught_from([&] { rethrow_if_known(alone, failure_of(0)); }).what.empty());
  CHECK(caught_from([&] { rethrow_if_known(world, std::nullopt); }).what.empty());
}

TEST_CASE("failure: what a part of the ranks agreed on keeps its place and its guilty rank") {
  const Communicator world = Communicator::world();
  const int num_upper = (world.size() + 1) / 2;
  const bool is_upper = world.rank() >= world.size() - num_upper;
  const Communicator part = world.split(is_upper ? 1 : 0);
  const int guilty = world.size() - 1;  // the last of its part, so that others come before it
  std::optional<Failure> failure;
  if (is_upper)
    failure = attempt([&] {
      throw_agreed(part, meeting,
                   world.rank() == guilty ? std::optional(failure_of(guilty)) : std::nullopt);
    });
  const Caught caught = caught_from([&] {
    throw_agreed(world, {"gradients", "update", 99}, failure);
  });
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  CHECK(caught.is(ErrorCode::data));
  CHECK(caught.what == who(guilty) + "layer 'bn', forward, step 12, channel 7: reason of rank " +
                           std::to_string(guilty));
  CHECK(caught.origin->rank == guilty);
}

}  // namespace
}  // namespace lockstep
