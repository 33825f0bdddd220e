// A rank that fails keeps its appointments: no rank hangs, all throw the same.

#include "comm/schedule.hpp"

#include <algorithm>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/errors.hpp"
#include "support/mpi.hpp"

namespace lockstep {
namespace {

using testing::Caught;
using testing::caught_from;
using testing::is_same_on_all_ranks;

// A step of three merges with work before, between and after them.
struct Step {
  explicit Step(const Communicator& group)
      : forward(group, "layer 'bn'", "forward", 3),
        backward(group, "layer 'bn'", "backward", 2),
        gradients(group, "model", "gradients", 4),
        due{&forward, &backward, &gradients} {
    for (Exchange* exchange : due) schedule.add(*exchange);
  }

  // `work(i)` runs before the i-th merge, and once more after the last.
  template <class Work>
  void run(std::int64_t step, Work&& work) {
    schedule.keep(step, [&] {
      for (std::size_t i = 0; i < due.size(); ++i) {
        work(i);
        std::ranges::fill(due[i]->payload(), 1.0);
        due[i]->merge(step, std::nullopt);
      }
      work(due.size());
    });
  }

  [[nodiscard]] bool works(std::int64_t step) {
    run(step, [](std::size_t) {});
    const double size = due[0]->group().size();
    return std::ranges::all_of(due, [&](Exchange* exchange) {
      return std::ranges::count(exchange->payload(), size) ==
             static_cast<std::ptrdiff_t>(exchange->payload().size());
    });
  }

  Exchange forward, backward, gradients;
  std::vector<Exchange*> due;
  Schedule schedule;
};

TEST_CASE("schedule: an exchange is due with all of its parts") {
  const Communicator world = Communicator::world();
  constexpr int num_parts = 3;
  Exchange exchange(world, "layer 'bn'", "forward", 1), other(world, "model", "gradients", 1);
  Schedule schedule;
  for (Exchange* each : {&exchange, &other, &exchange}) schedule.add(*each);
  exchange.divide(num_parts, 1);
  const auto run = [&](int guilty, int fatal_part) {
    int part = 0;
    const auto merge = [&](Exchange& each) {
      if (part++ == fatal_part && world.rank() == guilty) throw DataError("why");
      each.start(-1, std::nullopt);
      each.finish();
    };
    schedule.keep(-1, [&] {
      for (int i = 0; i < num_parts; ++i) merge(exchange);
      merge(other);
      for (int i = 0; i < num_parts; ++i) merge(exchange);
    });
  };
  for (int guilty = 0; guilty < world.size(); ++guilty)
    for (int fatal_part = 0; fatal_part < 2 * num_parts + 1; ++fatal_part) {
      const Caught caught = caught_from([&] { run(guilty, fatal_part); });
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::data));
      if (!world.is_solo()) REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
      run(-1, -1);
    }
}

TEST_CASE("schedule: a step without failure is what its body does") {
  const Communicator world = Communicator::world();
  Step step(world);
  const std::int64_t before = testing::num_collectives();
  CHECK(step.works(0));
  CHECK(testing::num_collectives() - before == (world.is_solo() ? 0 : 3));
  REQUIRE_ON_ALL_RANKS(world, step.works(1));
}

TEST_CASE("schedule: wherever a rank fails before the last merge, all throw its error") {
  const Communicator world = Communicator::world();
  Step step(world);
  std::int64_t number = 0;
  for (int guilty = 0; guilty < world.size(); ++guilty)
    for (std::size_t where = 0; where < step.due.size(); ++where) {
      const Caught caught = caught_from([&] {
        step.run(number, [&](std::size_t i) {
          if (world.rank() == guilty && i == where) throw DataError("the batch is damaged");
        });
      });
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::data));
      if (world.is_solo()) {
        CHECK(caught.what == "the batch is damaged");
      } else {
        REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
        CHECK(caught.origin->rank == guilty);
        CHECK(caught.origin->step == number);
        CHECK(caught.origin->cause == "the batch is damaged");
      }
      REQUIRE_ON_ALL_RANKS(world, step.works(++number));
      ++number;
    }
}

