// Messages and memory that calls need, with every option.

#include "layers/option_cases.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

struct Counts {
  std::int64_t forward = 0, backward = 0;
  bool are_all_allreduces = false;
};

// Messages of a step without jumps: the one before had the same input.
Counts counts_of(OptionRun& run, Mode mode) {
  run.forward();
  Call call = run.call();
  call.mode = mode;
  Counts counts;
  const std::int64_t before = num_allreduces(), all = num_collectives();
  run.layer.forward(run.x, run.y, call);
  counts.forward = num_allreduces() - before;
  run.backward();
  run.layer.apply_updates();
  counts.backward = num_allreduces() - before - counts.forward;
  counts.are_all_allreduces = num_collectives() - all == counts.forward + counts.backward;
  return counts;
}

// Calls of the heap in steps of a layer that has warmed up.
std::int64_t num_allocations_of(OptionRun& run) {
  const auto step = [&] {
    run.forward();
    run.backward();
    run.layer.apply_updates();
    run.layer.forward(run.x, run.y, {.mode = Mode::inference});
  };
  step();
  step();  // in the groups of channels that the first step led to
  const std::int64_t before = num_allocations();
  for (int i = 0; i < 3; ++i) step();
  return num_allocations() - before;
}

// An adjustment makes tensors in every call.
bool needs_no_memory(const Feature& feature) { return feature.option != "adjustment"; }

}  // namespace

TEST_CASE("every option needs one allreduce per direction", "[layers]") {
  const Communicator world = Communicator::world();
  for (const Feature& feature : features()) {
    OptionRun run = synchronized_run({feature.name}, world);
    const bool is_merged = !run.layer.statistics_group().is_solo() && feature.name != "frozen";
    const Counts counts = counts_of(run, Mode::training);
    INFO(feature.name << ": " << counts.forward << ", " << counts.backward);
    REQUIRE_ON_ALL_RANKS(world, counts.forward == (is_merged ? 1 : 0));
    REQUIRE_ON_ALL_RANKS(world, counts.backward == (is_merged ? 1 : 0));
    REQUIRE_ON_ALL_RANKS(world, counts.are_all_allreduces);
  }
}

TEST_CASE("inference needs no message with any option", "[layers]") {
  const Communicator world = Communicator::world();
  for (const Feature& feature : features()) {
    OptionRun run = synchronized_run({feature.name}, world);
    const Counts counts = counts_of(run, Mode::inference);
    INFO(feature.name);
    REQUIRE_ON_ALL_RANKS(world, counts.forward == 0 && counts.backward == 0);
    REQUIRE_ON_ALL_RANKS(world, counts.are_all_allreduces);
  }
}

TEST_CASE("a frozen layer needs no message with any option", "[layers]") {
  const Communicator world = Communicator::world();
  for (const Feature& other : features()) {
    if (!rule_of(other, feature("frozen")).is_allowed()) continue;
    OptionRun run = synchronized_run({"frozen", other.name}, world);
    const Counts counts = counts_of(run, Mode::training);
    INFO(other.name);
    REQUIRE_ON_ALL_RANKS(world, counts.forward == 0 && counts.backward == 0);
    REQUIRE_ON_ALL_RANKS(world, counts.are_all_allreduces);
  }
}

TEST_CASE("a group of one rank needs no message with any option", "[layers]") {
  const Communicator world = Communicator::world(), solo;
  for (const Feature& feature : features()) {
    OptionRun run = synchronized_run({feature.name}, solo);
    const Counts counts = counts_of(run, Mode::training);
    INFO(feature.name);
    REQUIRE_ON_ALL_RANKS(world, counts.forward == 0 && counts.backward == 0);
    REQUIRE_ON_ALL_RANKS(world, counts.are_all_allreduces);
  }
}

TEST_CASE("a layer that has warmed up takes nothing from the heap, with any option", "[layers]") {
  const Communicator world = Communicator::world();
  for (const Feature& feature : features()) {
    if (!needs_no_memory(feature)) continue;
    OptionRun run = synchronized_run({feature.name}, world);
    const std::int64_t num = num_allocations_of(run);
    INFO(feature.name << ": " << num);
    REQUIRE_ON_ALL_RANKS(world, num == 0);
  }
}

TEST_CASE("a layer that has warmed up takes nothing from the heap, with any pair of options",
          "[layers]") {
  const Communicator solo;
  for_each_allowed_pair([&](const Feature& a, const Feature& b) {
    if (!needs_no_memory(a) || !needs_no_memory(b)) return;
    OptionRun run = synchronized_run({a.name, b.name}, solo);
    INFO(a.name << " and " << b.name);
    CHECK(num_allocations_of(run) == 0);
  });
}
