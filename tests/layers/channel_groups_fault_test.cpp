// A rank that fails amid groups of channels: every rank gets the same error, no state changes, the
// next call works.

#include <algorithm>
#include <limits>
#include <vector>

#include "comm/schedule.hpp"
#include "layers/grouped_layers.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

// A layer in groups of one channel that has seen a batch.
struct Fixture {
  explicit Fixture(BatchNormalizationOptions options = options_of(one_channel)) : layer(options) {
    layer.build(local, world);
    good_step();
  }

  void good_step() {
    layer.forward(x, y, {.mode = Mode::training, .tape = &tape});
    layer.backward(tape, dy, dx);
  }
  [[nodiscard]] std::vector<double> state() { return values_of(layer.variables()); }

  void require(const Caught& caught, ErrorCode code, int guilty) {
    REQUIRE_ON_ALL_RANKS(world, caught.is(code));
    REQUIRE_ON_ALL_RANKS(world, caught.rank() == guilty);
    REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
  }

  Communicator world = Communicator::world();
  BatchNormalization layer;
  Shape local = global_shape.with(0, 2);
  Tensor x = random_tensor(local, static_cast<std::uint64_t>(world.rank()));
  Tensor dy = random_tensor(local, 7 + static_cast<std::uint64_t>(world.rank()));
  Tensor y{local, DType::float64}, dx{local, DType::float64};
  BatchNormalizationTape tape;
};

}  // namespace

TEST_CASE("what is not finite in any group is the same error on all ranks", "[layers]") {
  Fixture f;
  const int num_ranks = f.world.size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  const std::int64_t channel = GENERATE(range(std::int64_t{0}, num_channels));
  const bool is_in_place = GENERATE(false, true);
  const auto before = f.state();
  Tensor bad = f.x;
  if (f.world.rank() == guilty)
    bad.values<double>()[static_cast<std::size_t>(channel) * 5 * 31 + 17] =
        std::numeric_limits<double>::infinity();
  const Tensor kept = bad;
  const Caught caught = caught_from([&] {
    if (is_in_place)
      f.layer.forward(bad, bad, {.mode = Mode::training});
    else
      f.layer.forward(bad, f.y, {.mode = Mode::training, .tape = &f.tape});
  });
  f.require(caught, ErrorCode::non_finite, guilty);
  REQUIRE_ON_ALL_RANKS(f.world, caught.origin->channel == channel);
  REQUIRE_ON_ALL_RANKS(f.world, std::ranges::equal(bad.values<double>(), kept.values<double>()));
  REQUIRE_ON_ALL_RANKS(f.world, f.state() == before);
  f.good_step();
}

TEST_CASE("a wrong batch and an error of the caller's reach all ranks in groups too", "[layers]") {
  Fixture f;
  const int num_ranks = f.world.size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  const bool is_guilty = f.world.rank() == guilty;
  const auto before = f.state();
  const Tensor wrong(Shape{2, 5, 5, 31}, DType::float64);
  const Call call{.mode = Mode::training, .tape = &f.tape};
  const auto reason = std::make_exception_ptr(DataError("disk is gone"));
  f.require(caught_from([&] { f.layer.forward(is_guilty ? wrong : f.x, f.y, call); }),
            ErrorCode::argument, guilty);
  f.require(caught_from([&] {
              if (is_guilty) f.layer.fail(Pass::forward, reason);
              f.layer.forward(f.x, f.y, call);
            }),
            ErrorCode::data, guilty);
  REQUIRE_ON_ALL_RANKS(f.world, f.state() == before);
  f.layer.forward(f.x, f.y, call);
  f.require(caught_from([&] { f.layer.backward(f.tape, is_guilty ? wrong : f.dy, f.dx); }),
            ErrorCode::argument, guilty);
  f.require(caught_from([&] {
              if (is_guilty) f.layer.fail(Pass::backward, reason);
              f.layer.backward(f.tape, f.dy, f.dx);
            }),
            ErrorCode::data, guilty);
  f.good_step();
}

