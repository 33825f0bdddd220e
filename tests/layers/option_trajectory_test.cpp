// Training that is stopped, read out by name and put into a new layer goes on bit for bit.

#include <map>
#include <string>

#include "layers/option_cases.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Names = std::vector<std::string>;

constexpr std::uint64_t num_steps = 30;
constexpr std::uint64_t half = 15;

UseCase use_case_of_run(const Names& names) {
  UseCase use_case = use_case_of(names);
  use_case.options.synchronized = true;
  use_case.options.name = "norm";
  return use_case;
}

// What is kept of a layer: its variables by name.
std::map<std::string, Tensor> read_out(BatchNormalization& layer) {
  std::map<std::string, Tensor> state;
  for (const Variable* variable : layer.variables())
    state.emplace(variable->name(), Tensor::copy_of(variable->value()));
  return state;
}

bool have_same_variables(BatchNormalization& a, BatchNormalization& b) {
  const auto of_a = read_out(a), of_b = read_out(b);
  return std::ranges::equal(of_a, of_b, [](const auto& left, const auto& right) {
    return left.first == right.first && is_identical(left.second, right.second);
  });
}

void check_trajectory(const Names& names, const Communicator& world) {
  const UseCase use_case = use_case_of_run(names);
  for (const auto& cut : {cuts_of(6, world.size()).front(), cuts_of(6, world.size()).back()}) {
    Part part{cut, world.rank()};
    for (std::int64_t& count : part.cut) count *= 2;  // ghost batches of two stay whole
    OptionRun unbroken(use_case, part, world), first(use_case, part, world);
    for (std::uint64_t step = 0; step < num_steps; ++step) unbroken.train(step, world);

    for (std::uint64_t step = 0; step < half; ++step) first.train(step, world);
    const auto state = read_out(first.layer);
    OptionRun second(use_case, part, world);
    for (const auto& [name, value] : state) second.layer.variable(name).assign(value);
    for (std::uint64_t step = half; step < num_steps; ++step) second.train(step, world);

    REQUIRE_ON_ALL_RANKS(world, is_identical(second.y, unbroken.y));
    REQUIRE_ON_ALL_RANKS(world, is_identical(second.dx, unbroken.dx));
    REQUIRE_ON_ALL_RANKS(world, have_same_variables(second.layer, unbroken.layer));
    const std::vector<double> all = state_of(unbroken.layer);
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, std::as_bytes(std::span(all))));
    REQUIRE_ON_ALL_RANKS(world, !have_same_variables(first.layer, unbroken.layer));
  }
}

}  // namespace

TEST_CASE("renorm with penalties goes on bit for bit", "[layers]") {
  const Communicator world = Communicator::world();
  for (const std::string type : {"float64", "float32"}) {
    Names names{"renorm", "regularizers", "constraints"};
    if (type == "float32") names.push_back(type);
    INFO(type);
    check_trajectory(names, world);
  }
}

TEST_CASE("weights with zero debias and deferred updates go on bit for bit", "[layers]") {
  const Communicator world = Communicator::world();
  for (const std::string type : {"float64", "float32"}) {
    Names names{"batch weights", "zero debias", "deferred"};
    if (type == "float32") names.push_back(type);
    INFO(type);
    check_trajectory(names, world);
  }
}

TEST_CASE("training with any option goes on bit for bit", "[layers]") {
  const Communicator world = Communicator::world();
  for (const std::string name : {"ghosts, contiguous", "cumulative", "unbiased", "tensorflow",
                                 "adjust per rank", "untracked", "skip_update", "bfloat16"}) {
    INFO(name);
    check_trajectory({name}, world);
  }
}
