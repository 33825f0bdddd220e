// The memory of what passes between the layers of a model: shared where it can be, and without any
// effect on the numbers.

#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "base/convert.hpp"
#include "layers/every_layer.hpp"
#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/flatten.hpp"
#include "lockstep/model/sequential.hpp"
#include "lockstep/params/variable_store.hpp"
#include "model/toy_layers.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/layers.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

// Where the tensors of calls were.
struct Places {
  std::vector<std::pair<const void*, const void*>> forward;   // input, output
  std::vector<std::pair<const void*, const void*>> backward;  // output's gradient, input's
};

// Passes on what it gets, in place or not, and tells where.
class Witness final : public Layer {
 public:
  Witness(Places& places, bool is_in_place)
      : Layer({.type = "Witness", .name = {}, .input_shape = {}, .dtype = {}}),
        places_(&places),
        is_in_place_(is_in_place) {}

  Shape output_shape(const Shape& shape) const override { return shape; }
  std::string configuration() const override { return "witness"; }
  std::unique_ptr<Tape> make_tape() const override { return std::make_unique<Tape>(); }
  bool works_in_place() const noexcept override { return is_in_place_; }
  void forward(const TensorView& x, const MutableTensorView& y, const Call&) override {
    places_->forward.emplace_back(x.data(), y.data());
    convert(x, y);
  }
  void backward(Tape&, const TensorView& dy, const MutableTensorView& dx, Gradients) override {
    places_->backward.emplace_back(dy.data(), dx.data());
    if (!dx.is_null()) convert(dy, dx);
  }

 private:
  void do_create(const Shape&) override {}

  Places* places_;
  bool is_in_place_;
};

bool is_shared(const std::pair<const void*, const void*>& places) {
  return places.first == places.second;
}

Tensor random_as(DType dtype, const Shape& shape, std::uint64_t seed) {
  Tensor result(shape, dtype);
  convert(random_tensor(shape, seed), result);
  return result;
}

// A layer of the example behind others that leave it the same shape, between layers in place.
Sequential model_around(const Example& example, DType dtype) {
  Sequential model({.dtype = dtype, .seed = 5});
  model.add(BatchNormalization()).add(BatchNormalization({.axis = 1}));
  model.add(example.make(dtype));
  model.add(BatchNormalization({.activation = ActivationFunction::sigmoid}));
  model.add(Flatten()).add(BatchNormalization());
  model.build(example.sample_shape.prepended(1));
  return model;
}

struct Results {
  Tensor inferred, output, input_gradient;
  std::vector<Tensor> gradients;

  bool is(const Results& other) const {
    bool result = is_identical(inferred, other.inferred) && is_identical(output, other.output) &&
                  is_identical(input_gradient, other.input_gradient);
    for (std::size_t i = 0; i < gradients.size(); ++i)
      result = result && is_identical(gradients[i], other.gradients[i]);
    return result;
  }
};

std::vector<Tensor> gradients_of(Sequential& model) {
  std::vector<Tensor> gradients;
  for (const Variable* variable : model.variables())
    if (variable->role() == VariableRole::parameter)
      gradients.push_back(Tensor::copy_of(variable->grad()));
  return gradients;
}

const Call training{.mode = Mode::training, .commit = Commit::by_caller, .step = 3};

Results results_of(Sequential& model, const Tensor& x, const Tensor& dy) {
  Results results;
  results.output = model.forward(x, training);
  results.inferred = model.predict(x);
  results.input_gradient = Tensor(x.shape(), x.dtype());
  model.backward(dy, Gradients::overwrite, results.input_gradient);
  results.gradients = gradients_of(model);
  return results;
}

// The same by the layers one after another, every tensor in memory of its own.
Results apart_results_of(Sequential& model, const Tensor& x, const Tensor& dy) {
  Results results;
  results.inferred = x;
  for (Layer* layer : model.layers())
    results.inferred = output_of(*layer, results.inferred, {.mode = Mode::inference});
  std::vector<Tensor> activations{x};
  activations.reserve(model.layers().size() + 1);  // tapes refer to them
  std::vector<std::unique_ptr<Tape>> tapes;
  Call call = training;
  for (Layer* layer : model.layers()) {
    tapes.push_back(layer->make_tape());
    call.tape = tapes.back().get();
    activations.push_back(output_of(*layer, activations.back(), call));
  }
  results.output = activations.back();
  Tensor gradient = dy;
  for (std::size_t i = tapes.size(); i-- > 0;)
    gradient = input_gradient_of(*model.layers()[i], *tapes[i], gradient, activations[i].shape());
  results.input_gradient = gradient;
  results.gradients = gradients_of(model);
  return results;
}

}  // namespace

