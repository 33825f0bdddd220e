// Options that cannot be used are refused on all ranks alike, and what is built next works.

#include <limits>
#include <string>

#include "layers/option_cases.hpp"
#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Options = BatchNormalizationOptions;
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
const Shape images{4, 2, 3, 4};

struct Refusal {
  Options options;
  std::string message;  // part of it
  Shape shape = images;
  ErrorCode code = ErrorCode::argument;
};

Adjustment no_adjustment(const Shape&) { return {}; }

std::vector<Refusal> refusals_of_fused() {
  return {
      {{.fused = true, .synchronized = true}, "fused = true cannot be combined with synchronized"},
      {{.renorm = true, .fused = true}, "fused = true cannot be combined with renorm"},
      {{.fused = true, .virtual_batch_size = 2}, "fused = true cannot be combined with virtual"},
      {{.fused = true, .adjustment = no_adjustment}, "fused = true cannot be combined with an adj"},
      {{.axis = {1, 3}, .fused = true},
       "fused = true cannot be combined with several channel axes"},
      {{.fused = true}, "fused = true needs an input of rank 4, got shape [4, 3]", {4, 3}},
      {{.fused = true}, "fused = true needs an input of rank 4, got", {4, 2, 3, 4, 5}},
      {{.axis = 2, .fused = true}, "fused = true needs channels along axis 1 or the last, not 2"},
      {{.axis = 0, .fused = true}, "fused = true needs channels along axis 1 or the last, not 0"},
  };
}

std::vector<Refusal> refusals_of_axes() {
  return {
      {{.axis = 4}, "axis 4 does not exist in an input of shape [4, 2, 3, 4]; use -4 to 3"},
      {{.axis = -5}, "axis -5 does not exist"},
      {{.axis = {1, 4}}, "axis 4 does not exist"},
      {{.axis = {1, 1}}, "axis [1, 1] names axis 1 twice"},
      {{.axis = {3, -1}}, "axis [3, -1] names axis 3 twice"},
      {{.axis = Axes(std::vector<int>{})}, "axis is an empty list; name at least one channel axis"},
      {{}, "the input has no axis", {}},
      {{}, "no known number of channels along axis 3", {4, 2, 3, -1}},
      {{}, "no known number of channels along axis 3", {4, 2, 3, 0}},
      {{.axis = {1, 2}}, "no known number of channels along axis 1", {4, -1, 3, 4}},
      {{.data_format = "NCWH"}, "data_format must be NHWC or NCHW, got 'NCWH'"},
      {{.data_format = "nchw"}, "data_format must be NHWC or NCHW, got 'nchw'"},
      {{.data_format = "NCHW"}, "data_format NCHW needs an input of rank 2 or more", {4}},
      {{.axis = 2, .data_format = "NHWC"}, "axis and data_format NHWC name different channel axes"},
  };
}

std::vector<Refusal> refusals_of_renorm() {
  const RenormClipping crossed{.rmin = 2.0, .rmax = 1.0};
  return {
      {{.renorm_clipping = crossed}, "0 <= rmin <= rmax, got rmin 2 and rmax 1"},
      {{.renorm = true, .renorm_clipping = crossed}, "0 <= rmin <= rmax, got rmin 2 and rmax 1"},
      {{.renorm = true, .renorm_clipping = {.rmin = -0.5}}, "got rmin -0.5"},
      {{.renorm = true, .renorm_clipping = {.rmin = not_a_number}}, "got rmin nan"},
      {{.renorm = true, .renorm_clipping = {.dmax = -1.0}}, "dmax >= 0, got -1"},
      {{.renorm = true, .renorm_momentum = 1.5}, "renorm_momentum must be in [0, 1], got 1.5"},
      {{.epsilon = 0.0, .renorm = true}, "renorm cannot be combined with epsilon 0"},
      {{.renorm = true, .moving_variance = MovingVariance::unbiased}, "renorm cannot be combined"},
      {{.renorm = true, .track_moving_statistics = false}, "renorm cannot be combined with track"},
      {{.renorm = true,
        .fused_rules = FusedRules::contrib,
        .zero_debias_moving_mean = true,
        .updates = Updates::deferred},
       "contrib: renorm cannot be combined with zero_debias_moving_mean"},
      {{.renorm = true, .fused_rules = FusedRules::contrib},
       "contrib: renorm needs updates in the default update collection"},
      {{.renorm = true,
        .fused_rules = FusedRules::contrib,
        .updates = Updates::deferred,
        .scope = {.updates_collections = {"mine"}}},
       "contrib: renorm needs updates in the default update collection"},
  };
}

