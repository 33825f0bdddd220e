// A rank that fails while a data set is measured: the same error everywhere, the model as before.

#include <algorithm>
#include <array>
#include <stdexcept>
#include <vector>

#include "lockstep/layers/dense.hpp"
#include "lockstep/train/population_statistics.hpp"
#include "lockstep/train/synthetic.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

const Strategy& strategy() {
  static const Strategy replicas{Communicator::world()};
  return replicas;
}
const Communicator& world() { return strategy().replicas(); }

// Throws, on one rank, when it is read, or asked for its shape, for the nth time.
class FragileData final : public Dataset {
 public:
  std::int64_t num_samples() const noexcept override { return blobs_.num_samples(); }
  Shape input_shape() const override {
    count_down(num_shapes_left);
    return blobs_.input_shape();
  }
  Shape target_shape() const override { return {}; }
  DType input_dtype() const noexcept override { return DType::float32; }
  DType target_dtype() const noexcept override { return DType::int64; }

  mutable int num_reads_left = -1;  // negative: it never fails
  mutable int num_shapes_left = -1;

 private:
  static void count_down(int& left) {
    if (left >= 0 && left-- == 0) throw std::runtime_error("boom");
  }
  void do_read(std::span<const std::int64_t> indices, const MutableTensorView& inputs,
               const MutableTensorView& targets) const override {
    count_down(num_reads_left);
    blobs_.read(indices, inputs, targets);
  }
  SyntheticBlobs blobs_{{.num_samples = 30, .num_classes = 3, .num_features = 4}};
};

// Passes numbers through; throws at its nth forward in training mode.
class Trap final : public Layer {
 public:
  explicit Trap(int& num_calls_left)
      : Layer({"Trap", "", {}, {}, true}), num_calls_left_(num_calls_left) {}
  Shape output_shape(const Shape& shape) const override { return shape; }
  std::string configuration() const override { return "trap"; }
  std::unique_ptr<Tape> make_tape() const override { return std::make_unique<Tape>(); }
  void forward(const TensorView& x, const MutableTensorView& y, const Call&) override {
    if (num_calls_left_ >= 0 && num_calls_left_-- == 0) throw std::runtime_error("boom");
    std::ranges::copy(x.values<double>(), y.values<double>().begin());
  }
  void backward(Tape&, const TensorView& dy, const MutableTensorView& dx, Gradients) override {
    if (!dx.is_null()) std::ranges::copy(dy.values<double>(), dx.values<double>().begin());
  }

 private:
  void do_create(const Shape&) override {}
  int& num_calls_left_;
};

// A trap before, between and after two normalizations.
struct TrappedModel {
  explicit TrappedModel(const BatchNormalizationOptions& options) {
    model.add(Trap(num_calls_left[0]));
    model.add(BatchNormalization(options));
    model.add(Trap(num_calls_left[1]));
    model.add(Dense({.units = 3}));
    model.add(BatchNormalization(options));
    model.add(Trap(num_calls_left[2]));
    model.build({1, 4});
  }

  std::array<int, 3> num_calls_left{-1, -1, -1};
  Sequential model{{.dtype = DType::float64}, strategy()};
};

// Ranks that merge everything, nothing, or each other's in parts.
std::vector<BatchNormalizationOptions> groupings() {
  return {{.synchronized = true},
          {.synchronized = false},
          {.synchronized = true, .synchronization_group = BySize{2}}};
}

// What all ranks must have caught of a failure of rank `guilty`.
void require_boom(const Caught& caught, int guilty) {
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::foreign));
  REQUIRE_ON_ALL_RANKS(world(), caught.what.find("boom") != std::string::npos);
  REQUIRE_ON_ALL_RANKS(world(), caught.rank() == guilty);
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
}

}  // namespace

TEST_CASE("a rank that fails in any batch is named by all ranks, and no bit has changed") {
  for (const BatchNormalizationOptions& options : groupings())
    for (int guilty = 0; guilty < world().size(); ++guilty)
      for (const int batch : {0, 1, 2})
        for (const int where : {0, 1, 2, 3}) {
          TrappedModel trapped(options);
          const FragileData data;
          const std::vector<double> before = values_of(trapped.model.variables());
          int& num_left = where == 3 ? data.num_reads_left
                                     : trapped.num_calls_left[static_cast<std::size_t>(where)];
          if (world().rank() == guilty) num_left = batch;
          const auto measured = [&] {
            return population_statistics(trapped.model, data, {.batch_size = 12});
          };
          const Caught caught = caught_from([&] { static_cast<void>(measured()); });
          require_boom(caught, guilty);
          REQUIRE_ON_ALL_RANKS(world(), caught.origin->step == batch);
          REQUIRE_ON_ALL_RANKS(world(), values_of(trapped.model.variables()) == before);
          // The next pass is as good as the first would have been.
          REQUIRE_ON_ALL_RANKS(world(), measured()[0].count == std::vector<double>(4, 30.0));
        }
}