TEST_CASE("a rank that fails amid any group fails alike on all", "[layers]") {
  // Function and derivative are called element by element, group after group.
  std::int64_t calls = 0, fatal_call = -1;
  const auto count = [&](const char* what) {
    if (++calls == fatal_call) throw DataError(what);
  };
  auto options = options_of(one_channel);
  options.activation = CustomActivation{"brittle",
                                        [&](double z) {
                                          count("no value");
                                          return z;
                                        },
                                        [&](double) {
                                          count("no derivative");
                                          return 1.0;
                                        }};
  Fixture f(options);
  const int num_ranks = f.world.size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  const std::int64_t group = GENERATE(range(std::int64_t{0}, num_channels));
  const std::int64_t group_calls = 2 * 5 * 31;
  const auto before = f.state();
  const auto fail_in = [&](std::int64_t fatal) {
    calls = 0;
    fatal_call = f.world.rank() == guilty ? fatal : -1;
  };
  // The output of the last two groups is written when there is no message left.
  if (group < num_channels - 2) {
    fail_in(group * group_calls + 40);
    const Caught caught =
        caught_from([&] { f.layer.forward(f.x, f.y, {.mode = Mode::training, .tape = &f.tape}); });
    f.require(caught, ErrorCode::data, guilty);
    REQUIRE_ON_ALL_RANKS(f.world, f.state() == before);
  }
  fail_in(-1);
  f.layer.forward(f.x, f.y, {.mode = Mode::training, .tape = &f.tape, .commit = Commit::by_caller});
  // Sums take one call per element, and so does what is written beside them: from the group on that
  // comes two behind, or one where a rank is alone.
  const std::int64_t lag = f.world.is_solo() ? 1 : 2;
  fail_in((group + std::max(group - lag, std::int64_t{0})) * group_calls + 40);
  f.require(caught_from([&] { f.layer.backward(f.tape, f.dy, f.dx); }), ErrorCode::data, guilty);
  REQUIRE_ON_ALL_RANKS(f.world, f.state() == before);
  fail_in(-1);
  f.good_step();
}

TEST_CASE("a rank that fails around layers in groups keeps its appointments", "[layers]") {
  Fixture first, second;
  const Communicator& world = first.world;
  const int num_ranks = world.size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  const int fatal_place = GENERATE(0, 1, 2);
  const auto fail_at = [&](int place) {
    if (place == fatal_place && world.rank() == guilty) throw DataError("between layers");
  };
  const auto before = first.state();
  Schedule schedule;
  for (const Pass pass : {Pass::forward, Pass::backward}) {
    for (Fixture* f : {&first, &second}) f->layer.add_appointments(pass, schedule);
    const auto call = [&](Fixture& f) {
      if (pass == Pass::forward)
        f.layer.forward(f.x, f.y,
                        {.mode = Mode::training, .tape = &f.tape, .commit = Commit::by_caller});
      else
        f.layer.backward(f.tape, f.dy, f.dx);
    };
    const Caught caught = caught_from([&] {
      schedule.keep(-1, [&] {
        fail_at(0);
        call(first);
        fail_at(1);
        call(second);
        fail_at(2);
      });
    });
    const bool reaches_all = fatal_place < 2 && !world.is_solo();
    const bool is_told = reaches_all || world.rank() == guilty;
    REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::data) == is_told);
    REQUIRE_ON_ALL_RANKS(world, caught.rank() == (reaches_all ? guilty : -1));
    schedule.clear();
    for (Fixture* f : {&first, &second})
      f->layer.forward(f->x, f->y,
                       {.mode = Mode::training, .tape = &f->tape, .commit = Commit::by_caller});
  }
  REQUIRE_ON_ALL_RANKS(world, first.state() == before);
  first.good_step();
  second.good_step();
}
