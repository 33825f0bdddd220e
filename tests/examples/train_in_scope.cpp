// The training runtime: a model made within a strategy's scope trains on all ranks. MPI is left to
// lockstep; this program is compiled and linked without it.

#include <lockstep/lockstep.hpp>

#include <cstdio>
#include <exception>

namespace ls = lockstep;

int main(int argc, char** argv) try {
  const ls::Environment mpi(argc, argv);
  const ls::Strategy strategy{ls::Communicator::world()};
  const ls::Strategy::Scope scope = strategy.scope();

  ls::Sequential model;
  model.add(ls::Dense({.units = 16}));
  model.add(ls::BatchNormalization({.synchronized = true}));
  model.add(ls::Dense({.units = 3}));

  const ls::SyntheticBlobs data({.num_samples = 300, .num_classes = 3});
  ls::Trainer trainer(model, ls::Sgd({.learning_rate = 0.1, .momentum = 0.9}),
                      ls::SparseCategoricalCrossentropy{},
                      {.metrics = {std::make_shared<ls::SparseCategoricalAccuracy>()}});
  trainer.fit(data, {.epochs = 5, .batch_size = 32});
  const ls::Scores scores = trainer.evaluate(data);
  if (strategy.rank() == 0)
    std::printf("%s\n%d ranks: loss %.3f, accuracy %.3f\n", model.summary().c_str(),
                strategy.num_replicas(), scores.loss, scores.metrics[0]);
  return scores.metrics[0] > 0.95 ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
