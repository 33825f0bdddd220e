// The scheduled message: right sums, one allreduce, and a failure that reaches everybody.

#include "comm/exchange.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
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

constexpr std::size_t length = 5;

// Puts rank + 1 into every element.
void fill(Exchange& exchange) {
  std::ranges::fill(exchange.payload(), exchange.group().rank() + 1.0);
}

// True when the payload holds the sums of what fill() put in, on all ranks.
bool has_sums(Exchange& exchange) {
  const double size = exchange.group().size();
  return std::ranges::count(exchange.payload(), size * (size + 1.0) / 2.0) ==
         static_cast<std::ptrdiff_t>(exchange.payload().size());
}

std::optional<Failure> failure_on(bool is_here, const std::string& cause = "why") {
  return is_here ? std::optional(Failure{ErrorCode::data, cause, 4}) : std::nullopt;
}

TEST_CASE("exchange: a merge sums the payload with one allreduce, none alone") {
  const Communicator world = Communicator::world();
  Exchange exchange(world, "layer 'bn'", "forward", length);
  CHECK(exchange.payload().size() == length);
  for (std::int64_t step = 0; step < 5; ++step) {
    fill(exchange);
    const std::int64_t allreduces = num_allreduces();
    const std::int64_t collectives = num_collectives();
    exchange.merge(step, std::nullopt);
    CHECK(num_allreduces() - allreduces == (world.is_solo() ? 0 : 1));
    CHECK(num_collectives() - collectives == (world.is_solo() ? 0 : 1));
    REQUIRE_ON_ALL_RANKS(world, has_sums(exchange));
    CHECK(exchange.num_appointments() == step + 1);
  }
}

TEST_CASE("exchange: parts are appointments of one allreduce each, of the words that they have") {
  const Communicator world = Communicator::world();
  const double sum = world.size() * (world.size() + 1.0) / 2.0;
  Exchange exchange(world, "layer 'bn'", "forward", length);
  exchange.divide(3, 2);
  CHECK(exchange.num_parts() == 3);
  for (std::int64_t part = 0; part < 3; ++part) {
    fill(exchange);
    const double own = exchange.payload().back();
    const std::int64_t allreduces = num_allreduces();
    exchange.start(7, std::nullopt);
    exchange.finish();
    CHECK(num_allreduces() - allreduces == (world.is_solo() ? 0 : 1));
    CHECK(exchange.num_appointments() == part + 1);
    const double merged = world.is_solo() ? own : sum;
    const std::vector<double> expected{merged, merged, own, own, own};
    REQUIRE_ON_ALL_RANKS(world, std::ranges::equal(exchange.payload(), expected));
  }
  exchange.divide(1, length);
  fill(exchange);
  exchange.merge(8, std::nullopt);
  REQUIRE_ON_ALL_RANKS(world, has_sums(exchange));
}

TEST_CASE(
    "exchange: a failure in any part is the same error on all ranks, and the next part works") {
  const Communicator world = Communicator::world();
  Exchange exchange(world, "layer 'bn'", "forward", length);
  exchange.divide(4, length);
  for (int guilty = 0; guilty < world.size(); ++guilty)
    for (const bool by_merge : {false, true}) {  // as a rank does that is somewhere else
      const Caught caught = caught_from([&] {
        const auto failure = failure_on(world.rank() == guilty);
        if (failure && by_merge) exchange.merge(3, failure);
        exchange.start(3, failure);
        exchange.finish();
      });
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::data));
      REQUIRE_ON_ALL_RANKS(world, caught.rank() == guilty);
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
      fill(exchange);
      exchange.merge(4, std::nullopt);
      REQUIRE_ON_ALL_RANKS(world, has_sums(exchange));
    }
}

TEST_CASE("exchange: a solo group merges nothing and calls no MPI, whatever the number of ranks") {
  Exchange exchange(Communicator(), "layer 'bn'", "forward", length);
  fill(exchange);
  const std::int64_t before = num_collectives();
  exchange.merge(3, std::nullopt);
  exchange.merge_again();
  std::vector<double> values{1.0, -2.0};
  exchange.maximum(values);
  CHECK(num_collectives() == before);
  CHECK(has_sums(exchange));
  CHECK(values == std::vector<double>{1.0, -2.0});
  const Caught caught = caught_from([&] { exchange.merge(4, failure_on(true)); });
  CHECK(num_collectives() == before);
  CHECK(caught.is(ErrorCode::data));
  CHECK(caught.origin->num_ranks == 1);
  CHECK(caught.origin->layer == "layer 'bn'");
}

