// Moving statistics under every option, worked out by hand.

#include <cmath>
#include <limits>
#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/model/sequential.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/close.hpp"
#include "support/gradients.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

// A layer of one channel, and the batches {m - 1, m + 1} of mean m and biased variance 1.
struct Fixture {
  BatchNormalization layer;
  Tensor y{Shape{2, 1}, DType::float64};

  explicit Fixture(BatchNormalizationOptions options)
      : layer([&] {
          options.dtype = DType::float64;
          return std::move(options);
        }()) {
    layer.build({2, 1}, Communicator());
  }

  void train(double mean, BatchNormalizationTape* tape = nullptr, Commit commit = Commit::at_once) {
    const std::vector<double> x{mean - 1.0, mean + 1.0};
    layer.forward(view(x, {2, 1}), y, {.mode = Mode::training, .tape = tape, .commit = commit});
  }

  double value(const char* name) { return values_of(layer.variable(name))[0]; }
};

bool is_near(double a, double b) { return std::abs(a - b) <= 1e-12 * std::abs(b); }

}  // namespace

TEST_CASE("without momentum all batches weigh the same", "[layers]") {
  Fixture f({.momentum = std::nullopt, .moving_mean_initializer = Constant{77.0}});
  double sum = 0.0;
  for (const double mean : {3.0, -1.0, 10.0, 4.0}) {
    f.train(mean);
    sum += mean;
    CHECK(is_near(f.value("moving_mean"), sum / f.value("num_updates")));
    CHECK(is_near(f.value("moving_variance"), 1.0));
  }
  CHECK(f.value("num_updates") == 4.0);
}

TEST_CASE("an empty batch is no update", "[layers]") {
  Fixture f({.momentum = std::nullopt});
  Tensor nothing({0, 1}, DType::float64);
  f.layer.forward(nothing, nothing, {.mode = Mode::training});
  CHECK(f.value("num_updates") == 0.0);
  CHECK(f.value("moving_variance") == 1.0);
}

TEST_CASE("the unbiased moving variance counts one element less", "[layers]") {
  Fixture f({.momentum = 0.75, .epsilon = 0.0, .moving_variance = MovingVariance::unbiased});
  f.train(5.0);
  CHECK(is_near(f.value("moving_variance"), 0.75 * 1.0 + 0.25 * 2.0));
  CHECK(f.y.values<double>()[1] == 1.0);  // normalization stays with the biased one

  const std::vector<double> single{5.0};
  std::vector<double> out(1);
  f.layer.forward(view(single, {1, 1}), view(out, {1, 1}), {.mode = Mode::training});
  CHECK(is_near(f.value("moving_variance"), 0.75 * 1.25));  // variance 0, W = 1: no division by 0
}

TEST_CASE("zero debias forgets the initial mean at once", "[layers]") {
  Fixture f({.momentum = 0.9,
             .moving_mean_initializer = Constant{55.0},
             .zero_debias_moving_mean = true});
  f.train(4.0);
  CHECK(is_near(f.value("moving_mean"), 4.0));
  f.train(-2.0);
  const double biased = (0.4 * 0.9) - 2.0 * 0.1;
  CHECK(std::abs(f.value("moving_mean/biased") - biased) < 1e-14);
  CHECK(is_near(f.value("moving_mean"), biased / (1.0 - 0.81)));
  CHECK(f.value("moving_mean/local_step") == 2.0);
}

TEST_CASE("deferred updates wait, keep their order, and are made once", "[layers]") {
  Fixture f({.momentum = 0.5, .updates = Updates::deferred}), immediate({.momentum = 0.5});
  for (const double mean : {8.0, 2.0, -4.0}) {
    f.train(mean);
    immediate.train(mean);
  }
  CHECK(f.value("moving_mean") == 0.0);
  f.layer.apply_updates();
  CHECK(f.value("moving_mean") == immediate.value("moving_mean"));
  CHECK(f.value("moving_variance") == immediate.value("moving_variance"));
  f.layer.apply_updates();
  CHECK(f.value("moving_mean") == immediate.value("moving_mean"));
}

TEST_CASE("a model makes the deferred updates of its layers", "[layers]") {
  Sequential model({.dtype = DType::float64}, Strategy());
  model.add(BatchNormalization({.momentum = 0.5, .updates = Updates::deferred}));
  model.build({2, 1});
  model.forward(Tensor::of(std::span<const double>(std::vector{1.0, 3.0}), {2, 1}),
                {.mode = Mode::training});
  Variable& mean = model.variable("batch_normalization/moving_mean");
  CHECK(values_of(mean)[0] == 0.0);
  model.apply_updates();
  CHECK(values_of(mean)[0] == 1.0);
}

TEST_CASE("deferred updates do not need memory once they had it", "[layers]") {
  Fixture f({.updates = Updates::deferred});
  BatchNormalizationTape tape;
  const auto round = [&] {
    const std::vector<double> x{1.0, 3.0};
    const std::int64_t before = num_allocations();
    for (int i = 0; i < 3; ++i)
      f.layer.forward(view(std::span(x), {2, 1}), f.y, {.mode = Mode::training, .tape = &tape});
    f.layer.apply_updates();
    return num_allocations() - before;
  };
  round();
  CHECK(round() == 0);
}

