// Ranks compare what they are about to build, and all learn who differs in what.

#include "comm/agreement.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "support/errors.hpp"
#include "support/mpi.hpp"

namespace lockstep {
namespace {

using testing::Caught;
using testing::caught_from;
using testing::is_same_on_all_ranks;
using testing::num_allreduces;
using testing::num_collectives;

const Meeting meeting{"layer 'bn'", "build"};

Caught caught_from_agree(const Communicator& group, const std::vector<Property>& properties,
                         const std::optional<Failure>& failure = std::nullopt) {
  return caught_from([&] { agree(group, meeting, properties, failure); });
}

// The end of every message about a difference.
std::string difference(const std::string& name, const std::string& value, int rank,
                       const std::string& other) {
  return name + " differs between ranks: rank 0 has " + value + ", rank " + std::to_string(rank) +
         " has " + other;
}

TEST_CASE("agreement: equal properties pass with exactly one allreduce") {
  const Communicator world = Communicator::world();
  const std::vector<Property> properties{{"epsilon", "0.001"}, {"axis", "-1"}};
  for (const bool is_empty : {false, true}) {
    const std::int64_t allreduces = num_allreduces();
    const std::int64_t collectives = num_collectives();
    agree(world, meeting, is_empty ? std::vector<Property>{} : properties);
    CHECK(num_allreduces() - allreduces == (world.is_solo() ? 0 : 1));
    CHECK(num_collectives() - collectives == (world.is_solo() ? 0 : 1));
  }
  REQUIRE_ON_ALL_RANKS(world, true);
}

TEST_CASE("agreement: a rank that differs is named on all ranks, with both values") {
  const Communicator world = Communicator::world();
  for (int odd = 1; odd < world.size(); ++odd) {
    const bool is_odd = world.rank() == odd;
    const Caught caught = caught_from_agree(
        world, {{"axis", "-1"}, {"epsilon", is_odd ? "0.1" : "0.001"}, {"center", "true"}});
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    const std::string cause = difference("epsilon", "0.001", odd, "0.1");
    CHECK(caught.what == "layer 'bn', build: " + cause + ". All ranks must give the same");
    CHECK(caught.origin->cause == cause);
    CHECK(caught.origin->rank == odd);
    CHECK(caught.origin->layer == "layer 'bn'");
    CHECK(caught.origin->phase == "build");
  }
}

TEST_CASE("agreement: rank 0 is what the others are compared with") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  const Caught caught = caught_from_agree(world, {{"axis", world.rank() == 0 ? "1" : "-1"}});
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  CHECK(caught.origin->cause == difference("axis", "1", 1, "-1"));
}

TEST_CASE("agreement: of several properties the first that differs is named") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  const std::string mine = std::to_string(world.rank());
  const Caught caught = caught_from_agree(world, {{"same", "x"}, {"first", mine}, {"next", mine}});
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  CHECK(caught.origin->cause == difference("first", "0", 1, "1"));
}

TEST_CASE("agreement: ranks that build different things at all are told so") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  const bool is_last = world.rank() == world.size() - 1;
  const Meeting mine{is_last ? "layer 'dense'" : "layer 'bn'", "build"};
  const Caught caught = caught_from([&] { agree(world, mine, {}); });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  CHECK(caught.origin->cause ==
        difference("place", "layer 'bn'", world.size() - 1, "layer 'dense'"));
}

TEST_CASE("agreement: lists of other length or other names are told apart") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  const bool is_odd = world.rank() == 1;
  std::vector<Property> properties{{"axis", "-1"}, {"epsilon", "0.1"}};
  if (is_odd) properties.pop_back();
  const Caught shorter = caught_from_agree(world, properties);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, shorter));
  CHECK(shorter.origin->cause == difference("number of properties", "2", 1, "1"));

  const Caught renamed = caught_from_agree(world, {{is_odd ? "momentum" : "epsilon", "0.1"}});
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, renamed));
  CHECK(renamed.origin->cause == difference("list of properties", "epsilon", 1, "momentum"));
}

