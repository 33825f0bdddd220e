// The table of pairs of options in src/README.md says what the layer does.

#include <algorithm>
#include <set>

#include "layers/option_cases.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

// What came of two training steps: the error of this rank, or whether all numbers are finite.
struct Outcome {
  Caught caught;
  bool is_finite = false;
};

Outcome outcome_of(const std::vector<std::string>& names, const Communicator& world) {
  Outcome outcome;
  UseCase use_case = use_case_of(names);
  use_case.shape = use_case.shape.with(0, 4 * world.size());
  outcome.caught = caught_from([&] {
    OptionRun run(use_case, even_part(world, 4), world);
    for (const std::uint64_t step : {1U, 2U}) run.train(step, world);
    outcome.is_finite = true;
    for (const Tensor* tensor : {&run.y, &run.dx})
      for (const double value : doubles_of(*tensor)) outcome.is_finite &= std::isfinite(value);
    for (const double value : state_of(run.layer)) outcome.is_finite &= std::isfinite(value);
  });
  return outcome;
}

bool is_as_said(const Outcome& outcome, const PairRule& rule) {
  if (!rule.refusal) return outcome.caught.what.empty() && outcome.is_finite;
  return outcome.caught.is(ErrorCode::argument) &&
         outcome.caught.what.find(*rule.refusal) != std::string::npos;
}

}  // namespace

TEST_CASE("the table lists every option once, in order", "[layers]") {
  std::vector<std::string> names;
  for (const Feature& feature : features()) names.push_back(feature.name);
  REQUIRE(names_in_table() == names);
}

TEST_CASE("the table marks values of one option, and uses each of its messages", "[layers]") {
  std::set<std::string> used;
  for (const Feature& a : features())
    for (const Feature& b : features()) {
      if (&a == &b) break;
      const PairRule rule = rule_of(a, b);
      INFO(a.name << " and " << b.name);
      CHECK(rule.is_one_option == (a.option == b.option));
      if (rule.refusal) used.insert(*rule.refusal);
    }
  const auto messages = messages_in_table();
  CHECK(used == std::set(messages.begin(), messages.end()));
}

TEST_CASE("every option trains", "[layers]") {
  const Communicator world = Communicator::world();
  for (const Feature& feature : features()) {
    const Outcome outcome = outcome_of({feature.name}, world);
    INFO(feature.name << ": " << outcome.caught.what);
    REQUIRE_ON_ALL_RANKS(world, is_as_said(outcome, {}));
  }
}

TEST_CASE("every pair of options trains or is refused as the table says", "[layers]") {
  const Communicator world = Communicator::world();
  for (const Feature& a : features())
    for (const Feature& b : features()) {
      if (&a == &b) break;
      const PairRule rule = rule_of(a, b);
      if (rule.is_one_option) continue;
      const Outcome outcome = outcome_of({a.name, b.name}, world);
      INFO(a.name << " and " << b.name << ": " << outcome.caught.what);
      REQUIRE_ON_ALL_RANKS(world, is_as_said(outcome, rule));
    }
}
