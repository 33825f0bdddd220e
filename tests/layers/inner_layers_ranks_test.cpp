// Layers with layers inside, on several ranks: messages, cuts of the batch, building.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "layers/layers_of_layers.hpp"
#include "layers/normalizer_cases.hpp"
#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

struct Counts {
  std::int64_t forward, backward;
  friend bool operator==(const Counts&, const Counts&) = default;
};

// Messages of one forward and backward; all of them must be allreduces.
Counts counts_of(Layer& layer, const Shape& shape, Mode mode) {
  const auto tape = layer.make_tape();
  const Tensor x = random_tensor(shape, static_cast<std::uint64_t>(world().rank()));
  const std::int64_t start = num_allreduces(), all = num_collectives();
  const Tensor y = output_of(layer, x, {.mode = mode, .tape = tape.get()});
  const std::int64_t between = num_allreduces();
  layer.backward(*tape, y, {});
  const std::int64_t end = num_allreduces();
  const bool are_allreduces = num_collectives() - all == end - start;
  REQUIRE_ON_ALL_RANKS(world(), are_allreduces);
  return {between - start, end - between};
}

void check_counts(Layer& layer, const Shape& shape, std::int64_t num_norms) {
  layer.build(shape, world());
  const std::int64_t expected = world().is_solo() ? 0 : num_norms;
  const auto check = [&](Mode mode, const Counts& counts) {
    for (int step = 0; step < 2; ++step) {
      const Counts found = counts_of(layer, shape, mode);
      REQUIRE_ON_ALL_RANKS(world(), found == counts);
    }
  };
  check(Mode::training, {expected, expected});
  check(Mode::inference, {0, 0});
  layer.set_trainable(false);
  check(Mode::training, {0, 0});
}

// Three steps on this rank's rows of global batches, alone or with others.
struct Run {
  std::unique_ptr<Layer> layer;
  Tensor y, dx;

  Run(std::unique_ptr<Layer> made, const Shape& shape, const Communicator& group,
      std::int64_t first, std::int64_t count)
      : layer(std::move(made)) {
    layer->build(shape.with(0, count), group);
    randomize_parameters(*layer);
    const auto tape = layer->make_tape();
    for (std::uint64_t step = 0; step < 3; ++step) {
      const Tensor x = rows_of(random_tensor(shape, 10 + step), first, count);
      const Tensor dy = rows_of(random_tensor(layer->output_shape(shape), 20 + step), first, count);
      y = output_of(*layer, x, {.mode = Mode::training, .tape = tape.get()});
      dx = input_gradient_of(*layer, *tape, dy, x.shape());
    }
  }

  // Summed over the ranks, as a training step does.
  std::vector<double> gradients(const Communicator& group) {
    std::vector<double> all;
    for (Variable* variable : layer->variables()) {
      if (variable->role() != VariableRole::parameter) continue;
      Tensor gradient = Tensor::copy_of(variable->grad());
      if (variable->gradient_scope() == GradientScope::local)
        allreduce(group, gradient.values<double>(), Reduction::sum);
      for (const double value : gradient.values<double>()) all.push_back(value);
    }
    return all;
  }
};

using Make = std::function<std::unique_ptr<Layer>()>;

void check_cuts(const Make& make, const Shape& shape) {
  Run alone(make(), shape, Communicator(), 0, shape[0]);
  const std::vector<double> gradients = alone.gradients(Communicator());
  for (const auto& cut : cuts_of(shape[0], world().size())) {
    const std::int64_t first = first_of(cut, world().rank());
    const std::int64_t count = cut[static_cast<std::size_t>(world().rank())];
    Run part(make(), shape, world(), first, count);
    const auto together = part.gradients(world());
    REQUIRE_ON_ALL_RANKS(world(), distance_of(part.y, rows_of(alone.y, first, count)) < 1e-12);
    REQUIRE_ON_ALL_RANKS(world(), distance_of(part.dx, rows_of(alone.dx, first, count)) < 1e-11);
    REQUIRE_ON_ALL_RANKS(world(), distance(together, gradients) < 1e-11);
    REQUIRE_ON_ALL_RANKS(world(), distance(values_of(part.layer->variables()),
                                           values_of(alone.layer->variables())) < 1e-12);
  }
}

}  // namespace

TEST_CASE("a layer sends what the batch normalizations inside of it send", "[layers]") {
  for (const NormalizedCase& in : normalized_cases())
    for (const bool synchronized : {true, false})
      check_counts(*in.make(BatchNormalizationOptions{.synchronized = synchronized}), in.shape,
                   synchronized ? 1 : 0);
  for (const bool is_fused : {true, false})
    for (const bool has_projection : {true, false})
      check_counts(*block_of(is_fused, has_projection), {4, 3}, has_projection ? 3 : 2);
}

TEST_CASE("any cut of the batch gives what one process computes, in layers of layers", "[layers]") {
  for (const NormalizedCase& in : normalized_cases())
    check_cuts(
        [&] {
          return in.make(BatchNormalizationOptions{
              .momentum = 0.5, .activation = ActivationFunction::gelu, .synchronized = true});
        },
        in.shape.with(0, 12));
  for (const bool is_fused : {true, false})
    for (const bool has_projection : {true, false})
      check_cuts([&] { return block_of(is_fused, has_projection); }, {12, 3});
}

TEST_CASE("layers inside that differ between ranks are refused when built", "[layers]") {
  if (world().is_solo()) return;
  const int guilty = world().size() - 1;
  const bool is_guilty = world().rank() == guilty;
  Residual block;
  block.add_main(Dense({.units = 3}))
      .add_main(BatchNormalization({.epsilon = is_guilty ? 0.5 : 0.25}));
  require_failure(caught_from([&] {
                    block.build({4, 3}, world());
                  }),
                  ErrorCode::mismatch, guilty, "option main");
  const auto dense =
      normalized_cases()[0].make(BatchNormalizationOptions{.epsilon = is_guilty ? 0.5 : 0.25});
  require_failure(caught_from([&] {
                    dense->build({4, 3}, world());
                  }),
                  ErrorCode::mismatch, guilty, "option normalizer");
  Residual misfit;
  misfit.add_main(Dense({.units = is_guilty ? 4 : 3}));
  require_failure(caught_from([&] {
                    misfit.build({4, 3}, world());
                  }),
                  ErrorCode::argument, guilty, "main gives [4]");
}

TEST_CASE("statistics that groups learned apart are merged inside of layers too", "[layers]") {
  Residual block({.dtype = DType::float64});
  block.add_main(Dense({.units = 3, .normalizer = BatchNormalizationOptions{.momentum = 0.5}}));
  block.add_main(norm(false));
  block.build({4, 3}, world());
  const auto before = values_of(block.variables());
  (void)output_of(block, random_tensor({4, 3}, static_cast<std::uint64_t>(world().rank()) + 1),
                  {.mode = Mode::training});
  block.merge_statistics();
  for (const Variable* variable : block.variables()) {
    if (variable->role() != VariableRole::statistic) continue;
    const auto values = values_of(*variable);
    REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), std::as_bytes(std::span(values))));
  }
  REQUIRE_ON_ALL_RANKS(world(), values_of(block.variables()) != before);
}
