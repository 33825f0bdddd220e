// A step of a model allocates nothing once the largest batch was seen, whatever the layers.

#include "support/allocations.hpp"

#include <cstdlib>
#include <utility>

#include "base/convert.hpp"
#include "layers/every_layer.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/flatten.hpp"
#include "lockstep/layers/max_pool2d.hpp"
#include "lockstep/model/loss.hpp"
#include "lockstep/model/sequential.hpp"
#include "lockstep/train/optimizer.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/gradients.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

// Numbers of the same calls for batches of at most 8 samples on every rank.
struct Course {
  Course(Sequential trained, const Shape& sample_shape)
      : model(std::move(trained)),
        trainer(model, Sgd({.learning_rate = 1e-3, .momentum = 0.9}),
                SparseCategoricalCrossentropy()),
        inputs(sample_shape.prepended(8), model.dtype()),
        targets({8}, DType::int64) {
    convert(random_tensor(inputs.shape(), 1), inputs);
  }

  std::int64_t num_allocations_of_step(std::int64_t size) {
    const TensorView x = TensorView(inputs).rows(0, size);
    const TensorView labels = TensorView(targets).rows(0, size);
    const std::int64_t before = num_allocations();
    trainer.step(x, labels);
    return num_allocations() - before;
  }

  std::int64_t num_allocations_of_inference(std::int64_t size) {
    const TensorView x = TensorView(inputs).rows(0, size);
    const std::int64_t before = num_allocations();
    model.forward(x, {.mode = Mode::inference});
    return num_allocations() - before;
  }

  Sequential model;
  Trainer trainer;
  Tensor inputs, targets;
};

// Other ranks have other numbers of samples, and at times none.
void require_steady(Course& course, const Communicator& world) {
  const std::int64_t rank = world.rank();
  for (int i = 0; i < 2; ++i) {
    static_cast<void>(course.num_allocations_of_step(8));
    static_cast<void>(course.num_allocations_of_inference(8));
  }
  for (const std::int64_t size : {8, 8}) {
    const std::int64_t in_step = course.num_allocations_of_step(size);
    const std::int64_t in_inference = course.num_allocations_of_inference(size);
    REQUIRE_ON_ALL_RANKS(world, in_step == 0);
    REQUIRE_ON_ALL_RANKS(world, in_inference == 0);
  }
  // Other sizes have other primitives of oneDNN, which are made once.
  for (int round = 0; round < 3; ++round)
    for (const std::int64_t size : {(rank + 1) % 3, std::int64_t{8}, std::int64_t{3}}) {
      const std::int64_t in_step = course.num_allocations_of_step(size);
      const std::int64_t in_inference = course.num_allocations_of_inference(size);
      REQUIRE_ON_ALL_RANKS(world, round == 0 || in_step == 0);
      REQUIRE_ON_ALL_RANKS(world, round == 0 || in_inference == 0);
    }
}

constexpr DType dtypes[] = {DType::float32, DType::float64, DType::float16, DType::bfloat16};

}  // namespace

TEST_CASE("a step of a model with any layer allocates nothing") {
  const Communicator world = Communicator::world();
  const Strategy strategy(world.dup());
  for (const DType dtype : dtypes)
    for (const Example& example : every_layer()) {
      if (example.allocates) continue;
      INFO(example.name << " in " << name_of(dtype));
      Sequential model({.dtype = dtype}, strategy);
      model.add(BatchNormalization({.synchronized = true})).add(example.make(dtype));
      model.add(BatchNormalization({.synchronized = true})).add(Flatten());
      model.add(Dense({.units = 5}));
      model.build(example.sample_shape.prepended(1));
      Course course(std::move(model), example.sample_shape);
      require_steady(course, world);
    }
}

// Products whose operands do not fit what Eigen takes from the stack.
TEST_CASE("a step of large layers allocates nothing") {
  const Communicator world = Communicator::world();
  const Strategy strategy(world.dup());
  for (const DType dtype : {DType::float32, DType::float64, DType::float16}) {
    INFO(name_of(dtype));
    const Shape image{24, 24, 16};
    Sequential model({.dtype = dtype}, strategy);
    model.add(Conv2D({.filters = 48, .kernel_size = {3, 3}}));
    model.add(BatchNormalization({.activation = ActivationFunction::relu, .synchronized = true}));
    model.add(MaxPool2D()).add(Flatten()).add(Dense({.units = 300})).add(Dense({.units = 10}));
    model.build(image.prepended(1));
    Course course(std::move(model), image);
    require_steady(course, world);
  }
}

TEST_CASE("the counter sees what the program takes by malloc") {
  const std::int64_t before = num_allocations();
  void* volatile memory = std::malloc(100);
  const std::int64_t count = num_allocations() - before;
  std::free(memory);
  CHECK(count == (counts_malloc() ? 1 : 0));
}
