// A model whose groups of ranks have learned statistics apart becomes one model again.

#include "lockstep/model/merge_statistics.hpp"

#include <vector>

#include "lockstep/layers/activation.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "support/close.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

const Call training{.mode = Mode::training};

const Strategy& strategy() {
  static const Strategy world{Communicator::world()};
  return world;
}
const Communicator& ranks() { return strategy().replicas(); }

BatchNormalizationOptions in_groups_of(int size) {
  return {.momentum = std::nullopt, .synchronized = true, .synchronization_group = BySize{size}};
}

Sequential model_with(const std::vector<BatchNormalizationOptions>& normalizations,
                      const Strategy& replicas) {
  Sequential model({.dtype = DType::float64, .seed = 3}, replicas);
  for (const BatchNormalizationOptions& options : normalizations) {
    model.add(Dense({.units = 5}));
    model.add(BatchNormalization(options));
    model.add(Activation({.function = ActivationFunction::tanh}));
  }
  model.add(Dense({.units = 2}));
  model.build({1, 4});
  return model;
}

// Rows of rank r, of which there are r + 1.
std::int64_t first_row_of(int rank) { return rank * (rank + 1) / 2; }

bool is_same_on_all_ranks(const Tensor& tensor) {
  return testing::is_same_on_all_ranks(ranks(), std::as_bytes(tensor.values<double>()));
}

}  // namespace

TEST_CASE("merged, groups that saw parts of the data are one process that saw all of it") {
  const int rank = ranks().rank();
  const std::int64_t total = first_row_of(ranks().size());
  const Tensor x = random_tensor({total, 4}, 1);
  const Tensor other_x = random_tensor({7, 4}, 2);
  Sequential alone = model_with({in_groups_of(1)}, Strategy());
  alone.forward(x, training);
  const Tensor expected = alone.predict(other_x);
  for (int size = 1; size <= ranks().size(); ++size) {
    Sequential model = model_with({in_groups_of(size)}, strategy());
    model.forward(TensorView(x).rows(first_row_of(rank), rank + 1), training);
    const bool is_one_before = is_same_on_all_ranks(model.predict(other_x));
    CHECK(is_one_before == (size == ranks().size()));
    merge_statistics(model);
    const Tensor predictions = model.predict(other_x);
    REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(predictions));
    REQUIRE_ON_ALL_RANKS(ranks(),
                         distance(predictions.values<double>(), expected.values<double>()) < 1e-13);
  }
}

TEST_CASE("all layers of a model are merged, each over the groups of its own") {
  Sequential model = model_with(
      {in_groups_of(1), {.momentum = 0.5}, in_groups_of(2), in_groups_of(ranks().size())},
      strategy());
  for (std::uint64_t step = 0; step < 3; ++step)
    model.forward(random_tensor({ranks().rank() + 2, 4}, 10 * step + 3), training);
  merge_statistics(model);
  const Tensor x = random_tensor({6, 4}, 2);
  REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(model.predict(x)));
}

TEST_CASE("a model that is not built has no statistics to merge") {
  Sequential model({.name = "net"}, strategy());
  model.add(BatchNormalization());
  const Caught caught = caught_from([&] { merge_statistics(model); });
  CHECK(caught.is(ErrorCode::state));
  CHECK_THAT(caught.what, Catch::Contains("'net'") && Catch::Contains("build()"));
}