TEST_CASE("renormalization corrects towards the moving moments", "[layers]") {
  const double epsilon = 0.25;
  Fixture f({.momentum = 0.75,
             .epsilon = epsilon,
             .moving_mean_initializer = Constant{1.0},
             .moving_variance_initializer = Constant{4.0},
             .renorm = true,
             .renorm_clipping = {.rmin = 0.25, .rmax = 3.0, .dmax = 5.0},
             .renorm_momentum = 0.5});
  const double stddev = std::sqrt(1.0 + epsilon);
  f.train(3.0);
  const double r = stddev / 2.0, d = (3.0 - 1.0) / 2.0;
  CHECK(is_near(f.y.values<double>()[1], 1.0 / stddev * r + d));
  CHECK(is_near(f.value("renorm_mean"), 0.5 * 1.0 + 0.5 * 3.0));
  CHECK(is_near(f.value("renorm_stddev"), 0.5 * 2.0 + 0.5 * stddev));
  CHECK(is_near(f.value("moving_mean"), 0.75 * 1.0 + 0.25 * 3.0));
  const double moving_stddev = 0.75 * 2.0 + 0.25 * stddev;
  CHECK(is_near(f.value("moving_stddev"), moving_stddev));
  CHECK(is_near(f.value("moving_variance"), moving_stddev * moving_stddev - epsilon));
}

TEST_CASE("the correction of renormalization is clipped", "[layers]") {
  Fixture f({.epsilon = 0.0625,
             .moving_mean_initializer = Constant{-100.0},
             .moving_variance_initializer = Constant{1e-4},
             .renorm = true,
             .renorm_clipping = {.rmax = 1.5, .dmax = 0.5}});
  f.train(3.0);
  CHECK(is_near(f.y.values<double>()[1], 1.0 / std::sqrt(1.0625) * 1.5 + 0.5));
}

TEST_CASE("renormalization is a constant to gradients", "[layers]") {
  // Clipped on all sides, so that finite differences see constants too.
  const bool scale = GENERATE(true, false);
  BatchNormalization layer({.scale = scale,
                            .gamma_initializer = Constant{0.7},
                            .moving_mean_initializer = Constant{-2.0},
                            .renorm = true,
                            .renorm_clipping = {.rmin = 1.5, .rmax = 1.5, .dmax = 0.5},
                            .dtype = DType::float64});
  layer.build({5, 3}, Communicator());
  CHECK(gradient_error(layer, random_tensor({5, 3}, 4)) < 1e-7);
}

TEST_CASE("numbers that are not finite stay in their channel", "[layers]") {
  const Communicator world = Communicator::world();
  const Nonfinite policy = GENERATE(Nonfinite::skip_update, Nonfinite::warn);
  const double bad =
      GENERATE(std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity());
  BatchNormalization layer(
      {.momentum = 0.5, .nonfinite = policy, .synchronized = true, .dtype = DType::float64});
  layer.build({2, 2}, world);
  Tensor x = random_tensor({2, 2}, static_cast<std::uint64_t>(world.rank())), y = x;
  const auto forward = [&] { layer.forward(x, y, {.mode = Mode::training}); };
  forward();
  const auto before = values_of(layer.moving_mean());
  const double good = x.values<double>()[2];
  if (world.rank() == world.size() - 1) x.values<double>()[2] = bad;
  forward();
  const auto after = values_of(layer.moving_mean());
  const auto output = y.values<double>();
  REQUIRE_ON_ALL_RANKS(world, std::isnan(output[0]) && std::isnan(output[2]));
  REQUIRE_ON_ALL_RANKS(world, std::isfinite(output[1]) && std::isfinite(output[3]));
  REQUIRE_ON_ALL_RANKS(world, after[1] != before[1]);
  if (policy == Nonfinite::skip_update)
    REQUIRE_ON_ALL_RANKS(world, after[0] == before[0]);
  else
    REQUIRE_ON_ALL_RANKS(world, std::isnan(after[0]));

  x.values<double>()[2] = good;
  forward();
  REQUIRE_ON_ALL_RANKS(world, std::isfinite(output[0]));
}

TEST_CASE("options that contradict each other are refused when built", "[layers]") {
  const auto message_of = [](BatchNormalizationOptions options) -> std::string {
    try {
      BatchNormalization(std::move(options)).build({4, 3}, Communicator());
    } catch (const ArgumentError& error) {
      return error.what();
    }
    return "";
  };
  using Catch::Matchers::Contains;
  CHECK_THAT(message_of({.renorm = true, .renorm_clipping = {.rmin = 2.0, .rmax = 1.0}}),
             Contains("rmin 2 and rmax 1"));
  CHECK_THAT(message_of({.renorm = true, .renorm_clipping = {.rmin = -1.0}}), Contains("rmin"));
  CHECK_THAT(message_of({.renorm = true, .renorm_clipping = {.dmax = -0.5}}), Contains("dmax"));
  CHECK_THAT(message_of({.renorm = true, .renorm_momentum = 1.5}), Contains("renorm_momentum"));
  CHECK_THAT(message_of({.epsilon = 0.0, .renorm = true}), Contains("epsilon 0"));
  CHECK_THAT(message_of({.renorm = true, .moving_variance = MovingVariance::unbiased}),
             Contains("unbiased"));
  CHECK_THAT(message_of({.momentum = 1.0, .zero_debias_moving_mean = true}),
             Contains("zero_debias"));
  CHECK_THAT(message_of({.momentum = std::nullopt, .zero_debias_moving_mean = true}),
             Contains("zero_debias"));
  CHECK_THAT(message_of({.momentum = std::nullopt, .nonfinite = Nonfinite::skip_update}),
             Contains("skip_update"));
  CHECK_THAT(message_of({.zero_debias_moving_mean = true, .nonfinite = Nonfinite::skip_update}),
             Contains("skip_update"));
}