TEST_CASE("exchange: without a payload it still carries the status") {
  const Communicator world = Communicator::world();
  Exchange exchange(world, "loss", "forward", 0);
  exchange.merge(1, std::nullopt);
  const Caught caught = caught_from([&] { exchange.merge(2, failure_on(world.rank() == 0)); });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::data));
}

TEST_CASE("exchange: a failure of any rank is the same error on all, and the next merge works") {
  const Communicator world = Communicator::world();
  Exchange exchange(world, "layer 'bn'", "forward", length);
  std::int64_t step = 0;
  for (int guilty = 0; guilty < world.size(); ++guilty) {
    fill(exchange);
    const Caught caught =
        caught_from([&] { exchange.merge(step, failure_on(world.rank() == guilty)); });
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::data));
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    CHECK(caught.origin->rank == guilty);
    CHECK(caught.origin->layer == "layer 'bn'");
    CHECK(caught.origin->phase == "forward");
    CHECK(caught.origin->step == step);
    CHECK(caught.origin->channel == 4);
    CHECK(caught.origin->cause == "why");
    ++step;
    fill(exchange);
    exchange.merge(step++, std::nullopt);
    REQUIRE_ON_ALL_RANKS(world, has_sums(exchange));
  }
}

TEST_CASE("exchange: what a failing rank left in the payload never reaches the others") {
  const Communicator world = Communicator::world();
  Exchange exchange(world, "layer 'bn'", "forward", length);
  const bool is_guilty = world.rank() == world.size() - 1;
  fill(exchange);
  if (is_guilty) std::ranges::fill(exchange.payload(), std::numeric_limits<double>::quiet_NaN());
  CHECK(caught_from([&] { exchange.merge(0, failure_on(is_guilty)); }).is(ErrorCode::data));
  const bool is_finite =
      std::ranges::all_of(exchange.payload(), [](double value) { return std::isfinite(value); });
  REQUIRE_ON_ALL_RANKS(world, is_finite);
}

TEST_CASE("exchange: NaN and infinity in the payload are sums like others, not a failure") {
  const Communicator world = Communicator::world();
  Exchange exchange(world, "layer 'bn'", "forward", length);
  for (const double value : {std::numeric_limits<double>::quiet_NaN(),
                             std::numeric_limits<double>::infinity(), 1e308, -1e308}) {
    std::ranges::fill(exchange.payload(), value);
    exchange.merge(-1, std::nullopt);
  }
  REQUIRE_ON_ALL_RANKS(world, exchange.num_appointments() == 4);
}

TEST_CASE("exchange: without a step the number of earlier appointments stands for it") {
  const Communicator world = Communicator::world();
  Exchange exchange(world, "layer 'bn'", "forward", length);
  exchange.merge(-1, std::nullopt);
  exchange.merge(-1, std::nullopt);
  const Caught caught = caught_from([&] { exchange.merge(-1, failure_on(true)); });
  REQUIRE_ON_ALL_RANKS(world, caught.origin->step == 2);
}

TEST_CASE("exchange: ranks at different steps are told so, both places named") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  Exchange exchange(world, "layer 'bn'", "forward", length);
  for (const std::int64_t step : {std::int64_t{0}, std::int64_t{5}, std::int64_t{1} << 40})
    for (int odd = 1; odd < world.size(); ++odd) {
      const std::int64_t mine = world.rank() == odd ? step + 1 : step;
      const Caught caught = caught_from([&] { exchange.merge(mine, std::nullopt); });
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
      CHECK_THAT(caught.what, Catch::Contains("forward, step " + std::to_string(step) + ";") &&
                                  Catch::Contains("forward, step " + std::to_string(step + 1)));
      CHECK(caught.origin->rank == odd);
    }
  fill(exchange);
  exchange.merge(7, std::nullopt);
  REQUIRE_ON_ALL_RANKS(world, has_sums(exchange));
}

TEST_CASE("exchange: ranks in different layers or phases are told so, both places named") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  const bool is_last = world.rank() == world.size() - 1;
  Exchange other_layer(world, is_last ? "layer 'b'" : "layer 'a'", "forward", length);
  const Caught layers = caught_from([&] { other_layer.merge(3, std::nullopt); });
  REQUIRE_ON_ALL_RANKS(world, layers.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, layers));
  CHECK_THAT(layers.what, Catch::Contains("layer 'a', forward, step 3") &&
                              Catch::Contains("layer 'b', forward, step 3"));

  Exchange other_phase(world, "layer 'a'", is_last ? "backward" : "forward", length);
  const Caught phases = caught_from([&] { other_phase.merge(3, std::nullopt); });
  REQUIRE_ON_ALL_RANKS(world, phases.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, phases));
  CHECK_THAT(phases.what, Catch::Contains("layer 'a', forward, step 3") &&
                              Catch::Contains("layer 'a', backward, step 3"));
}

