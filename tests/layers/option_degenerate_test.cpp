// What every option makes of nothing, of one element, and of constants.

#include <algorithm>
#include <cmath>

#include "base/convert.hpp"
#include "kernels/activation.hpp"
#include "layers/option_cases.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Names = std::vector<std::string>;

template <class Predicate>
bool all_of(const TensorView& tensor, Predicate&& predicate) {
  return std::ranges::all_of(doubles_of(tensor), std::forward<Predicate>(predicate));
}
bool is_finite(double value) { return std::isfinite(value); }
bool is_zero(double value) { return value == 0.0; }
bool is_tiny(double value) { return std::abs(value) < 1e-14; }

bool goes_with(const Feature& candidate, const Names& names) {
  return std::ranges::all_of(names, [&](const std::string& name) {
    return rule_of(candidate, feature(name)).is_allowed();
  });
}

Names together(Names names, const Feature& feature) {
  names.push_back(feature.name);
  return names;
}

void step(OptionRun& run) {
  run.forward();
  run.backward();
  run.layer.apply_updates();
}

bool has_batch_statistics(const OptionRun& run) { return !run.tape.batch_count().empty(); }

bool is_about_zero(const OptionRun& run) {  // where xhat = 0 means y = activation(beta)
  return run.use_case.adjustment == AdjustmentKind::none && !run.use_case.has_residual;
}

// activation(beta) for every element.
std::vector<double> offsets_of(OptionRun& run) {
  const BatchNormalizationOptions& options = run.use_case.options;
  std::vector<double> beta(static_cast<std::size_t>(run.use_case.num_channels()));
  if (options.center) beta = doubles_of(run.layer.beta().value());
  activate(options.activation, options.negative_slope, beta.data(), beta.data(),
           static_cast<std::int64_t>(beta.size()));
  std::vector<double> values;
  for (const std::size_t channel : channels_of(run))
    values.push_back(rounded_to(run.layer.dtype(), beta[channel]));
  return values;
}

// All that a call without any weight must give, and leave as it was.
bool is_without_effect(OptionRun& run) {
  const std::vector<double> before = state_of(run.layer);
  step(run);
  if (state_of(run.layer) != before || !all_of(run.y, is_finite)) return false;
  if (!has_batch_statistics(run)) return true;
  return std::ranges::all_of(run.tape.batch_count(), is_zero) && all_of(run.dx, is_zero) &&
         (!is_about_zero(run) || doubles_of(run.y) == offsets_of(run));
}

}  // namespace

TEST_CASE("when everything has weight 0, nothing changes", "[layers]") {
  const Communicator world = Communicator::world();
  for (const std::string weight : {"batch weights", "sample mask", "position mask"})
    for (const Feature& feature : features()) {
      if (!goes_with(feature, {weight})) continue;
      OptionRun run = synchronized_run({weight, feature.name}, world);
      step(run);
      run.weights.fill_zero();
      run.mask.fill_zero();
      INFO(weight << " and " << feature.name);
      REQUIRE_ON_ALL_RANKS(world, is_without_effect(run));
    }
}

TEST_CASE("when no rank has a sample, nothing changes", "[layers]") {
  const Communicator world = Communicator::world();
  for (const Feature& feature : features()) {
    UseCase use_case = use_case_of({feature.name});
    use_case.shape = use_case.shape.with(0, 0);
    OptionRun run(use_case, even_part(world, 0), world);
    INFO(feature.name);
    REQUIRE_ON_ALL_RANKS(world, is_without_effect(run));
    const bool has_gamma = use_case.options.scale, has_beta = use_case.options.center;
    REQUIRE_ON_ALL_RANKS(world, !has_gamma || all_of(run.layer.gamma().grad(), is_zero));
    REQUIRE_ON_ALL_RANKS(world, !has_beta || all_of(run.layer.beta().grad(), is_zero));
  }
}

