// What a gradient becomes of sums, and that sums over different samples are never mixed.

#include "layers/deliver.hpp"

#include <array>
#include <limits>
#include <vector>

#include "lockstep/base/error.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

namespace lockstep {
namespace {

using testing::Caught;
using testing::caught_from;
using testing::gradients_of;
using testing::is_identical;
using testing::random_tensor;

constexpr std::array scopes{GradientScope::local, GradientScope::global};
constexpr std::array dtypes{DType::float32, DType::float64};

GradientScope other(GradientScope scope) {
  return scope == GradientScope::local ? GradientScope::global : GradientScope::local;
}

Variable parameter_with(const std::vector<double>& gradient, GradientScope scope,
                        DType dtype = DType::float64) {
  Variable parameter("bn/gamma", Tensor({static_cast<std::int64_t>(gradient.size())}, dtype),
                     VariableRole::parameter);
  deliver(gradient, Gradients::overwrite, parameter, scope);
  return parameter;
}

Caught caught_from_require(const Variable& parameter, Gradients gradients, GradientScope scope) {
  return caught_from([&] { require_same_scope(parameter, gradients, scope); });
}

TEST_CASE("deliver: sums are rounded once, and tell whose samples they are about") {
  const double tiny = std::numeric_limits<float>::epsilon() / 4.0;
  for (const GradientScope scope : scopes) {
    Variable parameter = parameter_with({1.0, -2.0}, other(scope), DType::float32);
    deliver(std::vector{tiny, 3.0 + tiny}, Gradients::accumulate, parameter, scope);
    CHECK(parameter.grad().values<float>()[0] == 1.0F);
    CHECK(parameter.grad().values<float>()[1] == static_cast<float>(1.0 + tiny));
    CHECK(parameter.gradient_scope() == scope);
    deliver(std::vector{tiny, 3.0}, Gradients::overwrite, parameter, other(scope));
    CHECK(parameter.grad().values<float>()[0] == static_cast<float>(tiny));
    CHECK(parameter.grad().values<float>()[1] == 3.0F);
    CHECK(parameter.gradient_scope() == other(scope));
  }
}

TEST_CASE("gradient scopes: what overwrites, or is of the same scope, may always come") {
  const std::vector<double> gradient{1.0, std::numeric_limits<double>::quiet_NaN()};
  for (const GradientScope present : scopes) {
    const Variable parameter = parameter_with(gradient, present);
    for (const GradientScope scope : scopes)
      CHECK_NOTHROW(require_same_scope(parameter, Gradients::overwrite, scope));
    CHECK_NOTHROW(require_same_scope(parameter, Gradients::accumulate, present));
  }
}

TEST_CASE("gradient scopes: zeros take a gradient of any scope") {
  for (const GradientScope present : scopes)
    for (const DType dtype : dtypes)
      for (const auto& zeros : {std::vector<double>{}, {0.0}, {0.0, -0.0, 0.0}})
        CHECK_NOTHROW(require_same_scope(parameter_with(zeros, present, dtype),
                                         Gradients::accumulate, other(present)));
  const Variable statistic("bn/moving_mean", Tensor({3}), VariableRole::statistic);
  CHECK_NOTHROW(require_same_scope(statistic, Gradients::accumulate, GradientScope::global));
}

TEST_CASE("gradient scopes: one element that is not zero refuses a gradient of the other scope") {
  constexpr double smallest = std::numeric_limits<float>::denorm_min();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  for (const GradientScope present : scopes)
    for (const DType dtype : dtypes)
      for (const double value : {-1.0, smallest, nan})
        for (std::size_t position = 0; position < 3; ++position) {
          std::vector<double> gradient(3, 0.0);
          gradient[position] = value;
          const Variable parameter = parameter_with(gradient, present, dtype);
          const Caught caught =
              caught_from_require(parameter, Gradients::accumulate, other(present));
          CHECK(caught.is(ErrorCode::state));
          CHECK(parameter.gradient_scope() == present);
        }
}

TEST_CASE("gradient scopes: the error says which variable, both scopes and the way out") {
  const Caught caught = caught_from_require(parameter_with({1.0}, GradientScope::local),
                                            Gradients::accumulate, GradientScope::global);
  CHECK(caught.what ==
        "variable 'bn/gamma': its gradient is local (this rank's samples), and one that is global "
        "(all ranks' samples) cannot be accumulated to it; use Gradients::overwrite, or sum the "
        "local one over the ranks first");
}

// A layer of parameters whose gradients are local refuses to add them to global ones, wherever
// that would be, and changes nothing then.
void check_local_layer(Layer& layer, const Shape& input_shape) {
  layer.build(input_shape);
  const auto tape = layer.make_tape();
  const Call call{.mode = Mode::training, .tape = tape.get()};
  const Tensor x = random_tensor(input_shape, 1);
  const Tensor y = testing::output_of(layer, x, call);
  const Tensor dy = random_tensor(y.shape(), 2);
  for (Variable* merged : layer.variables()) {
    layer.backward(*tape, dy, {});
    merged->set_gradient_scope(GradientScope::global);
    const std::vector<Tensor> before = gradients_of(layer);
    Tensor dx(x.shape(), x.dtype());
    const Caught caught =
        caught_from([&] { layer.backward(*tape, dy, dx, Gradients::accumulate); });
    CHECK(caught.is(ErrorCode::state));
    CHECK_THAT(caught.what, Catch::Contains("'" + merged->name() + "'"));
    for (std::size_t i = 0; i < before.size(); ++i)
      CHECK(is_identical(gradients_of(layer)[i], before[i]));
    CHECK(is_identical(dx, Tensor(x.shape(), x.dtype())));

    layer.backward(*tape, dy, dx);
    for (const Variable* variable : layer.variables())
      CHECK(variable->gradient_scope() == GradientScope::local);
  }
}

TEST_CASE("gradient scopes: layers with local gradients keep them apart from global ones") {
  Dense dense({.units = 3, .dtype = DType::float64});
  check_local_layer(dense, {4, 2});
  Conv2D conv2d({.filters = 2, .kernel_size = {2, 2}, .dtype = DType::float64});
  check_local_layer(conv2d, {2, 3, 3, 2});
}

}  // namespace
}  // namespace lockstep