std::vector<Refusal> refusals_of_ghosts() {
  return {
      {{.virtual_batch_size = 0}, "virtual_batch_size must be at least 1, got 0"},
      {{.virtual_batch_size = -2}, "virtual_batch_size must be at least 1, got -2"},
      {{.virtual_batch_size = 2, .adjustment = no_adjustment}, "virtual_batch_size cannot be"},
      {{.axis = 0, .virtual_batch_size = 2}, "the batch axis as channel axis"},
      {{.axis = {0, 3}, .virtual_batch_size = 2}, "the batch axis as channel axis"},
      {{.virtual_batch_size = 2, .moving_variance = MovingVariance::unbiased}, "unbiased"},
  };
}

std::vector<Refusal> refusals_of_statistics() {
  return {
      {{.momentum = 1.25}, "momentum must be in [0, 1], got 1.25"},
      {{.momentum = -0.25}, "momentum must be in [0, 1], got -0.25"},
      {{.momentum = not_a_number}, "momentum must be in [0, 1], got nan"},
      {{.epsilon = -1e-3}, "epsilon must be finite and >= 0, got -0.001"},
      {{.epsilon = not_a_number}, "epsilon must be finite"},
      {{.epsilon = infinity}, "epsilon must be finite"},
      {{.momentum = 1.0, .zero_debias_moving_mean = true}, "zero_debias_moving_mean divides"},
      {{.momentum = std::nullopt, .zero_debias_moving_mean = true}, "zero_debias_moving_mean"},
      {{.zero_debias_moving_mean = true, .track_moving_statistics = false}, "no moving mean"},
      {{.momentum = std::nullopt, .nonfinite = Nonfinite::skip_update}, "nonfinite skip_update"},
      {{.zero_debias_moving_mean = true, .nonfinite = Nonfinite::skip_update}, "skip_update"},
      {{.moving_variance_initializer = Constant{-1.0}}, "a variance is >= 0"},
      {{.moving_variance_initializer = RandomNormal{-5.0, 0.1, 1}}, "a variance is >= 0"},
      {{.activation = CustomActivation{"mine", {}, {}}}, "'mine' needs a value and a derivative"},
      {{.activation = ActivationFunction::leaky_relu, .negative_slope = -1.0}, "negative_slope"},
      {{.gamma_regularizer = l2(-1.0)}, "regularizer"},
      {{.beta_constraint = MaxNorm{.axes = {5}}}, "axis 5"},
      {{.dtype = DType::int64}, "cannot compute in int64"},
  };
}

std::vector<Refusal> all_refusals() {
  std::vector<Refusal> all;
  for (const auto& some : {refusals_of_fused(), refusals_of_axes(), refusals_of_renorm(),
                           refusals_of_ghosts(), refusals_of_statistics()})
    all.insert(all.end(), some.begin(), some.end());
  return all;
}

// A synchronized layer computes what one process does.
bool works(const Communicator& world) {
  const Communicator solo;
  UseCase use_case = use_case_of({"synchronized", "batch weights", "adjust per channel"});
  const Part part = even_part(world, 2);
  use_case.shape = {Part{part.cut}.count(), 3};
  OptionRun run(use_case, part, world), alone(use_case, {part.cut}, solo);
  run.train(1, world);
  alone.train(1, solo);
  return distance(state_of(run.layer), state_of(alone.layer)) < 1e-12;
}

}  // namespace

