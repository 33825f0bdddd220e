// Layers with layers inside, on several ranks: messages, cuts of the batch, ranks that fail.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "layers/normalizer_cases.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/residual.hpp"
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

using Trigger = std::function<void(Pass)>;

// output = input; tells `trigger` before every training pass.
class Trap final : public Layer {
 public:
  explicit Trap(Trigger trigger)
      : Layer({.type = "Trap", .name = {}, .input_shape = {}, .dtype = {}}),
        trigger_(std::move(trigger)) {}
  Shape output_shape(const Shape& shape) const override { return shape; }
  std::string configuration() const override { return "trap"; }
  std::unique_ptr<Tape> make_tape() const override { return std::make_unique<Tape>(); }
  void forward(const TensorView& x, const MutableTensorView& y, const Call& call) override {
    if (call.mode == Mode::training) trigger_(Pass::forward);
    std::ranges::copy(x.values<double>(), y.values<double>().begin());
  }
  void backward(Tape&, const TensorView& dy, const MutableTensorView& dx, Gradients) override {
    trigger_(Pass::backward);
    if (!dx.is_null()) std::ranges::copy(dy.values<double>(), dx.values<double>().begin());
  }

 private:
  void do_create(const Shape&) override {}
  Trigger trigger_;
};

const Communicator& world() {
  static const Communicator group = Communicator::world();
  return group;
}

BatchNormalization norm(bool synchronized = true) {
  return BatchNormalization({.momentum = 0.5, .synchronized = synchronized});
}

// Three synchronized batch normalizations, the first one a normalizer; the last one takes the sum
// in or not. A trap sits between the layers of main, and one in the shortcut.
std::unique_ptr<Layer> block_of(
    bool is_fused, bool has_projection, const Trigger& trigger = [](Pass) {}) {
  auto block = std::make_unique<Residual>(
      ResidualOptions{.activation = ActivationFunction::silu, .dtype = DType::float64});
  block->add_main(
      Dense({.units = 5, .normalizer = BatchNormalizationOptions{.synchronized = true}}));
  block->add_main(Trap(trigger));
  block->add_main(Dense({.units = has_projection ? 4 : 3, .use_bias = false})).add_main(norm());
  if (!is_fused) block->add_main(Activation({.function = ActivationFunction::tanh}));
  if (has_projection)
    block->add_shortcut(Dense({.units = 4, .use_bias = false}))
        .add_shortcut(norm())
        .add_shortcut(Trap(trigger));
  return block;
}

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

