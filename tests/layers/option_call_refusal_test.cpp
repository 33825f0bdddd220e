// Calls and settings that cannot be are refused on all ranks alike, and the same layer goes on.

#include <functional>
#include <limits>
#include <string>

#include "layers/option_cases.hpp"
#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Names = std::vector<std::string>;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

Tensor weights_of(const std::vector<double>& values) {
  return Tensor::of(std::span(values), {static_cast<std::int64_t>(values.size())});
}

Tensor mask_of(const Shape& shape, DType dtype = DType::boolean) { return Tensor(shape, dtype); }

// A call that a rank makes in a wrong way; every layer has inputs of 4 samples per rank.
struct WrongCall {
  std::string message;  // part of it
  Names features;       // of the layer
  std::function<void(Call&)> spoil;
};

std::function<void(Call&)> with_weights(Tensor weights) {
  return [weights = std::move(weights)](Call& call) { call.batch_weights = weights; };
}
std::function<void(Call&)> with_mask(Tensor mask) {
  return [mask = std::move(mask)](Call& call) { call.mask = mask; };
}
std::function<void(Call&)> with_residual(Tensor residual) {
  return [residual = std::move(residual)](Call& call) { call.residual = residual; };
}

std::vector<WrongCall> wrong_calls() {
  const Tensor good = weights_of({1, 1, 1, 1});
  return {
      {"batch_weights must be floating of shape [4]", {}, with_weights(weights_of({1, 2, 3}))},
      {"batch_weights must be floating of shape [4]", {}, with_weights(weights_of({}))},
      {"got float64 of shape [4, 1]", {}, with_weights(Tensor({4, 1}, DType::float64))},
      {"got int64 of shape [4]", {}, with_weights(Tensor({4}, DType::int64))},
      {"finite and >= 0; sample 2 has -1", {}, with_weights(weights_of({0, 1, -1, 2}))},
      {"finite and >= 0; sample 1 has nan", {}, with_weights(weights_of({0, not_a_number, 1, 2}))},
      {"finite and >= 0; sample 3 has inf", {}, with_weights(weights_of({0, 1, 1, infinity}))},
      {"unbiased moving variance", {"unbiased"}, with_weights(good)},
      {"the mask must be boolean", {}, with_mask(mask_of({4}, DType::float32))},
      {"but not all; got boolean of shape [4, 2, 3, 4]", {}, with_mask(mask_of({4, 2, 3, 4}))},
      {"got boolean of shape []", {}, with_mask(mask_of({}))},
      {"got boolean of shape [3]", {}, with_mask(mask_of({3}))},
      {"got boolean of shape [4, 3]", {}, with_mask(mask_of({4, 3}))},
      {"expected a residual of float64 [4, 2, 3, 4]", {}, with_residual(Tensor({4, 2, 3, 4}))},
      {"float64 [4, 2, 3, 1]", {}, with_residual(Tensor({4, 2, 3, 1}, DType::float64))},
      {"float64 [3, 2, 3, 4]", {"renorm"}, with_residual(Tensor({3, 2, 3, 4}, DType::float64))},
      {"the mask of shape [4] needs 4 elements",
       {},
       [](Call& call) { call.mask = TensorView(&call, DType::boolean, {4}, 1); }},
  };
}

// A run like `run` that met no error, after the same step.
bool goes_on(OptionRun& run, const Names& names, const Communicator& world) {
  OptionRun clean = synchronized_run(names, world);
  clean.train(1, world);
  run.train(1, world);
  return doubles_of(run.y) == doubles_of(clean.y) && doubles_of(run.dx) == doubles_of(clean.dx) &&
         state_of(run.layer) == state_of(clean.layer);
}

void require_refused(const Caught& caught, ErrorCode code, const std::string& message,
                     const Communicator& world) {
  INFO(message << " in: " << caught.what);
  REQUIRE_ON_ALL_RANKS(world, caught.is(code));
  REQUIRE_ON_ALL_RANKS(world, caught.what.find(message) != std::string::npos);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
}

// A layer whose adjustment is what `function` says. Its sums are fast: the grids of exact ones are
// others than those of a layer without an adjustment.
OptionRun adjusted_run(AdjustmentFunction function, bool differs_by_rank,
                       const Communicator& world) {
  OptionRun run = synchronized_run({"fast"}, world);
  BatchNormalizationOptions options = run.layer.options();
  options.adjustment = std::move(function);
  options.adjustment_differs_by_rank = differs_by_rank;
  run.layer = BatchNormalization(std::move(options));
  run.layer.build(run.x.shape(), world);
  return run;
}

