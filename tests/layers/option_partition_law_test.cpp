// However a global batch is cut over the ranks, every option gives what one process computes.

#include <algorithm>
#include <string>

#include "base/convert.hpp"
#include "layers/option_cases.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

constexpr std::uint64_t num_steps = 2;

using Cut = std::vector<std::int64_t>;

// Which samples meet in a strided ghost batch, and in inference without moving statistics.
bool depends_on_cut(const UseCase& use_case) {
  const BatchNormalizationOptions& o = use_case.options;
  const bool is_inference = !o.trainable && o.frozen_mode == FrozenMode::inference;
  return (o.virtual_batch_size && o.ghost_grouping == GhostGrouping::strided) ||
         (is_inference && !o.track_moving_statistics);
}

// Ghost batches are never cut: their samples come in pairs.
std::vector<Cut> cuts_for(const UseCase& use_case, int num_ranks) {
  if (!use_case.options.virtual_batch_size) return cuts_of(use_case.shape[0], num_ranks);
  std::vector<Cut> cuts = cuts_of(use_case.shape[0] / 2, num_ranks);
  for (Cut& cut : cuts)
    for (std::int64_t& count : cut) count *= 2;
  return cuts;
}

// Of y and dx, which are rounded to the dtype, and of what is summed in double and stored for long.
struct Tolerance {
  double rounded, stored;
};
Tolerance tolerance_of(DType dtype) {
  if (dtype == DType::float64) return {1e-12, 1e-12};
  if (dtype == DType::float32) return {1e-5, 1e-5};
  return {dtype == DType::bfloat16 ? 0x1p-7 : 0x1p-10, 1e-5};  // one unit in the last place
}

// Whether this rank's rows are those of the whole, on the scale of the whole.
bool are_rows_of(const Tensor& rows, const Tensor& whole, const Part& part, double tolerance) {
  Tensor changed = whole;
  convert(rows, MutableTensorView(changed).rows(part.first(), part.count()));
  return distance(doubles_of(changed), doubles_of(whole)) <= tolerance;
}

bool are_near(const TensorView& a, const TensorView& b, double tolerance) {
  return distance(doubles_of(a), doubles_of(b)) <= tolerance;
}

// What of a run is not what one process has; empty when all is.
std::string difference_of(OptionRun& run, OptionRun& alone) {
  const auto [rounded, stored] = tolerance_of(run.layer.dtype());
  if (!are_rows_of(run.y, alone.y, run.part, rounded)) return "y";
  if (!are_rows_of(run.dx, alone.dx, run.part, rounded)) return "dx";
  if (run.use_case.has_residual &&
      !are_rows_of(run.residual_gradient, alone.residual_gradient, run.part, rounded))
    return "gradient of the residual";
  for (Variable* variable : alone.layer.variables()) {
    if (variable->dtype() == DType::int64) continue;
    const Variable& same = run.layer.variable(variable->name());
    if (!are_near(same.value(), variable->value(), stored)) return variable->name();
    if (variable->role() == VariableRole::parameter &&
        !are_near(same.grad(), variable->grad(), stored))
      return "gradient of " + variable->name();
  }
  return "";
}

void require_replicas(OptionRun& run, const Communicator& world) {
  const std::vector<double> state = state_of(run.layer);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, std::as_bytes(std::span(state))));
}

// Trains on the ranks as the batch is cut, and on one process.
void check_law(UseCase use_case, const Cut& cut, const Communicator& world) {
  use_case.options.synchronized = true;
  const Communicator solo;
  OptionRun run(use_case, {cut, world.rank()}, world), alone(use_case, {cut}, solo);
  for (std::uint64_t step = 1; step <= num_steps; ++step) {
    run.train(step, world);
    alone.train(step, solo);
  }
  require_replicas(run, world);
  if (std::ranges::find(cut, use_case.shape[0]) == cut.end() && depends_on_cut(use_case)) return;
  const std::string difference = difference_of(run, alone);
  INFO(difference);
  REQUIRE_ON_ALL_RANKS(world, difference.empty());
}

// Options of a group of ranks that is not all of them, or that fused = true refuses, have no law.
bool has_law(const Feature& feature) {
  return feature.option != "ranks" && feature.option != "fused";
}

// Of the functions that differ in their last line only, one has a kink and one is a user's own.
bool is_paired(const Feature& feature) {
  return has_law(feature) && (feature.option != "activation" || feature.name == "relu" ||
                              feature.name == "custom activation");
}

}  // namespace

TEST_CASE("any cut of the batch gives what one process computes, with every option", "[layers]") {
  const Communicator world = Communicator::world();
  std::size_t number = 0;
  for (const Feature& feature : features()) {
    if (!has_law(feature)) continue;
    const UseCase use_case = use_case_of({feature.name});
    const auto cuts = cuts_for(use_case, world.size());
    INFO(feature.name);
    for (const Cut& cut : cuts) check_law(use_case, cut, world);
    if (feature.option == "dtype") continue;
    const UseCase in_float32 = use_case_of({feature.name, "float32"});
    check_law(in_float32, cuts[number++ % cuts.size()], world);
  }
}

TEST_CASE("a cut of the batch gives what one process computes, with every pair of options",
          "[layers]") {
  const Communicator world = Communicator::world();
  std::size_t number = 0;
  for_each_allowed_pair([&](const Feature& a, const Feature& b) {
    if (!is_paired(a) || !is_paired(b)) return;
    // One half on odd numbers of ranks, the other on even ones.
    const std::size_t pair = number++;
    if (pair % 2 != static_cast<std::size_t>(world.size() % 2)) return;
    const UseCase use_case = use_case_of({a.name, b.name});
    const auto cuts = cuts_for(use_case, world.size());
    INFO(a.name << " and " << b.name);
    check_law(use_case, cuts[pair / 2 % cuts.size()], world);
  });
}

TEST_CASE("a synchronized layer of one rank has the bits of a plain one, with every option",
          "[layers]") {
  const Communicator solo;
  for (const Feature& feature : features()) {
    if (!has_law(feature)) continue;
    UseCase use_case = use_case_of({feature.name});
    OptionRun plain(use_case, {{use_case.shape[0]}}, solo);
    use_case.options.synchronized = true;
    OptionRun synchronized(use_case, {{use_case.shape[0]}}, solo);
    for (std::uint64_t step = 1; step <= num_steps; ++step) {
      plain.train(step, solo);
      synchronized.train(step, solo);
    }
    INFO(feature.name);
    CHECK(doubles_of(synchronized.y) == doubles_of(plain.y));
    CHECK(doubles_of(synchronized.dx) == doubles_of(plain.dx));
    CHECK(state_of(synchronized.layer) == state_of(plain.layer));
  }
}