void require_failure(const Caught& caught, ErrorCode code, int guilty, const std::string& part) {
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(world(), caught.is(code));
  REQUIRE_ON_ALL_RANKS(world(), caught.rank() == guilty);
  REQUIRE_ON_ALL_RANKS(world(), caught.what.find(part) != std::string::npos);
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
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

TEST_CASE("a bad call of a normalized layer on one rank is the same error on all", "[layers]") {
  const int num_ranks = world().size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  const bool is_guilty = world().rank() == guilty;
  for (const NormalizedCase& in : normalized_cases()) {
    const auto layer = in.make(BatchNormalizationOptions{.synchronized = true});
    layer->build(in.shape, world());
    const auto tape = layer->make_tape(), unused = layer->make_tape();
    const Tensor x = random_tensor(in.shape, static_cast<std::uint64_t>(world().rank()));
    const Tensor wrong({1, 1}, DType::float64);
    Tensor y(layer->output_shape(in.shape), DType::float64);
    const Call call{.mode = Mode::training, .tape = tape.get(), .commit = Commit::by_caller};
    const auto forward = [&](const Tensor& input, Tape* on) {
      Call own = call;
      own.tape = on;
      return caught_from([&] { layer->forward(input, y, own); });
    };
    const auto before = values_of(layer->variables());
    require_failure(forward(is_guilty ? wrong : x, tape.get()), ErrorCode::argument, guilty,
                    "layer 'layer', forward");
    require_failure(forward(x, is_guilty ? nullptr : tape.get()), ErrorCode::argument, guilty,
                    "needs a tape");
    Tape foreign;
    require_failure(forward(x, is_guilty ? &foreign : tape.get()), ErrorCode::state, guilty,
                    "another layer's tape");
    layer->commit(*tape);  // there is nothing
    REQUIRE_ON_ALL_RANKS(world(), values_of(layer->variables()) == before);

    const auto backward = [&](const Tensor& gradient, Tape& on) {
      layer->forward(x, y, call);
      return caught_from([&] { layer->backward(on, gradient, {}); });
    };
    require_failure(backward(is_guilty ? wrong : y, *tape), ErrorCode::argument, guilty,
                    "layer 'layer', backward");
    require_failure(backward(y, is_guilty ? *unused : *tape), ErrorCode::state, guilty,
                    "recorded no call");

    // The user's own loop.
    const auto reason = std::make_exception_ptr(DataError("disk is gone"));
    require_failure(caught_from([&] {
                      if (is_guilty) normalizer_of(*layer).fail(Pass::forward, reason);
                      layer->forward(x, y, call);
                    }),
                    ErrorCode::data, guilty, "'layer/batch_normalization', forward");
    const Caught good = caught_from([&] {
      layer->forward(x, y, call);
      layer->backward(*tape, y, {});
    });
    REQUIRE_ON_ALL_RANKS(world(), good.type.empty());
  }
}

TEST_CASE("a rank that throws within a block throws on all; the block goes on", "[layers]") {
  const int num_ranks = world().size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  const bool is_fused = GENERATE(true, false);
  const bool has_projection = GENERATE(true, false);
  std::optional<Pass> armed;
  int num_passed = 0;  // traps that are let pass first
  const auto layer = block_of(is_fused, has_projection, [&](Pass pass) {
    if (armed != pass || num_passed-- > 0 || world().rank() != guilty) return;
    armed.reset();
    throw std::runtime_error("boom");
  });
  layer->build({4, 3}, world());
  const auto tape = layer->make_tape();
  const Tensor x = random_tensor({4, 3}, static_cast<std::uint64_t>(world().rank()));
  Tensor y(layer->output_shape(x.shape()), DType::float64), dx(x.shape(), DType::float64);
  const auto step = [&] {
    layer->forward(x, y, {.mode = Mode::training, .tape = tape.get(), .commit = Commit::by_caller});
    layer->backward(*tape, y, dx);
    layer->commit(*tape);
  };
  step();
  const auto before = values_of(layer->variables());
  const int num_traps = has_projection ? 2 : 1;
  for (const Pass pass : {Pass::forward, Pass::backward})
    for (int passed = 0; passed < num_traps; ++passed) {
      armed = pass;
      num_passed = passed;
      const Caught caught = caught_from(step);
      require_failure(caught, ErrorCode::foreign, guilty, "layer 'residual/trap");
      REQUIRE_ON_ALL_RANKS(world(), caught.what.find("boom") != std::string::npos);
      armed.reset();
      if (pass == Pass::forward) {
        layer->commit(*tape);
        REQUIRE_ON_ALL_RANKS(world(), values_of(layer->variables()) == before);
      }
    }
  step();
  REQUIRE_ON_ALL_RANKS(world(), values_of(layer->variables()) != before);
}

TEST_CASE("calls before a freeze go back as they came", "[layers]") {
  const auto layer = block_of(true, true);
  layer->build({4, 3}, world());
  const auto trained = layer->make_tape(), frozen = layer->make_tape();
  const Tensor x = random_tensor({4, 3}, static_cast<std::uint64_t>(world().rank()));
  const Tensor wrong({1, 1}, DType::float64);
  const Tensor y = output_of(*layer, x, {.mode = Mode::training, .tape = trained.get()});
  layer->set_trainable(false);
  (void)output_of(*layer, x, {.mode = Mode::training, .tape = frozen.get()});
  const bool is_guilty = world().rank() == world().size() - 1;
  require_failure(caught_from([&] { layer->backward(*trained, is_guilty ? wrong : y, {}); }),
                  ErrorCode::argument, world().size() - 1, "layer 'residual', backward");
  layer->backward(*trained, y, {});
  // Frozen layers merge nothing: a rank fails alone.
  const Caught alone = caught_from([&] { layer->backward(*frozen, is_guilty ? wrong : y, {}); });
  REQUIRE_ON_ALL_RANKS(world(), alone.type.empty() != is_guilty);
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