TEST_CASE("schedule: a failure after the last merge is thrown by that rank alone, as it was") {
  const Communicator world = Communicator::world();
  Step step(world);
  for (int guilty = 0; guilty < world.size(); ++guilty) {
    const Caught caught = caught_from([&] {
      step.run(2 * guilty, [&](std::size_t i) {
        if (world.rank() == guilty && i == step.due.size()) throw StateError("after all");
      });
    });
    const bool is_right = world.rank() == guilty
                              ? caught.is(ErrorCode::state) && caught.what == "after all"
                              : caught.type.empty();
    REQUIRE_ON_ALL_RANKS(world, is_right && !caught.origin);
    REQUIRE_ON_ALL_RANKS(world, step.works(2 * guilty + 1));
  }
}

TEST_CASE("schedule: when all ranks fail, each somewhere else, one error remains") {
  const Communicator world = Communicator::world();
  Step step(world);
  const Caught caught = caught_from([&] {
    step.run(0, [&](std::size_t i) {
      if (i == static_cast<std::size_t>(world.rank() % 3)) throw ArgumentError("too early");
    });
  });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::argument));
  REQUIRE_ON_ALL_RANKS(world, world.is_solo() || is_same_on_all_ranks(world, caught));
  REQUIRE_ON_ALL_RANKS(world, step.works(1));
}

TEST_CASE("schedule: foreign exceptions and lack of memory reach all ranks as their kind") {
  const Communicator world = Communicator::world();
  Step step(world);
  const bool is_guilty = world.rank() == world.size() - 1;
  const Caught foreign = caught_from([&] {
    step.run(0, [&](std::size_t i) {
      if (is_guilty && i == 1) throw std::out_of_range("index 9");
    });
  });
  REQUIRE_ON_ALL_RANKS(world, foreign.is(ErrorCode::foreign));
  CHECK_THAT(foreign.what, Catch::EndsWith("index 9"));
  const Caught memory = caught_from([&] {
    step.run(1, [&](std::size_t i) {
      if (is_guilty && i == 0) throw std::bad_alloc();
    });
  });
  REQUIRE_ON_ALL_RANKS(world, memory.is(ErrorCode::memory));
  REQUIRE_ON_ALL_RANKS(world, step.works(2));
}

TEST_CASE("schedule: an error that all ranks agreed on passes through unchanged") {
  const Communicator world = Communicator::world();
  Step step(world);
  Caught inner;
  const Caught outer = caught_from([&] {
    step.schedule.keep(0, [&] {
      step.forward.merge(0, std::nullopt);
      inner = caught_from([&] { throw_agreed(world, {"model", "save", 8}, Failure{}); });
      throw_error(*inner.code, inner.what, std::make_shared<ErrorOrigin>(*inner.origin));
    });
  });
  CHECK(outer.what == inner.what);
  REQUIRE_ON_ALL_RANKS(world, outer.type == inner.type && outer.origin->step == 8);
  CHECK(step.backward.num_appointments() == 0);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, outer));
  REQUIRE_ON_ALL_RANKS(world, step.works(1));
}

TEST_CASE("schedule: an exchange may be due more than once in a step") {
  const Communicator world = Communicator::world();
  Exchange shared(world, "layer 'bn'", "forward", 1);
  Exchange other(world, "model", "gradients", 1);
  const std::vector<Exchange*> due{&shared, &other, &shared, &shared};
  Schedule schedule;
  for (Exchange* exchange : due) schedule.add(*exchange);
  std::int64_t step = 0;
  const auto run = [&](int guilty, std::size_t where) {
    ++step;
    return caught_from([&] {
      schedule.keep(step, [&] {
        for (std::size_t i = 0; i < due.size(); ++i) {
          if (world.rank() == guilty && i == where) throw DataError("stop");
          due[i]->payload()[0] = 1.0;
          due[i]->merge(step, std::nullopt);
        }
      });
    });
  };
  for (int guilty = 0; guilty < world.size(); ++guilty)
    for (std::size_t where = 0; where < due.size(); ++where) {
      const Caught caught = run(guilty, where);
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::data));
      REQUIRE_ON_ALL_RANKS(world, world.is_solo() || is_same_on_all_ranks(world, caught));
      REQUIRE_ON_ALL_RANKS(world, run(-1, 0).type.empty());
      REQUIRE_ON_ALL_RANKS(world, shared.payload()[0] == world.size());
    }
}

