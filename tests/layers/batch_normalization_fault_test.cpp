// A rank that fails: every rank gets the same error, no state changes, the next call works.

#include <limits>
#include <string>

#include "lockstep/base/error.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

struct Fixture {
  Communicator world = Communicator::world();
  BatchNormalization layer{{.synchronized = true, .dtype = DType::float64, .name = "norm"}};
  Tensor x = random_tensor({4, 2}, static_cast<std::uint64_t>(world.rank()));
  Tensor y{x.shape(), DType::float64}, dx{x.shape(), DType::float64};
  Tensor wrong{Shape{4, 3}, DType::float64};
  BatchNormalizationTape tape;

  Fixture() { layer.build(x.shape(), world); }

  void good_step() {
    layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
    layer.backward(tape, x, dx);
  }

  void require(const Caught& caught, ErrorCode code, int guilty, const std::string& part) {
    REQUIRE_ON_ALL_RANKS(world, caught.code == code);
    REQUIRE_ON_ALL_RANKS(world, caught.rank() == guilty);
    REQUIRE_ON_ALL_RANKS(world, caught.what.find(part) != std::string::npos);
    REQUIRE_ON_ALL_RANKS(world, caught.what.find("norm") != std::string::npos);
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  }

  // Every variable but the gradients.
  std::vector<double> state() { return values_of(layer.variables()); }
};

}  // namespace

TEST_CASE("a bad batch on one rank is the same error on all", "[layers]") {
  Fixture f;
  const int num_ranks = f.world.size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  const bool is_guilty = f.world.rank() == guilty;
  f.good_step();
  const auto before = f.state();

  const auto forward = [&](const Tensor& x) {
    return caught_from([&] { f.layer.forward(x, f.y, {.mode = Mode::training, .tape = &f.tape}); });
  };
  f.require(forward(is_guilty ? f.wrong : f.x), ErrorCode::argument, guilty, "[4, 3]");

  Tensor with_nan = f.x;
  with_nan.values<double>()[3] = std::numeric_limits<double>::quiet_NaN();
  f.require(forward(is_guilty ? with_nan : f.x), ErrorCode::non_finite, guilty, "channel 1");

  f.layer.forward(f.x, f.y, {.mode = Mode::training, .tape = &f.tape, .commit = Commit::by_caller});
  const auto backward =
      caught_from([&] { f.layer.backward(f.tape, is_guilty ? f.wrong : f.x, f.dx); });
  f.require(backward, ErrorCode::argument, guilty, "[4, 3]");

  BatchNormalizationTape unused;
  f.layer.forward(f.x, f.y, {.mode = Mode::training, .tape = &f.tape, .commit = Commit::by_caller});
  const auto no_tape =
      caught_from([&] { f.layer.backward(is_guilty ? unused : f.tape, f.x, f.dx); });
  f.require(no_tape, ErrorCode::state, guilty, "backward");

  REQUIRE_ON_ALL_RANKS(f.world, f.state() == before);
  f.good_step();
  REQUIRE_ON_ALL_RANKS(f.world, f.state() != before);
}

TEST_CASE("a rank that cannot make the call hands its error to all", "[layers]") {
  Fixture f;
  const int num_ranks = f.world.size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  const bool is_guilty = f.world.rank() == guilty;
  const auto reason = std::make_exception_ptr(DataError("disk is gone"));
  const auto forward = caught_from([&] {
    if (is_guilty) f.layer.fail(Pass::forward, reason);
    f.layer.forward(f.x, f.y, {.mode = Mode::training, .tape = &f.tape});
  });
  f.require(forward, ErrorCode::data, guilty, "disk is gone");
  f.layer.forward(f.x, f.y, {.mode = Mode::training, .tape = &f.tape});
  const auto backward = caught_from([&] {
    if (is_guilty) f.layer.fail(Pass::backward, reason);
    f.layer.backward(f.tape, f.x, f.dx);
  });
  f.require(backward, ErrorCode::data, guilty, "disk is gone");
  f.good_step();
}

TEST_CASE("layers that differ between ranks are refused when built", "[layers]") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  const int guilty = world.size() - 1;
  const bool is_guilty = world.rank() == guilty;
  const auto build = [&](BatchNormalizationOptions options, const Shape& shape) {
    options.synchronized = true;
    options.name = "norm";
    return caught_from([&] { BatchNormalization(std::move(options)).build(shape, world); });
  };
  Fixture f;
  f.require(build({.epsilon = is_guilty ? 0.5 : 0.25}, {4, 2}), ErrorCode::mismatch, guilty, "0.5");
  f.require(build({}, {4, is_guilty ? 3 : 2}), ErrorCode::mismatch, guilty, "[3]");
  f.require(build({.momentum = is_guilty ? 0.9999996 : 0.9999999}, {4, 2}), ErrorCode::mismatch,
            guilty, "0.9999996");
  f.require(build({.momentum = is_guilty ? 2.0 : 0.5}, {4, 2}), ErrorCode::argument, guilty,
            "momentum");
  const auto batch_axis = build({.axis = 0}, {4, 2});
  REQUIRE_ON_ALL_RANKS(world, batch_axis.code == ErrorCode::argument);
  // The extent of the batch axis is each rank's own.
  REQUIRE_ON_ALL_RANKS(world, build({}, {world.rank(), 2}).what.empty());
}

