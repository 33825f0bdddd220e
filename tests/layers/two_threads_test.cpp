// What two threads that use one layer at once hear.

#include <array>
#include <string>
#include <thread>

#include "lockstep/layers/batch_normalization.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

namespace lockstep {
namespace {

using testing::Caught;
using testing::caught_from;

Tensor tensor_of(double value) { return Tensor::of<double>(std::array{value}, {1}); }

bool is_refused(const Caught& caught) {
  return caught.is(ErrorCode::state) &&
         caught.what.find("two threads use one layer") != std::string::npos;
}

TEST_CASE("two threads: the second one in a call is refused, and the first one goes on") {
  const Shape shape{4, 3};
  const Tensor input = testing::random_tensor(shape, 1),
               gradient = testing::random_tensor(shape, 2);
  Tensor output(shape, DType::float64), other(shape, DType::float64);
  Tensor input_gradient(shape, DType::float64);
  BatchNormalization* layer = nullptr;
  BatchNormalizationTape tape, recorded;
  Caught of_forward, of_inference, of_backward;
  const auto meanwhile = [&](const Shape&) {
    std::thread([&] {
      of_forward = caught_from(
          [&] { layer->forward(input, other, {.mode = Mode::training, .tape = &recorded}); });
      of_inference = caught_from([&] { layer->forward(input, other, {.mode = Mode::inference}); });
      of_backward = caught_from([&] { layer->backward(recorded, gradient, input_gradient); });
    }).join();
    return Adjustment{tensor_of(1.0), tensor_of(0.0)};
  };
  BatchNormalization adjusted({.adjustment = meanwhile, .dtype = DType::float64});
  BatchNormalization plain({.dtype = DType::float64});
  adjusted.build(shape, Communicator());
  plain.build(shape, Communicator());
  layer = &adjusted;

  adjusted.forward(input, output, {.mode = Mode::training, .tape = &tape});
  CHECK(is_refused(of_forward));
  CHECK(is_refused(of_inference));
  CHECK(is_refused(of_backward));
  adjusted.backward(tape, gradient, input_gradient);

  plain.forward(input, other, {.mode = Mode::training});
  REQUIRE(testing::is_identical(output, other));
}

}  // namespace
}  // namespace lockstep