TEST_CASE("agreement: texts of any length are compared, and shown around the difference") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  std::vector<Property> properties;
  for (int i = 0; i < 500; ++i)
    properties.push_back({"layer " + std::to_string(i), std::string(40, 'x')});
  CHECK(caught_from_agree(world, properties).what.empty());
  properties.back().value = std::string(10'000, 'x') +
                            (world.rank() == 1 ? "epsilon" : "momentum") + std::string(10'000, 'x');
  const Caught caught = caught_from_agree(world, properties);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  CHECK(caught.origin->rank == 1);
  CHECK_THAT(caught.what, Catch::Contains("layer 499 differs"));
  CHECK_THAT(caught.what, Catch::Contains("xxmomentumxx") && Catch::Contains("xxepsilonxx"));
  CHECK(caught.what.size() < 600);
}

TEST_CASE("agreement: values may hold any character") {
  const Communicator world = Communicator::world();
  CHECK(caught_from_agree(world, {{"a\tb", "c\n\td"}, {"", ""}}).what.empty());
  if (world.is_solo()) return;
  const Caught caught = caught_from_agree(
      world, {{"name", std::string("first\nsecond\0third", 18) + (world.rank() == 1 ? "!" : "")}});
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
}

TEST_CASE("agreement: the failure of one rank is thrown on all, whatever else differs") {
  const Communicator world = Communicator::world();
  for (int guilty = 0; guilty < world.size(); ++guilty) {
    std::optional<Failure> failure;
    if (world.rank() == guilty) failure = Failure{ErrorCode::argument, "axis 7 of 4"};
    const Caught caught =
        caught_from_agree(world, {{"axis", world.rank() == guilty ? "7" : "-1"}}, failure);
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::argument));
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    CHECK(caught.origin->rank == guilty);
    CHECK(caught.origin->cause == "axis 7 of 4");
    CHECK(caught.origin->layer == "layer 'bn'");
    CHECK(caught.origin->step == -1);
  }
}

TEST_CASE("agreement: what all ranks threw already is thrown again without a message") {
  const Communicator world = Communicator::world();
  const Failure failure{ErrorCode::data, "no file"};
  const auto known = attempt([&] { agree(world, meeting, {}, failure); });
  const std::int64_t before = num_collectives();
  const Caught caught = caught_from_agree(world, {}, known);
  CHECK(num_collectives() == before);
  CHECK(caught.what == known->cause);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
}

TEST_CASE("agreement: after an error the group can agree again") {
  const Communicator world = Communicator::world();
  CHECK(caught_from_agree(world, {}, Failure{}).is(ErrorCode::foreign));
  CHECK(
      caught_from_agree(world, {{"axis", std::to_string(world.rank())}}).is(ErrorCode::mismatch) ==
      !world.is_solo());
  CHECK(caught_from_agree(world, {{"axis", "1"}}).what.empty());
  REQUIRE_ON_ALL_RANKS(world, true);
}

const Meeting end_of_epoch{"fit", "end of epoch", 7};

Caught caught_from_assemble(const Communicator& group,
                            const std::optional<Failure>& failure = std::nullopt) {
  return caught_from([&] { assemble(group, end_of_epoch, failure); });
}

TEST_CASE("assembly: when all come with nothing it returns after exactly one allreduce") {
  const Communicator world = Communicator::world();
  for (int i = 0; i < 3; ++i) {
    const std::int64_t allreduces = num_allreduces();
    const std::int64_t collectives = num_collectives();
    assemble(world, end_of_epoch, std::nullopt);
    CHECK(num_allreduces() - allreduces == (world.is_solo() ? 0 : 1));
    CHECK(num_collectives() - collectives == (world.is_solo() ? 0 : 1));
  }
  REQUIRE_ON_ALL_RANKS(world, true);
}

TEST_CASE("assembly: a failure that one rank brings is thrown on all") {
  const Communicator world = Communicator::world();
  for (int guilty = 0; guilty < world.size(); ++guilty) {
    std::optional<Failure> failure;
    if (world.rank() == guilty) failure = Failure{ErrorCode::data, "no space on the disk"};
    const Caught caught = caught_from_assemble(world, failure);
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::data));
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    CHECK(caught.rank() == guilty);
    CHECK(caught.origin->cause == "no space on the disk");
    CHECK(caught.origin->layer == "fit");
    CHECK(caught.origin->phase == "end of epoch");
    CHECK(caught.origin->step == 7);
  }
}