Tensor constant(const Shape& shape, double value, DType dtype = DType::float64) {
  Tensor tensor(shape, dtype);
  if (dtype == DType::float64) std::ranges::fill(tensor.values<double>(), value);
  return tensor;
}

}  // namespace

TEST_CASE("a wrong call on one rank is refused on all, and the next one works", "[layers]") {
  const Communicator world = Communicator::world();
  int guilty = 0;
  for (const WrongCall& wrong : wrong_calls()) {
    guilty = (guilty + 1) % world.size();
    OptionRun run = synchronized_run(wrong.features, world);
    const auto before = state_of(run.layer);
    const Caught caught = caught_from([&] {
      Call call = run.call();
      if (world.rank() == guilty) wrong.spoil(call);
      run.layer.forward(run.x, run.y, call);
    });
    require_refused(caught, ErrorCode::argument, wrong.message, world);
    REQUIRE_ON_ALL_RANKS(world, caught.rank() == guilty);
    REQUIRE_ON_ALL_RANKS(world, state_of(run.layer) == before);
    REQUIRE_ON_ALL_RANKS(world, goes_on(run, wrong.features, world));
  }
}

TEST_CASE("renorm takes no batch weights under contrib's rules", "[layers]") {
  const Communicator world = Communicator::world();
  const Names names{"renorm", "contrib", "deferred"};
  OptionRun run = synchronized_run(names, world);
  run.use_case.has_weights = true;
  run.load(0);
  const Caught caught = caught_from([&] { run.forward(); });
  require_refused(caught, ErrorCode::argument, "contrib: renorm cannot be combined", world);
  run.use_case.has_weights = false;
  REQUIRE_ON_ALL_RANKS(world, goes_on(run, names, world));
}

TEST_CASE("ghost batches must divide the local batch in training only", "[layers]") {
  const Communicator world = Communicator::world();
  for (const std::string name : {"ghosts, strided", "ghosts, contiguous"}) {
    OptionRun run = synchronized_run({name}, world);
    const int guilty = world.size() - 1;
    Part odd = even_part(world, 4);
    odd.cut[static_cast<std::size_t>(guilty)] = 3;
    const Part part = std::exchange(run.part, odd);
    run.load(0);
    const Caught caught = caught_from([&] { run.forward(); });
    require_refused(caught, ErrorCode::argument,
                    "virtual_batch_size 2 does not divide the local batch of 3", world);
    run.layer.forward(run.x, run.y, {.mode = Mode::inference});
    run.layer.set_trainable(false);
    run.forward();
    run.layer.set_trainable(true);
    run.part = part;
    REQUIRE_ON_ALL_RANKS(world, goes_on(run, {name}, world));
  }
}

TEST_CASE("adjustments that differ between ranks must be said to do so", "[layers]") {
  const Communicator world = Communicator::world();
  const double here = 1.0 + world.rank();
  const auto per_channel = [=](const Shape&) {
    return Adjustment{constant({4}, here), constant({4}, 0.5)};
  };
  const auto per_sample = [](const Shape& shape) {
    return Adjustment{constant({shape[0], 1, 1, 1}, 2.0), constant({4}, 0.5)};
  };
  if (!world.is_solo()) {
    OptionRun by_value = adjusted_run(per_channel, false, world);
    for (int i = 0; i < 2; ++i)
      require_refused(caught_from([&] { by_value.forward(); }), ErrorCode::mismatch, "adjustment",
                      world);
    OptionRun by_sample = adjusted_run(per_sample, false, world);
    require_refused(caught_from([&] { by_sample.forward(); }), ErrorCode::argument,
                    "adjustment_differs_by_rank = true", world);
  }
  adjusted_run(per_channel, true, world).train(1, world);
  adjusted_run(per_sample, true, world).train(1, world);
}