TEST_CASE("a mask over channels leaves the others as they were", "[layers]") {
  const Communicator world = Communicator::world();
  for (const std::string axis : {"axis 1", "several axes"})
    for (const Feature& feature : features()) {
      if (!goes_with(feature, {axis, "position mask"})) continue;
      // Channels of position 0 along axis 1 have no weight.
      const auto run_of = [&](bool is_hidden) {
        OptionRun run = synchronized_run({axis, feature.name}, world);
        run.use_case.mask_rank = 2;
        run.load(1);
        const auto mask = run.mask.values<bool>();
        for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = i % 2 != 0 || !is_hidden;
        return run;
      };
      OptionRun hidden = run_of(true), seen = run_of(false);
      const std::vector<double> before = state_of(hidden.layer);
      step(hidden);
      step(seen);
      if (!has_batch_statistics(hidden)) continue;

      bool is_right = true;
      const auto channels = channels_of(hidden);
      const auto num_channels = static_cast<std::size_t>(hidden.use_case.num_channels());
      const auto is_hidden = [&](std::size_t channel) { return channel < num_channels / 2; };
      const auto offsets = offsets_of(hidden);
      for (std::size_t i = 0; i < channels.size(); ++i) {
        const double y = doubles_of(hidden.y)[i], dx = doubles_of(hidden.dx)[i];
        if (!is_hidden(channels[i]))
          is_right &= y == doubles_of(seen.y)[i] && dx == doubles_of(seen.dx)[i];
        else
          is_right &= dx == 0.0 && (is_about_zero(hidden) ? y == offsets[i] : is_finite(y));
      }
      std::size_t i = 0;  // in the state
      for (const Variable* variable : hidden.layer.variables())
        for (std::int64_t c = 0; c < variable->num_elements(); ++c, ++i) {
          const bool is_of_hidden =
              variable->num_elements() > 1 && is_hidden(static_cast<std::size_t>(c) % num_channels);
          is_right &=
              state_of(hidden.layer)[i] == (is_of_hidden ? before : state_of(seen.layer))[i];
        }
      INFO(axis << " and " << feature.name);
      REQUIRE_ON_ALL_RANKS(world, is_right);
    }
}

TEST_CASE("one element has variance 0 and no gradient, and is refused under strict", "[layers]") {
  const Communicator world = Communicator::world();
  for (const Feature& feature : features()) {
    if (feature.option == "ghosts" || feature.option == "axis") continue;
    Part part = even_part(world, 0);
    part.cut[0] = 1;
    UseCase use_case = use_case_of({feature.name});
    use_case.options.synchronized |= feature.name != "fused";
    use_case.shape = {1, 1, 1, 4};
    OptionRun run(use_case, part, world);
    const std::vector<double> before = state_of(run.layer);
    const Caught caught = caught_from([&] { step(run); });
    INFO(feature.name);
    if (feature.name == "strict") {
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::argument));
      REQUIRE_ON_ALL_RANKS(world, caught.what.find("strict") != std::string::npos);
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
      REQUIRE_ON_ALL_RANKS(world, state_of(run.layer) == before);
      continue;
    }
    REQUIRE_ON_ALL_RANKS(world, caught.what.empty());
    REQUIRE_ON_ALL_RANKS(world, all_of(run.y, is_finite));
    REQUIRE_ON_ALL_RANKS(world, std::ranges::all_of(state_of(run.layer), is_finite));
    if (!has_batch_statistics(run)) continue;
    REQUIRE_ON_ALL_RANKS(world, std::ranges::all_of(run.tape.batch_variance(), is_zero));
    REQUIRE_ON_ALL_RANKS(world, all_of(run.dx, is_tiny));
    const bool is_plain = is_about_zero(run) && feature.option != "renorm";
    REQUIRE_ON_ALL_RANKS(world, !is_plain || doubles_of(run.y) == offsets_of(run));
  }
}

TEST_CASE("a constant channel has variance 0, with any epsilon", "[layers]") {
  const Communicator world = Communicator::world();
  for (const Names& names : {Names{}, Names{"epsilon 0"}})
    for (const Feature& feature : features()) {
      if (!goes_with(feature, names)) continue;
      OptionRun run = synchronized_run(together(names, feature), world);
      std::vector<double> values;
      for (const std::size_t channel : channels_of(run))
        values.push_back(1.0 / 3.0 + 2.0 * static_cast<double>(channel));
      write_from_double(values, run.x);
      step(run);
      INFO(feature.name << (names.empty() ? "" : " and epsilon 0"));
      REQUIRE_ON_ALL_RANKS(world, all_of(run.y, is_finite) && all_of(run.dx, is_finite));
      REQUIRE_ON_ALL_RANKS(world, std::ranges::all_of(state_of(run.layer), is_finite));
      if (!has_batch_statistics(run)) continue;
      REQUIRE_ON_ALL_RANKS(world, std::ranges::all_of(run.tape.batch_variance(), is_zero));
      const bool is_plain = is_about_zero(run) && feature.option != "renorm";
      REQUIRE_ON_ALL_RANKS(world, !is_plain || doubles_of(run.y) == offsets_of(run));
      // TensorFlow's fused kernel has an epsilon in any case.
      const bool has_no_scale =
          run.use_case.options.epsilon == 0.0 &&
          run.use_case.options.moving_variance != MovingVariance::as_tensorflow;
      REQUIRE_ON_ALL_RANKS(world, !has_no_scale || all_of(run.dx, is_zero));
    }
}
