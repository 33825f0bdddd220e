// What the networks of the command reach on real handwritten digits, on one, two and three ranks.

#include <array>
#include <cmath>
#include <numeric>

#include "lockstep/io/idx_folder.hpp"
#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/conv2d.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/flatten.hpp"
#include "lockstep/layers/max_pool2d.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

void add_normalized_relu(Sequential& model) {
  model.add(SyncBatchNormalization({.momentum = 0.9, .epsilon = 1e-3}));
  model.add(Activation({.function = ActivationFunction::relu}));
}

void add_mlp(Sequential& model) {
  model.add(Flatten());
  for (int i = 0; i < 2; ++i) {
    model.add(Dense({.units = 64}));
    add_normalized_relu(model);
  }
}

void add_cnn(Sequential& model) {
  for (const std::int64_t filters : {16, 32}) {
    model.add(Conv2D({.filters = filters, .kernel_size = {3, 3}, .padding = Padding::same}));
    add_normalized_relu(model);
  }
  model.add(MaxPool2D());
  model.add(Flatten());
}

using AddLayers = void (*)(Sequential&);

// Mean test accuracy over five seeds, trained by all ranks of `group`.
double mean_accuracy(AddLayers add_layers, const LabelledImages& digits, Communicator group) {
  const Strategy strategy(std::move(group));
  constexpr std::uint64_t num_seeds = 5;
  double sum = 0.0;
  for (std::uint64_t seed = 0; seed < num_seeds; ++seed) {
    Sequential model({.seed = seed}, strategy);
    add_layers(model);
    model.add(Dense({.units = 10}));
    Trainer trainer(model, Sgd({.learning_rate = 0.05, .momentum = 0.9}),
                    SparseCategoricalCrossentropy(),
                    {.metrics = {std::make_shared<SparseCategoricalAccuracy>()}});
    trainer.fit(digits.training, {.epochs = 20, .batch_size = 64, .seed = seed});
    sum += trainer.evaluate(digits.test).metrics[0];
  }
  return sum / num_seeds;
}

// Ranks 0 to 2 are cut into groups of 1 and 2, then train together: three rank counts in one job.
void check_accuracy(AddLayers add_layers, double least) {
  const Communicator world = Communicator::world();
  REQUIRE_ON_ALL_RANKS(world, world.size() == 3);
  const LabelledImages digits = read_idx_folder(LOCKSTEP_DIGITS_FOLDER);
  const double on_three = mean_accuracy(add_layers, digits, world.dup());
  const double on_fewer = mean_accuracy(add_layers, digits, world.split(world.rank() == 0 ? 0 : 1));
  std::array<double, 3> accuracies{world.rank() == 0 ? on_fewer : 0.0,
                                   world.rank() == 1 ? on_fewer : 0.0,
                                   world.rank() == 1 ? on_three : 0.0};
  allreduce(world, accuracies, Reduction::sum);
  INFO("mean test accuracy on 1, 2, 3 ranks: " << accuracies[0] << ", " << accuracies[1] << ", "
                                               << accuracies[2]);
  for (const double accuracy : accuracies) {
    REQUIRE_ON_ALL_RANKS(world, accuracy >= least);
    REQUIRE_ON_ALL_RANKS(world, std::abs(accuracy - accuracies[0]) <= 0.005);
  }
  WARN("mean test accuracy on 1, 2, 3 ranks: " << accuracies[0] << ", " << accuracies[1] << ", "
                                               << accuracies[2]);
}

}  // namespace

TEST_CASE("the MLP reads digits", "[io]") { check_accuracy(add_mlp, 0.925); }
TEST_CASE("the CNN reads digits", "[io]") { check_accuracy(add_cnn, 0.94); }
