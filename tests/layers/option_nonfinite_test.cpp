// What every option makes of NaN and infinity.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/convert.hpp"
#include "layers/option_cases.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

void step(OptionRun& run) {
  run.forward();
  run.backward();
  run.layer.apply_updates();
}

// Features of groups that are not all ranks, of which some do not see the last one.
bool is_of_all_ranks(const Feature& feature) {
  return feature.option != "fused" && (feature.option != "ranks" || feature.name == "synchronized");
}

bool uses_moving_statistics(const Feature& feature) { return feature.name == "frozen"; }

// Whether the element counts in the batch statistics.
std::vector<bool> weights_of(const OptionRun& run) {
  std::vector<bool> weights(static_cast<std::size_t>(run.x.num_elements()), true);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (run.use_case.has_weights)
      weights[i] =
          run.weights.values<double>()[i * run.weights.values<double>().size() / weights.size()] !=
          0.0;
    if (run.use_case.mask_rank > 0)
      weights[i] = weights[i] &&
                   run.mask.values<bool>()[i * run.mask.values<bool>().size() / weights.size()];
  }
  return weights;
}

std::vector<double> gradients_of(OptionRun& run) {
  std::vector<double> all;
  for (const Variable* variable : run.layer.variables())
    if (variable->role() == VariableRole::parameter)
      for (const double value : doubles_of(variable->grad())) all.push_back(value);
  return all;
}

// Of the last sample, with weight; the same on all ranks, since weights are.
std::size_t bad_element_of(const OptionRun& run) {
  const std::vector<bool> weights = weights_of(run);
  std::size_t i = weights.size() - weights.size() / 4;
  while (!weights[i]) ++i;
  return i;
}

void spoil(OptionRun& run, double value, const Communicator& world) {
  std::vector<double> values = doubles_of(run.x);
  if (world.rank() == world.size() - 1) values[bad_element_of(run)] = value;
  write_from_double(values, run.x);
}

// Whether outputs and gradients are those of the other run, and NaN where the bad channel is.
bool is_spoiled_in_channel(const OptionRun& spoiled, const OptionRun& clean) {
  const auto channels = channels_of(clean);
  const auto y = doubles_of(spoiled.y), clean_y = doubles_of(clean.y);
  const auto dx = doubles_of(spoiled.dx), clean_dx = doubles_of(clean.dx);
  for (std::size_t i = 0; i < y.size(); ++i) {
    const bool is_bad = channels[i] == channels[bad_element_of(clean)];
    if (is_bad ? !std::isnan(y[i]) : y[i] != clean_y[i] || dx[i] != clean_dx[i]) return false;
  }
  return true;
}

// The same for variables: what the bad channel has learned stays as it was `before`, or is NaN.
bool is_state_spoiled(OptionRun& spoiled, OptionRun& clean, const std::vector<double>& before,
                      bool is_learned) {
  const std::size_t bad_channel = channels_of(clean)[bad_element_of(clean)];
  const auto after = state_of(spoiled.layer), expected = state_of(clean.layer);
  bool is_right = true;
  std::size_t i = 0;
  for (const Variable* variable : spoiled.layer.variables()) {
    const bool is_statistic =
        variable->role() == VariableRole::statistic || variable->name().ends_with("biased");
    for (std::int64_t c = 0; c < variable->num_elements(); ++c, ++i) {
      const auto channel = static_cast<std::size_t>(c % spoiled.use_case.num_channels());
      const bool is_bad = variable->num_elements() > 1 && channel == bad_channel;
      if (!is_bad)
        is_right &= after[i] == expected[i];
      else if (!is_learned)
        is_right &= after[i] == before[i];
      else if (is_statistic && expected[i] != before[i])
        is_right &= std::isnan(after[i]);
    }
  }
  return is_right;
}

}  // namespace