TEST_CASE("options that cannot be used are refused on all ranks", "[layers]") {
  const Communicator world = Communicator::world();
  for (const Refusal& refusal : all_refusals()) {
    const Caught caught =
        caught_from([&] { BatchNormalization(refusal.options).build(refusal.shape, world); });
    INFO(refusal.message << " in: " << caught.what);
    REQUIRE_ON_ALL_RANKS(world, caught.is(refusal.code));
    REQUIRE_ON_ALL_RANKS(world, caught.what.find(refusal.message) != std::string::npos);
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    REQUIRE_ON_ALL_RANKS(world, works(world));
  }
}

TEST_CASE("options that one rank cannot use are refused on all ranks", "[layers]") {
  const Communicator world = Communicator::world();
  int guilty = 0;
  for (const Refusal& refusal : all_refusals()) {
    guilty = (guilty + 1) % world.size();
    BatchNormalization layer(world.rank() == guilty ? refusal.options : Options{.name = "norm"});
    const Caught caught =
        caught_from([&] { layer.build(world.rank() == guilty ? refusal.shape : images, world); });
    INFO(refusal.message << " in: " << caught.what);
    REQUIRE_ON_ALL_RANKS(world, caught.is(refusal.code) && caught.rank() == guilty);
    REQUIRE_ON_ALL_RANKS(world, caught.what.find(refusal.message) != std::string::npos);
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
    REQUIRE_ON_ALL_RANKS(world, !layer.is_built());
    REQUIRE_ON_ALL_RANKS(world, works(world));
  }
}

TEST_CASE("a clipping of unknown name is refused", "[layers]") {
  CHECK(renorm_clipping_of({}) == RenormClipping{});
  CHECK(renorm_clipping_of({{"rmin", 0.5}, {"rmax", 2.0}, {"dmax", 3.0}}) ==
        RenormClipping{0.5, 2.0, 3.0});
  for (const std::string key : {"rmean", "RMIN", ""}) {
    const Caught caught = caught_from([&] { (void)renorm_clipping_of({{key, 1.0}}); });
    CHECK(caught.is(ErrorCode::argument));
    CHECK(caught.what.find("rmin, rmax and dmax, got '" + key + "'") != std::string::npos);
  }
}

TEST_CASE("the batch axis is no channel axis over several ranks", "[layers]") {
  const Communicator world = Communicator::world();
  for (const Axes& axis : {Axes(0), Axes{0, 3}})
    for (const SynchronizationGroup group :
         {SynchronizationGroup(AllReplicas{}), SynchronizationGroup(BySize{2})}) {
      BatchNormalization layer(
          {.axis = axis, .synchronized = true, .synchronization_group = group});
      const Caught caught = caught_from([&] { layer.build(images, world); });
      if (world.is_solo()) {
        CHECK(caught.what.empty());
        continue;
      }
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::argument));
      REQUIRE_ON_ALL_RANKS(world, caught.what.find("the batch axis") != std::string::npos);
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
      REQUIRE_ON_ALL_RANKS(world, works(world));
    }
  // Each rank for itself may do so.
  BatchNormalization layer({.axis = 0});
  layer.build(images, world);
  Tensor x(images), y(images);
  layer.forward(x, y, {.mode = Mode::training});
}

TEST_CASE("an option that differs between ranks is refused when built", "[layers]") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  const Part part = even_part(world, 4);
  int guilty = 0;
  for (const Feature& feature : features()) {
    if (feature.option == "weights" || feature.option == "mask" || feature.option == "residual")
      continue;  // of calls
    guilty = (guilty + 1) % world.size();
    const UseCase use_case = use_case_of(world.rank() == guilty ? std::vector{feature.name}
                                                                : std::vector<std::string>{});
    const Caught caught = caught_from([&] { OptionRun(use_case, part, world); });
    INFO(feature.name << ": " << caught.what);
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  }
  REQUIRE_ON_ALL_RANKS(world, works(world));
}