TEST_CASE("outputs lie over inputs and gradients over gradients where layers allow it") {
  Places shared, apart;
  Sequential model({.dtype = DType::float64});
  model.add(Witness(shared, true)).add(Twice()).add(Witness(shared, true)).add(Flatten());
  model.add(Witness(apart, false)).add(Witness(shared, true));
  model.build({1, 3});
  const Tensor x = random_tensor({4, 3}, 1);
  const Tensor kept_x = x;
  const Tensor dy = random_tensor({4, 6}, 2);
  const Tensor kept_dy = dy;
  Tensor dx({4, 3}, DType::float64);

  static_cast<void>(model.predict(x));
  REQUIRE(shared.forward.size() == 3);
  CHECK(!is_shared(shared.forward[0]));  // the caller's input
  CHECK(is_shared(shared.forward[1]));
  CHECK(is_shared(shared.forward[2]));
  CHECK(!is_shared(apart.forward[0]));
  CHECK(is_identical(x, kept_x));

  shared.forward.clear();
  model.forward(x, training);
  for (const auto& places : shared.forward) CHECK(!is_shared(places));  // backward needs both
  model.backward(dy, Gradients::overwrite, dx);
  REQUIRE(shared.backward.size() == 3);
  CHECK(!is_shared(shared.backward[0]));  // the caller's gradient
  CHECK(is_shared(shared.backward[1]));
  CHECK(!is_shared(shared.backward[2]));  // to the caller
  CHECK(shared.backward[2].second == dx.data());
  CHECK(!is_shared(apart.backward[0]));
  CHECK(is_identical(dy, kept_dy));
}

TEST_CASE("activations of a training call lie one behind the other") {
  Places places;
  Sequential model({.dtype = DType::float64});
  for (int i = 0; i < 5; ++i) model.add(Witness(places, true));
  model.build({1, 3});
  for (const std::int64_t size : {8, 2, 100, 8}) {
    places.forward.clear();
    const Tensor x = random_tensor({size, 3}, 1);
    model.forward(x, training);
    const std::int64_t distance = (size * 3 * 8 + 63) / 64 * 64;
    for (std::size_t i = 1; i + 2 < places.forward.size(); ++i)
      CHECK(static_cast<const std::byte*>(places.forward[i].second) -
                static_cast<const std::byte*>(places.forward[i - 1].second) ==
            distance);
  }
}

TEST_CASE("shared memory changes no bit, whatever the layers") {
  for (const DType dtype : {DType::float32, DType::float64, DType::float16, DType::bfloat16})
    for (const Example& example : every_layer()) {
      INFO(example.name << " in " << name_of(dtype));
      Sequential model = model_around(example, dtype);
      Sequential apart = model_around(example, dtype);
      for (const std::int64_t size : {6, 2, 9, 0}) {
        const Tensor x = random_as(dtype, example.sample_shape.prepended(size), 1);
        Shape shape = x.shape();
        for (const Layer* layer : model.layers()) shape = layer->output_shape(shape);
        const Tensor dy = random_as(dtype, shape, 2);
        CHECK(results_of(model, x, dy).is(apart_results_of(apart, x, dy)));
      }
    }
}

TEST_CASE("outputs that a collection shows stay what the layer gave", "[model]") {
  const VariableStore store;
  Sequential model;
  {
    const auto scope = store.scope();
    model.add(
        BatchNormalization({.dtype = DType::float64, .scope = {.outputs_collections = {"shown"}}}));
    model.add(Activation({.function = ActivationFunction::relu, .dtype = DType::float64}));
    model.add(BatchNormalization({.dtype = DType::float64}));
    model.build({4, 3});
  }
  BatchNormalization alone({.dtype = DType::float64});
  alone.build({4, 3}, Communicator());
  for (const Mode mode : {Mode::training, Mode::inference})
    for (const std::int64_t num_rows : {2, 64, 5}) {
      const Tensor x = random_tensor({num_rows, 3}, 1);
      model.forward(x, {.mode = mode});
      const TensorView shown = store.outputs("shown").front().value;
      CHECK(is_identical(Tensor::copy_of(shown), output_of(alone, x, {.mode = mode})));
    }
  Tensor bad = random_tensor({100, 3}, 1);
  bad.values<double>()[0] = std::numeric_limits<double>::quiet_NaN();
  const Tensor before = Tensor::copy_of(store.outputs("shown").front().value);
  CHECK_THROWS(model.forward(bad, {.mode = Mode::training}));
  CHECK(is_identical(Tensor::copy_of(store.outputs("shown").front().value), before));
}

TEST_CASE("a class made of a layer that works in place does not", "[model]") {
  class Sum final : public BatchNormalization {
   public:
    using BatchNormalization::BatchNormalization;
  };
  CHECK(BatchNormalization().works_in_place());
  CHECK_FALSE(Sum().works_in_place());
}
