// Replicas that differ in one bit are found, and what fails on one rank ends the case on all.

#include "conformance/replicas.hpp"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "conformance/on_all_ranks.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;
using namespace lockstep::conformance;

namespace {

// What the comparison says when the last rank has another first moving mean.
std::string complaint_of(double common, double last) {
  const Communicator world = Communicator::world();
  BatchNormalization layer({.synchronized = true, .name = "a"});
  layer.build({2, 3}, world);
  const BatchNormalizationTape tape;
  const bool is_last = world.rank() == world.size() - 1;
  layer.moving_mean().value().values<float>()[0] = static_cast<float>(is_last ? last : common);
  return caught_from([&] { require_same_on_all_ranks(world, layer, tape); }).what;
}

}  // namespace

TEST_CASE("equal variables are equal") {
  const Communicator world = Communicator::world();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  REQUIRE_ON_ALL_RANKS(world, complaint_of(0.5, 0.5).empty());
  REQUIRE_ON_ALL_RANKS(world, complaint_of(nan, -nan).empty());
}

TEST_CASE("one bit in one variable of one rank is a difference") {
  const Communicator world = Communicator::world();
  const double next = std::nextafter(0.5F, 1.0F);
  const std::string expected =
      "a/moving_mean differs between rank 0 and rank " + std::to_string(world.size() - 1);
  REQUIRE_ON_ALL_RANKS(world, complaint_of(0.5, next) == expected);
  REQUIRE_ON_ALL_RANKS(world, complaint_of(0.0, -0.0) == expected);
}

TEST_CASE("all ranks throw what one of them did, and name it") {
  const Communicator world = Communicator::world();
  for (int guilty = 0; guilty < world.size(); ++guilty) {
    const auto fail_there = [&] {
      if (world.rank() == guilty) throw std::runtime_error("a reason");
    };
    const Caught caught = caught_from([&] { on_all_ranks(world, fail_there); });
    REQUIRE_ON_ALL_RANKS(world, caught.what == "rank " + std::to_string(guilty) + ": a reason");
  }
  const auto fail = [] { throw std::runtime_error(""); };
  const Caught caught = caught_from([&] { on_all_ranks(world, fail); });
  REQUIRE_ON_ALL_RANKS(world, !caught.type.empty() && caught.what.empty());
}