TEST_CASE("a build that failed on one rank can be repeated", "[layers]") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  BatchNormalization layer({.synchronized = true});
  const int guilty = world.size() - 1;
  const Shape wrong{4, world.rank() == guilty ? 3 : 2};
  const auto caught = caught_from([&] { layer.build(wrong, world); });
  REQUIRE_ON_ALL_RANKS(world, caught.code == ErrorCode::mismatch);
  REQUIRE_ON_ALL_RANKS(world, !layer.is_built());
  layer.build({4, 2}, world);
  REQUIRE_ON_ALL_RANKS(world, layer.is_built());
}

TEST_CASE("ranks that call different layers are told so", "[layers]") {
  Fixture f;
  if (f.world.is_solo()) return;
  const auto caught = caught_from([&] {
    f.layer.forward(f.x, f.y, {.mode = Mode::training, .tape = &f.tape, .step = f.world.rank()});
  });
  REQUIRE_ON_ALL_RANKS(f.world, caught.code == ErrorCode::mismatch);
  REQUIRE_ON_ALL_RANKS(f.world, is_same_on_all_ranks(f.world, caught));
  f.good_step();
}

TEST_CASE("frozen is the same on all ranks or an error on all", "[layers]") {
  Fixture f;
  if (f.world.is_solo()) return;
  const auto caught = caught_from([&] { f.layer.set_trainable(f.world.rank() == 0); });
  f.require(caught, ErrorCode::mismatch, 1, "trainable");
  REQUIRE_ON_ALL_RANKS(f.world, f.layer.is_trainable());
}

TEST_CASE("a failed call leaves nothing on its tape, also not what was there before", "[layers]") {
  Fixture f;
  const bool is_guilty = f.world.rank() == f.world.size() - 1;
  const Call by_caller{.mode = Mode::training, .tape = &f.tape, .commit = Commit::by_caller};
  const auto before = f.state();
  for (const Mode earlier : {Mode::training, Mode::inference}) {
    Call call = by_caller;
    call.mode = earlier;
    f.layer.forward(f.x, f.y, call);
    f.require(caught_from([&] { f.layer.forward(is_guilty ? f.wrong : f.x, f.y, by_caller); }),
              ErrorCode::argument, f.world.size() - 1, "[4, 3]");
    f.layer.commit(f.tape);
    REQUIRE_ON_ALL_RANKS(f.world, f.state() == before);
    const auto backward = caught_from([&] { f.layer.backward(f.tape, f.x, f.dx); });
    REQUIRE_ON_ALL_RANKS(f.world, backward.code == ErrorCode::state);
  }
  f.good_step();
}

TEST_CASE("a rank that fails when statistics jump is named too", "[layers]") {
  Fixture f;
  const int num_ranks = f.world.size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  f.good_step();
  const auto before = f.state();
  Tensor far = f.x;
  for (double& value : far.values<double>()) value += 1e9;
  if (f.world.rank() == guilty) far.values<double>()[1] = std::numeric_limits<double>::infinity();
  f.require(
      caught_from([&] { f.layer.forward(far, f.y, {.mode = Mode::training, .tape = &f.tape}); }),
      ErrorCode::non_finite, guilty, "channel 1");
  REQUIRE_ON_ALL_RANKS(f.world, f.state() == before);
  f.good_step();
}

TEST_CASE("a frozen layer fails alone: nobody meets it", "[layers]") {
  Fixture f;
  f.layer.set_trainable(false);
  if (f.world.rank() == 0)
    CHECK_THROWS_AS(f.layer.fail(Pass::forward, std::make_exception_ptr(DataError("gone"))),
                    DataError);
  f.layer.set_trainable(true);
  f.good_step();
}

TEST_CASE("a layer that one rank froze before is refused when built", "[layers]") {
  const Communicator world = Communicator::world();
  if (world.is_solo()) return;
  BatchNormalization layer({.synchronized = true});
  if (world.rank() == 0) layer.set_trainable(false);
  const auto caught = caught_from([&] { layer.build({4, 2}, world); });
  REQUIRE_ON_ALL_RANKS(world, caught.code == ErrorCode::mismatch);
}

TEST_CASE("backward is told of a failure as its forward merged, frozen since or not", "[layers]") {
  Fixture f;
  const int guilty = f.world.size() - 1;
  f.layer.forward(f.x, f.y, {.mode = Mode::training, .tape = &f.tape});
  f.layer.set_trainable(false);
  f.require(caught_from([&] {
              if (f.world.rank() == guilty)
                f.layer.fail(Pass::backward, std::make_exception_ptr(DataError("gone")));
              f.layer.backward(f.tape, f.x, f.dx);
            }),
            ErrorCode::data, guilty, "gone");
}