TEST_CASE("adjustments that do not fit are refused, and a better one is taken", "[layers]") {
  const Communicator world = Communicator::world();
  const int guilty = world.size() - 1;
  struct Wrong {
    std::string message;
    AdjustmentFunction function;
    ErrorCode code = ErrorCode::argument;
  };
  const Tensor one = constant({4}, 1.0), zero = constant({4}, 0.0);
  const std::vector<Wrong> all{
      {"scale of shape [3] cannot be broadcast",
       [=](const Shape&) {
         return Adjustment{constant({3}, 1.0), zero};
       }},
      {"bias of shape [2, 2, 4] cannot be broadcast to an input of shape [4, 2, 3, 4]; give",
       [=](const Shape&) {
         return Adjustment{one, constant({2, 2, 4}, 0.0)};
       }},
      {"bias must be floating, got int64",
       [=](const Shape&) {
         return Adjustment{one, constant({4}, 0.0, DType::int64)};
       }},
      {"scale of shape [1, 1, 1, 1, 4]",
       [=](const Shape&) {
         return Adjustment{constant({1, 1, 1, 1, 4}, 1.0), zero};
       }},
      {"no random numbers left",
       [](const Shape&) -> Adjustment { throw DataError("no random numbers left"); },
       ErrorCode::data},
  };
  for (const Wrong& wrong : all) {
    bool is_good = false;
    OptionRun run = adjusted_run(
        [&](const Shape& shape) {
          if (!is_good && world.rank() == guilty) return wrong.function(shape);
          return Adjustment{one, zero};
        },
        false, world);
    const Caught caught = caught_from([&] { run.forward(); });
    require_refused(caught, wrong.code, wrong.message, world);
    is_good = true;
    REQUIRE_ON_ALL_RANKS(world, goes_on(run, {"fast"}, world));
  }
}

TEST_CASE("ranks that follow TensorFlow's fused kernel must agree on weights", "[layers]") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  for (const std::string name : {"tensorflow", "contrib"}) {
    OptionRun run = synchronized_run({name}, world);
    const Caught caught = caught_from([&] {
      Call call = run.call();
      const Tensor weights = weights_of({1, 1, 1, 1});
      if (world.rank() == 1) call.batch_weights = weights;
      run.layer.forward(run.x, run.y, call);
    });
    require_refused(caught, ErrorCode::mismatch, "weights", world);
    REQUIRE_ON_ALL_RANKS(world, goes_on(run, {name}, world));
  }
}

TEST_CASE("settings that differ between ranks are refused and change nothing", "[layers]") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  OptionRun run = synchronized_run({}, world);
  const bool is_first = world.rank() == 0;
  const auto require_mismatch = [&](const std::string& setting, const std::function<void()>& set) {
    require_refused(caught_from(set), ErrorCode::mismatch, setting, world);
  };
  require_mismatch("momentum", [&] { run.layer.set_momentum(is_first ? 0.5 : 0.25); });
  require_mismatch("momentum", [&] {
    run.layer.set_momentum(is_first ? std::optional<double>() : std::optional(0.25));
  });
  require_mismatch("mode",
                   [&] { run.layer.set_mode(is_first ? Mode::training : Mode::inference); });
  require_mismatch("trainable", [&] { run.layer.set_trainable(is_first); });
  REQUIRE_ON_ALL_RANKS(world, run.layer.mode() == Mode::inference);
  REQUIRE_ON_ALL_RANKS(world, run.layer.is_trainable());
  REQUIRE_ON_ALL_RANKS(world, goes_on(run, {}, world));
}

TEST_CASE("a momentum that the options do not allow is refused and changes nothing", "[layers]") {
  const Communicator world = Communicator::world();
  for (const Names& names : {Names{}, Names{"zero debias"}, Names{"skip_update"}}) {
    OptionRun run = synchronized_run(names, world);
    std::vector<std::optional<double>> all{1.5, -0.5, not_a_number};
    if (names == Names{"zero debias"}) all.emplace_back(1.0);
    if (!names.empty()) all.emplace_back(std::nullopt);
    for (const auto& momentum : all) {
      const Caught caught = caught_from([&] { run.layer.set_momentum(momentum); });
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::argument));
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught.what));
      REQUIRE_ON_ALL_RANKS(world, run.layer.options().momentum == 0.75);
    }
    REQUIRE_ON_ALL_RANKS(world, goes_on(run, names, world));
  }
}

TEST_CASE("the gradient of a residual needs one, and its shape", "[layers]") {
  const Communicator world = Communicator::world();
  const int guilty = world.size() - 1;
  const bool is_guilty = world.rank() == guilty;
  OptionRun run = synchronized_run({"residual"}, world);
  Tensor narrow({4, 2, 3, 1}, DType::float64);
  const auto backward_into = [&](Tensor& residual_gradient) {
    return caught_from([&] { run.layer.backward(run.tape, run.dy, run.dx, residual_gradient); });
  };
  run.forward(Commit::by_caller);
  require_refused(backward_into(is_guilty ? narrow : run.residual_gradient), ErrorCode::argument,
                  "[4, 2, 3, 1]", world);

  Call call = run.call(Commit::by_caller);
  if (is_guilty) call.residual = {};
  run.layer.forward(run.x, run.y, call);
  require_refused(backward_into(run.residual_gradient), ErrorCode::state, "had no residual", world);
  REQUIRE_ON_ALL_RANKS(world, goes_on(run, {"residual"}, world));
}