TEST_CASE("assembly: of several failures the one of the lowest rank is thrown") {
  const Communicator world = Communicator::world();
  for (int lowest = 0; lowest < world.size(); ++lowest) {
    std::optional<Failure> failure;
    if (world.rank() >= lowest)
      failure = Failure{ErrorCode::state, "failure of rank " + std::to_string(world.rank())};
    const Caught caught = caught_from_assemble(world, failure);
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    CHECK(caught.rank() == lowest);
    CHECK(caught.origin->cause == "failure of rank " + std::to_string(lowest));
  }
}

TEST_CASE("assembly: ranks that are in an agreement meanwhile hear of a failure there, and come") {
  const Communicator world = Communicator::world();
  for (int guilty = 0; guilty < world.size(); ++guilty) {
    std::optional<Failure> failure{Failure{ErrorCode::data, "no space on the disk"}};
    if (world.rank() != guilty) failure = attempt([&] { agree(world, meeting, {}); });
    const bool has_heard = failure && failure->code == ErrorCode::data;
    const Caught caught = caught_from_assemble(world, failure);
    CHECK(has_heard);
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::data));
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    CHECK(caught.rank() == guilty);
    CHECK(caught.origin->cause == "no space on the disk");
    CHECK(caught.origin->layer == "fit");
  }
}

TEST_CASE("assembly: a failure that others heard in an agreement stays that of the failing rank") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  // All but the last rank are here: one with a failure, the others with none.
  const int last = world.size() - 1;
  for (int guilty = 0; guilty < last; ++guilty) {
    std::optional<Failure> failure;
    if (world.rank() == guilty) failure = Failure{ErrorCode::data, "no space on the disk"};
    if (world.rank() == last) failure = attempt([&] { agree(world, meeting, {}); });
    const Caught caught = caught_from_assemble(world, failure);
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::data));
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    CHECK(caught.rank() == guilty);
    CHECK(caught.origin->cause == "no space on the disk");
  }
}

TEST_CASE("assembly: where none failed, all hear that some are in an agreement instead") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  for (const int num_agreements : {1, 2, 5})
    for (int odd = 0; odd < world.size(); ++odd) {
      std::optional<Failure> failure;
      for (int i = 0; i < num_agreements && world.rank() == odd; ++i)
        failure = attempt([&] { agree(world, meeting, {}); });
      const bool has_heard = failure && failure->code == ErrorCode::mismatch;
      const Caught caught = caught_from_assemble(world, failure);
      CHECK(has_heard == (world.rank() == odd));
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
      CHECK_THAT(caught.origin->cause, Catch::Contains("layer 'bn'") && Catch::Contains("fit"));
    }
}

TEST_CASE("assembly: what all heard is thrown even when a rank comes without it") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  if (world.rank() == 1) (void)attempt([&] { agree(world, meeting, {}); });
  const Caught caught = caught_from_assemble(world);
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
}

TEST_CASE("assembly: an error that a smaller group agreed on keeps its place") {
  const Communicator world = Communicator::world();
  const Communicator part = world.split(world.rank() / 2);
  std::optional<Failure> failure;
  if (world.rank() / 2 == 0)  // ranks 0 and 1; the last of them failed
    failure = attempt([&] {
      const bool is_guilty = part.rank() == part.size() - 1;
      agree(part, meeting, {},
            is_guilty ? std::optional(Failure{ErrorCode::argument, "axis 7 of 4"}) : std::nullopt);
    });
  const Caught caught = caught_from_assemble(world, failure);
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::argument));
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  CHECK(caught.rank() == std::min(1, world.size() - 1));
  CHECK(caught.origin->cause == "axis 7 of 4");
  CHECK(caught.origin->layer == "layer 'bn'");
  CHECK(caught.origin->phase == "build");
}

TEST_CASE("assembly: ranks that assemble at different places hear it and go on") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  const Caught caught = caught_from([&] {
    assemble(world, {"fit", "end of epoch", world.rank() % 2}, {});
  });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
}

TEST_CASE("assembly: after an error the group can assemble and agree again") {
  const Communicator world = Communicator::world();
  CHECK(caught_from_assemble(world, Failure{}).is(ErrorCode::foreign));
  CHECK(caught_from_assemble(world).what.empty());
  CHECK(caught_from_agree(world, {{"axis", "1"}}).what.empty());
  std::array<std::int64_t, 1> sum{1};
  allreduce(world, sum, Reduction::sum);
  REQUIRE_ON_ALL_RANKS(world, sum[0] == world.size());
}

}  // namespace
}  // namespace lockstep
