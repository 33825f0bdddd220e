// Scaled losses: what they change, which is nothing, and steps that are skipped on all ranks alike.

#include "lockstep/train/loss_scaling.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/train/synthetic.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

Tensor filled(const Shape& shape, double value) {
  Tensor result(shape);
  std::ranges::fill(result.values<float>(), static_cast<float>(value));
  return result;
}

Tensor to_float16(const Tensor& values) {
  Tensor result(values.shape(), DType::float16);
  std::ranges::transform(values.values<float>(), result.values<Float16>().begin(),
                         [](float value) { return Float16(value); });
  return result;
}

// A regression of float16 whose outputs are 0 at first. Its gradients are finite up to a scale of
// 32 on a rank whose targets are 1000, and of more than 2^15 where they are 1 / 8.
struct Regression {
  Communicator world = Communicator::world();
  Sequential model{{.dtype = DType::float16}, Strategy(Communicator::world())};
  std::unique_ptr<Trainer> trainer;
  Tensor x{Shape{4, 3}};

  explicit Regression(TrainerOptions options = {}, Constraint constraint = {}) {
    model.add(Dense({.units = 4, .kernel_constraint = std::move(constraint)}));
    model.add(SyncBatchNormalization({}));
    model.add(Dense({.units = 1, .kernel_initializer = Zeros{}}));
    trainer = std::make_unique<Trainer>(model, Adam(), MeanSquaredError{}, std::move(options));
    for (std::size_t i = 0; i < 12; ++i)
      x.values<float>()[i] = static_cast<float>((i * i) % 7) - 3.0F;
    x = to_float16(x);
  }

  const StepRecord& step(double target) { return trainer->step(x, filled({4, 1}, target)); }

  std::vector<Tensor> state() {
    std::vector<Tensor> all;
    for (const Variable* variable : model.variables())
      all.push_back(Tensor::copy_of(variable->value()));
    for (const auto& [name, value] : trainer->optimizer().state()) all.push_back(*value);
    return all;
  }
};

bool are_identical(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  return std::ranges::equal(a, b, is_identical);
}

constexpr double small_target = 0.125;
constexpr double large_target = 1000.0;

// A layer whose gradients are NaN.
class Poison final : public Layer {
 public:
  Poison() : Layer({"Poison", "", {}, {}, true}) {}
  Shape output_shape(const Shape& shape) const override { return shape; }
  std::string configuration() const override { return "poison"; }
  std::unique_ptr<Tape> make_tape() const override { return std::make_unique<Tape>(); }
  void forward(const TensorView& x, const MutableTensorView& y, const Call&) override {
    std::ranges::copy(x.values<float>(), y.values<float>().begin());
  }
  void backward(Tape&, const TensorView&, const MutableTensorView& dx, Gradients) override {
    if (!dx.is_null()) std::ranges::fill(dx.values<float>(), std::nanf(""));
  }

 private:
  void do_create(const Shape&) override {}
};

}  // namespace

TEST_CASE("a power of 2 as scale changes no bit of a training in float32", "[train]") {
  const Averaging averaging = GENERATE(Averaging::samples, Averaging::ranks);
  const SyntheticBlobs data({.num_samples = 30, .num_classes = 3, .num_features = 4});
  const auto trained = [&](std::optional<LossScaling> loss_scaling) {
    Sequential model{Strategy(Communicator::world())};
    model.add(Dense({.units = 5}));
    // Grids of exact sums lag behind a scale that changes.
    model.add(SyncBatchNormalization({.statistics = Statistics::fast}));
    model.add(Dense({.units = 3}));
    Trainer trainer(model, Adam({.clip_norm = 0.5}), SparseCategoricalCrossentropy{},
                    {.averaging = averaging, .loss_scaling = loss_scaling});
    trainer.fit(data, {.epochs = 2, .batch_size = 8});
    return values_of(model.variables());
  };
  const auto plain = trained(std::nullopt);
  REQUIRE_ON_ALL_RANKS(Communicator::world(), trained(LossScaling{}) == plain);
  REQUIRE_ON_ALL_RANKS(Communicator::world(),
                       trained(LossScaling{.initial_scale = 4.0, .growth_interval = 2}) == plain);
}