TEST_CASE("schedule: a merge that a rank leaves out is an error on all, not a hang") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  Step step(world);
  const bool is_guilty = world.rank() == 1;
  const Caught caught = caught_from([&] {
    step.schedule.keep(4, [&] {
      step.forward.merge(4, std::nullopt);
      step.backward.merge(4, std::nullopt);
      if (!is_guilty) step.gradients.merge(4, std::nullopt);
    });
  });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::state));
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  CHECK(caught.origin->rank == 1);
  CHECK(caught.origin->phase == "gradients");
  REQUIRE_ON_ALL_RANKS(world, step.works(5));
}

TEST_CASE("schedule: what a rank alone or a part of them agreed on reaches all that wait") {
  const Communicator world = Communicator::world();
  const Communicator half = world.split(world.rank() % 2);
  Exchange alone(Communicator(), "layer 'a'", "forward", 1);
  Exchange in_half(half, "layer 'b'", "forward", 1);
  Exchange in_all(world, "model", "gradients", 1);
  Schedule schedule;
  for (Exchange* exchange : {&alone, &in_half, &in_all}) schedule.add(*exchange);
  std::int64_t step = 0;
  for (int guilty = 0; guilty < world.size(); ++guilty)
    for (Exchange* where : {&alone, &in_half, &in_all}) {
      const bool is_guilty = world.rank() == guilty;
      const Caught caught = caught_from([&] {
        schedule.keep(step, [&] {
          for (Exchange* exchange : {&alone, &in_half, &in_all})
            exchange->merge(step, attempt([&] {
                              if (is_guilty && exchange == where) throw NonFiniteError("NaN");
                            }));
        });
      });
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::non_finite));
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
      CHECK(caught.origin->rank == guilty);
      CHECK(caught.origin->cause == "NaN");
      CHECK(caught.origin->layer == (where == &alone     ? "layer 'a'"
                                     : where == &in_half ? "layer 'b'"
                                                         : "model"));
      ++step;
      schedule.keep(step, [&] {
        for (Exchange* exchange : {&alone, &in_half, &in_all}) exchange->merge(step, std::nullopt);
      });
      ++step;
    }
  REQUIRE_ON_ALL_RANKS(world, true);
}

TEST_CASE("schedule: a failure is told where others listen, not in a merge of this rank alone") {
  const Communicator world = Communicator::world();
  Exchange alone(Communicator(), "layer 'a'", "forward", 1);
  Exchange in_all(world, "model", "gradients", 1);
  Schedule schedule;
  for (Exchange* exchange : {&alone, &in_all}) schedule.add(*exchange);
  for (int guilty = 0; guilty < world.size(); ++guilty) {
    const Caught caught = caught_from([&] {
      schedule.keep(guilty, [&] {
        if (world.rank() == guilty) throw DataError("no batch");
        alone.merge(guilty, std::nullopt);
        in_all.merge(guilty, std::nullopt);
      });
    });
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::data));
    if (world.is_solo()) continue;
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    CHECK(caught.origin->layer == "model");
    CHECK(caught.origin->rank == guilty);
  }
}

TEST_CASE("schedule: cleared it knows of no merge") {
  const Communicator world = Communicator::world();
  Step step(world);
  step.schedule.clear();
  const bool is_guilty = world.rank() == 0;
  const Caught caught = caught_from([&] {
    step.schedule.keep(0, [&] {
      if (is_guilty) throw DataError("alone");
    });
  });
  REQUIRE_ON_ALL_RANKS(world, caught.type.empty() != is_guilty);
}

}  // namespace
}  // namespace lockstep