TEST_CASE("exchange: a failure counts more than different steps") {
  const Communicator world = Communicator::world();
  Exchange exchange(world, "layer 'bn'", "forward", length);
  const bool is_guilty = world.rank() == world.size() - 1;
  const Caught caught =
      caught_from([&] { exchange.merge(is_guilty ? -1 : 20, failure_on(is_guilty)); });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::data));
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
}

TEST_CASE("exchange: further rounds of an appointment sum again, one allreduce each") {
  const Communicator world = Communicator::world();
  Exchange exchange(world, "layer 'bn'", "forward", length);
  fill(exchange);
  exchange.merge(0, std::nullopt);
  const std::int64_t before = exchange.group().traffic().num_messages;
  std::vector<double> values{static_cast<double>(world.rank()), -1.0};
  exchange.maximum(values);
  CHECK(values == std::vector<double>{world.size() - 1.0, -1.0});
  for (int round = 0; round < 2; ++round) {
    fill(exchange);
    exchange.merge_again();
    REQUIRE_ON_ALL_RANKS(world, has_sums(exchange));
  }
  CHECK(exchange.group().traffic().num_messages - before == (world.is_solo() ? 0 : 3));
  CHECK(exchange.num_appointments() == 1);
  fill(exchange);
  exchange.merge(1, std::nullopt);
  REQUIRE_ON_ALL_RANKS(world, has_sums(exchange));
}

TEST_CASE("exchange: a rank that fails between two rounds reports it in the next") {
  const Communicator world = Communicator::world();
  Exchange exchange(world, "layer 'bn'", "forward", length);
  for (int guilty = 0; guilty < world.size(); ++guilty) {
    fill(exchange);
    exchange.merge(guilty, std::nullopt);
    fill(exchange);
    const Caught caught =
        caught_from([&] { exchange.merge_again(failure_on(world.rank() == guilty)); });
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::data));
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    CHECK(caught.origin->rank == guilty);
    CHECK(caught.origin->step == guilty);
  }
}

TEST_CASE("exchange: a rank that takes a further round for the next merge is found") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  Exchange exchange(world, "layer 'bn'", "forward", length);
  for (const std::int64_t next_step : {6, 5}) {  // also with a second use in the same step
    exchange.merge(5, std::nullopt);
    const Caught caught = caught_from([&] {
      if (world.rank() == 0)
        exchange.merge(next_step, std::nullopt);
      else
        exchange.merge_again();
    });
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  }
}

TEST_CASE("exchange: raise throws after a merge that showed all ranks what is wrong") {
  const Communicator world = Communicator::world();
  Exchange exchange(world, "layer 'bn'", "forward", length);
  for (int guilty = 0; guilty < world.size(); ++guilty) {
    exchange.merge(guilty, std::nullopt);
    const Caught caught =
        caught_from([&] { exchange.raise(failure_on(world.rank() == guilty, "NaN")); });
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    CHECK(caught.origin->rank == guilty);
    CHECK(caught.origin->step == guilty);
    CHECK(caught.origin->cause == "NaN");
  }
}

TEST_CASE("exchange: what the whole group threw already is thrown again without a message") {
  const Communicator world = Communicator::world();
  Exchange first(world, "layer 'a'", "forward", length);
  Exchange second(world, "layer 'b'", "forward", length);
  const auto known = attempt([&] { first.merge(0, failure_on(true)); });
  const std::int64_t before = num_collectives();
  const Caught caught = caught_from([&] { second.merge(0, known); });
  CHECK(num_collectives() == before);
  CHECK(caught.what == known->cause);
  CHECK(second.num_appointments() == 0);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
}

TEST_CASE("exchange: messages of different exchanges never meet") {
  const Communicator world = Communicator::world();
  Exchange first(world, "layer 'a'", "forward", 3);
  Exchange second(world, "layer 'b'", "forward", 300);
  for (std::int64_t step = 0; step < 3; ++step) {
    fill(first);
    fill(second);
    first.merge(step, std::nullopt);
    second.merge(step, std::nullopt);
    REQUIRE_ON_ALL_RANKS(world, has_sums(first) && has_sums(second));
  }
  CHECK(first.group().traffic().num_messages == (world.is_solo() ? 0 : 3));
}

}  // namespace
}  // namespace lockstep