TEST_CASE("an overflow on one rank leaves all ranks as they were and halves the scale", "[train]") {
  const int num_ranks = Communicator::world().size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  Regression r;
  const double target = r.world.rank() == guilty ? large_target : small_target;
  r.step(small_target);  // so that the optimizer has moments
  for (Variable* variable :
       {&r.model.variable("dense_1/kernel"), &r.model.variable("dense_1/bias")})
    variable->assign(Tensor(variable->shape()));
  const auto before = r.state();
  double scale = 0x1p15;
  for (int i = 1; i <= 10; ++i) {
    const StepRecord record = r.step(target);
    REQUIRE_ON_ALL_RANKS(r.world, record.is_skipped && record.loss_scale == scale);
    REQUIRE_ON_ALL_RANKS(r.world, record.step == i && record.training.num_samples > 0);
    REQUIRE_ON_ALL_RANKS(r.world, are_identical(r.state(), before));
    scale /= 2.0;
    REQUIRE_ON_ALL_RANKS(r.world, r.trainer->loss_scale() == scale);
  }
  const StepRecord record = r.step(target);
  REQUIRE_ON_ALL_RANKS(r.world, !record.is_skipped && record.loss_scale == 32.0);
  REQUIRE_ON_ALL_RANKS(r.world, !are_identical(r.state(), before));
  REQUIRE_ON_ALL_RANKS(r.world, r.trainer->optimizer().num_steps() == 2);
  for (const Tensor& tensor : r.state())
    REQUIRE_ON_ALL_RANKS(
        r.world,
        is_same_on_all_ranks(r.world, std::span(static_cast<const std::byte*>(tensor.data()),
                                                static_cast<std::size_t>(tensor.num_elements()) *
                                                    size_of(tensor.dtype()))));
}

TEST_CASE("no function of the user's sees gradients that overflowed", "[train]") {
  int num_calls = 0;
  const ConstraintFunction count{.name = "count",
                                 .project = [&](std::span<double>, const Shape&) { ++num_calls; }};
  Regression r({}, count);
  REQUIRE_ON_ALL_RANKS(r.world, r.step(large_target).is_skipped);
  REQUIRE_ON_ALL_RANKS(r.world, num_calls == 0);
  while (r.step(large_target).is_skipped) {
  }
  REQUIRE_ON_ALL_RANKS(r.world, num_calls == 1);
}

TEST_CASE("the scale grows after enough good steps in a row", "[train]") {
  Regression r({.loss_scaling = LossScaling{
                    .initial_scale = 64.0, .growth_factor = 4.0, .growth_interval = 3}});
  const auto scales_after = [&](double target, int num_steps) {
    std::vector<double> scales;
    for (int i = 0; i < num_steps; ++i) {
      r.step(target);
      scales.push_back(r.trainer->loss_scale());
    }
    return scales;
  };
  REQUIRE_ON_ALL_RANKS(
      r.world, scales_after(small_target, 4) == std::vector<double>({64.0, 64.0, 256.0, 256.0}));
  REQUIRE_ON_ALL_RANKS(r.world, scales_after(large_target, 1) == std::vector<double>({128.0}));
  REQUIRE_ON_ALL_RANKS(r.world,
                       scales_after(small_target, 3) == std::vector<double>({128.0, 128.0, 512.0}));
  const Tensor nothing(Shape{0, 3}, DType::float16);
  for (int i = 0; i < 9; ++i) r.trainer->step(nothing, Tensor(Shape{0, 1}));
  REQUIRE_ON_ALL_RANKS(r.world, r.trainer->loss_scale() == 512.0);
}

TEST_CASE("only models of float16 scale when nothing is said", "[train]") {
  for (const DType dtype : {DType::float16, DType::bfloat16, DType::float32, DType::float64}) {
    Sequential model({.dtype = dtype}, Strategy(Communicator::world()));
    model.add(Dense({.units = 1}));
    Trainer trainer(model, Sgd(), MeanSquaredError{});
    CHECK(trainer.loss_scale() == (dtype == DType::float16 ? 0x1p15 : 1.0));
    const StepRecord& record = trainer.step(Tensor({2, 2}, dtype), Tensor(Shape{2, 1}));
    CHECK(record.loss_scale.has_value() == (dtype == DType::float16));
    CHECK_FALSE(record.is_skipped);
  }
}