TEST_CASE("what is not finite and weighs nothing is as if it had no gradient", "[layers]") {
  const Communicator world = Communicator::world();
  constexpr std::array bad{not_a_number, infinity, -infinity};
  for (const std::string weight : {"batch weights", "sample mask", "position mask"})
    for (const Feature& other : features()) {
      if (!rule_of(other, feature(weight)).is_allowed()) continue;
      OptionRun clean = synchronized_run({weight, other.name}, world);
      OptionRun spoiled = synchronized_run({weight, other.name}, world);
      const std::vector<bool> weighs = weights_of(clean);
      std::vector<double> x = doubles_of(spoiled.x), dy = doubles_of(clean.dy);
      for (std::size_t i = 0; i < x.size(); ++i)
        if (!weighs[i]) {
          x[i] = bad[i % bad.size()];
          dy[i] = 0.0;
        }
      write_from_double(x, spoiled.x);
      write_from_double(dy, clean.dy);
      step(clean);
      step(spoiled);

      bool is_right = true;
      const auto y = doubles_of(spoiled.y), dx = doubles_of(spoiled.dx);
      for (std::size_t i = 0; i < y.size(); ++i) {
        is_right &= weighs[i] ? y[i] == doubles_of(clean.y)[i] : std::isnan(y[i]);
        is_right &= dx[i] == (weighs[i] ? doubles_of(clean.dx)[i] : 0.0);
      }
      INFO(weight << " and " << other.name);
      REQUIRE_ON_ALL_RANKS(world, is_right);
      REQUIRE_ON_ALL_RANKS(
          world, doubles_of(spoiled.residual_gradient) == doubles_of(clean.residual_gradient));
      REQUIRE_ON_ALL_RANKS(world, gradients_of(spoiled) == gradients_of(clean));
      REQUIRE_ON_ALL_RANKS(world, state_of(spoiled.layer) == state_of(clean.layer));
    }
}

TEST_CASE("by default what is not finite is an error on all ranks, and leaves no trace",
          "[layers]") {
  const Communicator world = Communicator::world();
  for (const Feature& feature : features()) {
    if (!is_of_all_ranks(feature) || uses_moving_statistics(feature) ||
        feature.option == "nonfinite" || feature.name == "untracked")
      continue;
    OptionRun run = synchronized_run({feature.name}, world);
    OptionRun clean = synchronized_run({feature.name}, world);
    const auto before = state_of(run.layer);
    for (const double bad : {not_a_number, infinity, -infinity}) {
      run.load(0);
      spoil(run, bad, world);
      const Caught caught = caught_from([&] { run.forward(); });
      INFO(feature.name << ": " << caught.what);
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::non_finite));
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
      REQUIRE_ON_ALL_RANKS(world, caught.rank() == world.size() - 1);
      REQUIRE_ON_ALL_RANKS(world, caught.what.find("channel") != std::string::npos);
      REQUIRE_ON_ALL_RANKS(world, state_of(run.layer) == before);
    }
    run.load(0);
    step(run);
    step(clean);
    INFO(feature.name);
    REQUIRE_ON_ALL_RANKS(world, doubles_of(run.y) == doubles_of(clean.y));
    REQUIRE_ON_ALL_RANKS(world, state_of(run.layer) == state_of(clean.layer));
  }
}

TEST_CASE("under the other policies what is not finite stays in its channel", "[layers]") {
  const Communicator world = Communicator::world();
  constexpr double overflowing = 1e300;
  for (const std::string policy : {"skip_update", "warn"})
    for (const Feature& other : features()) {
      if (!is_of_all_ranks(other) || uses_moving_statistics(other) || other.name == "untracked" ||
          !rule_of(other, feature(policy)).is_allowed())
        continue;
      for (const double bad : {not_a_number, infinity, overflowing}) {
        OptionRun clean = synchronized_run({policy, other.name}, world);
        OptionRun spoiled = synchronized_run({policy, other.name}, world);
        const auto before = state_of(clean.layer);
        spoil(spoiled, bad, world);
        step(clean);
        step(spoiled);
        INFO(policy << " and " << other.name << " with " << bad);
        REQUIRE_ON_ALL_RANKS(world, is_spoiled_in_channel(spoiled, clean));
        REQUIRE_ON_ALL_RANKS(world, is_state_spoiled(spoiled, clean, before, policy == "warn"));
      }
    }
}