TEST_CASE("a data set that fails before the first batch is an error on all ranks") {
  TrappedModel trapped({.synchronized = true});
  const FragileData data;
  const int guilty = world().size() - 1;
  if (world().rank() == guilty) data.num_shapes_left = 0;
  require_boom(caught_from([&] { static_cast<void>(population_statistics(trapped.model, data)); }),
               guilty);
}

TEST_CASE("ranks that ask for different things are told so") {
  if (world().is_solo()) return;
  TrappedModel trapped({.synchronized = true});
  const FragileData data;
  const auto caught_with = [&](const PopulationOptions& options) {
    return caught_from(
        [&] { static_cast<void>(population_statistics(trapped.model, data, options)); });
  };
  for (const Caught& caught : {caught_with({.batch_size = 8 + world().rank()}),
                               caught_with({.drop_remainder = world().rank() == 1})}) {
    REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::mismatch));
    REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
  }
  Trainer trainer(trapped.model, Sgd(), SparseCategoricalCrossentropy());
  const Caught other = caught_from([&] {
    if (world().rank() == 0)
      static_cast<void>(trainer.evaluate(data));
    else
      static_cast<void>(population_statistics(trapped.model, data));
  });
  REQUIRE_ON_ALL_RANKS(world(), other.is(ErrorCode::mismatch));
}

TEST_CASE("impossible options, and ghost batches that do not divide, end before the first batch") {
  struct Case {
    BatchNormalizationOptions layer;
    PopulationOptions options;
    const char* text;
  };
  const int size = world().size();
  for (const auto& [layer, options, text] :
       {Case{{}, {.batch_size = 0}, "batch_size"},
        Case{{.virtual_batch_size = 4}, {.batch_size = 6 * size}, "virtual_batch_size 4"},
        Case{{.virtual_batch_size = 7}, {.batch_size = 7 * size}, "virtual_batch_size 7"}}) {
    Sequential model({.dtype = DType::float64}, strategy());
    model.add(BatchNormalization(layer));
    model.build({1, 4});
    const FragileData data;
    data.num_reads_left = 0;
    const Caught caught =
        caught_from([&] { static_cast<void>(population_statistics(model, data, options)); });
    INFO(caught.what);
    REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::argument));
    REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
    REQUIRE_ON_ALL_RANKS(world(), caught.what.find(text) != std::string::npos);
  }
}

TEST_CASE("a model that is not built, or takes other samples, cannot be measured") {
  const FragileData data;
  Sequential unbuilt({.name = "net"}, strategy());
  unbuilt.add(BatchNormalization());
  const auto caught_from_pass = [&](Sequential& model) {
    return caught_from([&] { static_cast<void>(population_statistics(model, data)); });
  };
  REQUIRE_ON_ALL_RANKS(world(), caught_from_pass(unbuilt).is(ErrorCode::state));
  for (const BatchNormalizationOptions& options : groupings()) {
    Sequential other({.dtype = DType::float64}, strategy());
    other.add(BatchNormalization(options));
    other.build({1, 5});
    REQUIRE_ON_ALL_RANKS(world(), caught_from_pass(other).is(ErrorCode::argument));
  }
}

TEST_CASE("the callback may fail on any rank, or before it, and fit() ends alike on all") {
  class Boom final : public Callback {
   public:
    void on_epoch_end(Trainer&, const EpochRecord&) override { throw std::runtime_error("boom"); }
  };
  const int guilty = world().size() - 1;
  for (const bool is_before : {false, true}) {
    TrappedModel trapped({.synchronized = true});
    const FragileData training, fragile;
    const bool is_guilty = world().rank() == guilty;
    Trainer trainer(trapped.model, Sgd(), SparseCategoricalCrossentropy());
    FitOptions options{.batch_size = 10};
    if (is_before && is_guilty) options.callbacks.push_back(std::make_shared<Boom>());
    if (!is_before && is_guilty) fragile.num_reads_left = 0;
    options.callbacks.push_back(std::make_shared<PreciseStatistics>(fragile));
    require_boom(caught_from([&] { trainer.fit(training, options); }), guilty);
    fragile.num_reads_left = -1;
    options.callbacks.erase(options.callbacks.begin(), options.callbacks.end() - 1);
    REQUIRE_NOTHROW(trainer.fit(training, options));
    const std::vector<double> state = values_of(trapped.model.variables());
    REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), std::as_bytes(std::span(state))));
  }
}