TEST_CASE("a gradient too small for float16 survives with a scale only", "[train]") {
  const auto kernel_gradient = [](double scale) {
    Sequential model({.dtype = DType::float16}, Strategy(Communicator::world()));
    model.add(Dense({.units = 1, .use_bias = false, .kernel_initializer = Zeros{}}));
    Trainer trainer(model, Sgd(), MeanSquaredError{},
                    {.loss_scaling = LossScaling{.initial_scale = scale, .growth_factor = 1.0}});
    trainer.step(to_float16(filled({1, 1}, 1.0)), filled({1, 1}, 0x1p-27));
    return model.variable("dense/kernel").grad().values<float>()[0];
  };
  REQUIRE_ON_ALL_RANKS(Communicator::world(), kernel_gradient(1.0) == 0.0F);
  REQUIRE_ON_ALL_RANKS(Communicator::world(), kernel_gradient(0x1p15) == -0x1p-26F);
}

TEST_CASE("gradients that no scale makes finite are an error on all ranks", "[train]") {
  const Communicator world = Communicator::world();
  Sequential model{Strategy(Communicator::world())};
  model.add(Dense({.units = 2}));
  model.add(Poison());
  Trainer trainer(model, Sgd(), MeanSquaredError{},
                  {.loss_scaling = LossScaling{.initial_scale = 1.0, .backoff_factor = 0x1p-12}});
  const Tensor x({2, 2}), targets({2, 2});
  for (int i = 0; i < 3; ++i) REQUIRE_ON_ALL_RANKS(world, trainer.step(x, targets).is_skipped);
  const auto before = values_of(model.variables());
  const Caught caught = caught_from([&] { trainer.step(x, targets); });
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::non_finite) && caught.origin);
  REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught.what));
  REQUIRE_ON_ALL_RANKS(world, values_of(model.variables()) == before);
}

TEST_CASE("loss scaling sends nothing more, and repeated steps allocate nothing", "[train]") {
  Regression r;
  r.step(small_target);
  r.step(small_target);
  for (const double target : {small_target, large_target}) {
    const Tensor targets = filled({4, 1}, target);
    const std::int64_t num_messages = num_collectives();
    const std::int64_t before = num_allocations();
    r.trainer->step(r.x, targets);
    const std::int64_t after = num_allocations();
    const std::int64_t num_sent = num_collectives() - num_messages;
    // Infinity makes a range round of the gradients' sums.
    const std::int64_t expected = target == large_target ? 5 : 3;
    REQUIRE_ON_ALL_RANKS(r.world, after == before);
    REQUIRE_ON_ALL_RANKS(r.world, num_sent == (r.world.is_solo() ? 0 : expected));
  }
}

TEST_CASE("impossible loss scaling is refused on all ranks before the first step", "[train]") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const Communicator world = Communicator::world();
  const auto refusal_of = [](const LossScaling& loss_scaling) {
    return caught_from([&] { Regression({.loss_scaling = loss_scaling}).step(small_target); });
  };
  std::vector<LossScaling> impossible;
  for (const double scale : {0.0, -1.0, 0x1p-25, 0x1p128, nan, infinity})
    impossible.push_back({.initial_scale = scale});
  for (const double factor : {0.5, nan, infinity}) impossible.push_back({.growth_factor = factor});
  for (const double factor : {0.0, -0.5, 1.0, nan})
    impossible.push_back({.backoff_factor = factor});
  impossible.push_back({.growth_interval = 0});
  for (const LossScaling& options : impossible)
    REQUIRE_ON_ALL_RANKS(world, refusal_of(options).is(ErrorCode::argument));
  if (world.is_solo()) return;
  const Caught caught = refusal_of({.initial_scale = world.rank() == 1 ? 2.0 : 1.0});
  REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world, caught.what.find("loss scaling") != std::string::npos);
}
