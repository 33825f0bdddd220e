// A rank that fails in a layer inside of a residual block, while a model trains.

#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/residual.hpp"
#include "lockstep/train/synthetic.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"
#include "support/trap.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

struct Place {
  int trap;  // in the order of forward
  Pass pass;
};
std::optional<Place> armed;  // on the guilty rank only

Trap trap(int number) {
  return Trap([number](Pass pass) {
    if (!armed || armed->trap != number || armed->pass != pass) return;
    armed.reset();
    throw std::runtime_error("boom");
  });
}

// Traps before, between and after all batch normalizations of a block, of which there are three.
Sequential trapped_model() {
  const BatchNormalizationOptions norm{.synchronized = true};
  Residual block({.activation = ActivationFunction::relu, .name = "block"});
  block.add_shortcut(trap(0)).add_shortcut(Dense({.units = 3, .normalizer = norm}));
  block.add_shortcut(trap(1));
  block.add_main(Dense({.units = 5, .normalizer = norm})).add_main(trap(2));
  block.add_main(Dense({.units = 3})).add_main(BatchNormalization(norm));
  Sequential model({.dtype = DType::float64}, Strategy(Communicator::world()));
  model.add(SyncBatchNormalization({}));
  model.add(std::move(block));
  model.add(trap(3));
  return model;
}

std::vector<double> state_of(Trainer& trainer) {
  std::vector<double> all = values_of(trainer.model().variables());
  for (const auto& [name, value] : trainer.optimizer().state())
    if (value->dtype() == DType::float64)
      for (const double slot : value->values<double>()) all.push_back(slot);
  return all;
}

}  // namespace

TEST_CASE("a rank that throws inside of a block is named by all ranks; training goes on",
          "[train]") {
  const Communicator world = Communicator::world();
  const int num_ranks = world.size();
  const int guilty = GENERATE_COPY(range(0, num_ranks));
  const SyntheticBlobs data({.num_samples = 30, .num_classes = 3, .num_features = 4});
  const FitOptions options{.epochs = 1, .batch_size = 12};
  Sequential model = trapped_model();
  Trainer trainer(model, Sgd({.learning_rate = 0.1, .momentum = 0.9}),
                  SparseCategoricalCrossentropy{});
  trainer.fit(data, options);
  for (int number = 0; number < 4; ++number)
    for (const Pass pass : {Pass::forward, Pass::backward}) {
      const auto before = state_of(trainer);
      if (world.rank() == guilty) armed = Place{number, pass};
      const Caught caught = caught_from([&] { trainer.fit(data, options); });
      INFO(caught.what);
      REQUIRE_ON_ALL_RANKS(world, caught.is(ErrorCode::foreign));
      REQUIRE_ON_ALL_RANKS(world, caught.what.find("boom") != std::string::npos);
      REQUIRE_ON_ALL_RANKS(
          world,
          caught.what.find(number < 3 ? "layer 'block/trap" : "layer 'trap'") != std::string::npos);
      REQUIRE_ON_ALL_RANKS(world, caught.rank() == guilty);
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, caught));
      REQUIRE_ON_ALL_RANKS(world, state_of(trainer) == before);

      trainer.fit(data, options);
      const auto after = state_of(trainer);
      REQUIRE_ON_ALL_RANKS(world, after != before);
      REQUIRE_ON_ALL_RANKS(world, is_same_on_all_ranks(world, std::as_bytes(std::span(after))));
    }
}
