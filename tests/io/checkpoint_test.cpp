// A training that goes on from a file is one that was never interrupted, bit for bit.

#include "lockstep/io/checkpoint.hpp"

#include "base/bytes.hpp"
#include "io/checkpoint_models.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/io/safetensors.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/model/merge_statistics.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/layers.hpp"
#include "support/mpi.hpp"
#include "support/shared_folder.hpp"
#include "support/variables.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

std::vector<TrainingOptions> all_trainings() {
  return {{},
          {.uses_adam = true, .dtype = DType::float64},
          {.synchronized = false},
          {.group_size = 2},
          {.renorm = false, .zero_debias = true},
          {.renorm = false, .dtype = DType::float16}};
}

std::vector<double> losses_of(const History& history) {
  std::vector<double> losses;
  for (const EpochRecord& epoch : history.epochs)
    losses.insert(losses.end(), {epoch.training.loss, epoch.training.metrics[0],
                                 epoch.validation->loss, epoch.validation->metrics[0]});
  return losses;
}

}  // namespace

TEST_CASE("N steps, a checkpoint and N more are 2 N steps bit for bit", "[io]") {
  const SharedFolder folder(ranks());
  for (const TrainingOptions& options : all_trainings())
    // Within an epoch, before its rest, at its end, and in a later one; an epoch has 5 steps.
    for (const std::int64_t num_steps : {3, 4, 5, 7}) {
      Training unbroken(options);
      unbroken.run(num_steps);
      save_checkpoint(*unbroken.trainer, folder / "half");
      const auto losses = losses_of(unbroken.run(2 * num_steps));

      TrainingOptions others = options;  // the file knows better
      others.learning_rate = 0.5;
      others.seed = 6;
      Training resumed(others);
      load_checkpoint(*resumed.trainer, folder / "half");
      REQUIRE_ON_ALL_RANKS(ranks(), resumed.trainer->num_steps() == num_steps);
      const auto resumed_losses = losses_of(resumed.run(2 * num_steps));
      REQUIRE_ON_ALL_RANKS(ranks(), resumed.bits() == unbroken.bits());
      REQUIRE_ON_ALL_RANKS(ranks(), resumed_losses == losses);
      save_checkpoint(*unbroken.trainer, folder / "unbroken");
      save_checkpoint(*resumed.trainer, folder / "resumed");
      REQUIRE_ON_ALL_RANKS(ranks(),
                           content_of(folder / "unbroken") == content_of(folder / "resumed"));
    }
}

TEST_CASE("what was loaded is what was saved, whatever the trainer did before", "[io]") {
  const SharedFolder folder(ranks());
  for (const TrainingOptions& options : all_trainings()) {
    Training first(options), second(options);
    first.run(3);
    save_checkpoint(*first.trainer, folder / "file");
    second.run(8);
    REQUIRE_ON_ALL_RANKS(ranks(), second.bits() != first.bits());
    load_checkpoint(*second.trainer, folder / "file");
    REQUIRE_ON_ALL_RANKS(ranks(), second.bits() == first.bits());
    REQUIRE_ON_ALL_RANKS(ranks(), second.trainer->num_epochs() == 0);
  }
}

TEST_CASE("a checkpoint changes nothing of the training", "[io]") {
  const SharedFolder folder(ranks());
  for (const TrainingOptions& options : all_trainings()) {
    Training saved(options), plain(options);
    saved.run(4);
    const auto before = saved.bits();
    save_checkpoint(*saved.trainer, folder / "file");
    REQUIRE_ON_ALL_RANKS(ranks(), saved.bits() == before);
    saved.run(6);
    plain.run(4);
    plain.run(6);
    REQUIRE_ON_ALL_RANKS(ranks(), saved.bits() == plain.bits());
  }
}

TEST_CASE("ranks in other groups take over what all have learned together", "[io]") {
  const SharedFolder folder(ranks());
  Training apart({.synchronized = false, .renorm = false});
  apart.run(4);
  save_checkpoint(*apart.trainer, folder / "file");
  merge_statistics(apart.model);
  for (const TrainingOptions& other :
       {TrainingOptions{.renorm = false}, TrainingOptions{.group_size = 2, .renorm = false}}) {
    Training together(other);
    load_checkpoint(*together.trainer, folder / "file");
    for (const std::string name : {"moving_mean", "moving_variance"}) {
      Variable& theirs = apart.model.layer("batch_normalization").variable(name);
      Variable& ours = together.model.layer("batch_normalization").variable(name);
      const bool is_equal =
          is_identical(Tensor::copy_of(theirs.value()), Tensor::copy_of(ours.value()));
      REQUIRE_ON_ALL_RANKS(ranks(), is_equal);
    }
    // Counts are those of all ranks, once.
    std::vector<double> counts(1, 0.0);
    auto& normalization =
        dynamic_cast<BatchNormalization&>(together.model.layer("batch_normalization"));
    if (normalization.statistics_group().rank() == 0)
      counts[0] = normalization.variable("num_elements").value().values<double>()[0];
    allreduce(ranks(), std::span(counts), Reduction::sum);
    const double seen = (3 * 10 + 10) * 36.0;
    REQUIRE_ON_ALL_RANKS(ranks(), counts[0] == Approx(seen));
    together.run(6);  // goes on
  }
}

TEST_CASE("everything that does not fit is named at once, and nothing is loaded", "[io]") {
  const SharedFolder folder(ranks());
  Training training({.renorm = false});
  training.run(3);
  save_checkpoint(*training.trainer, folder / "file");

  Sequential other({.seed = 3}, Strategy(Communicator::world()));
  other.add(Dense({.units = 5, .name = "conv2d"}));
  other.add(Dense({.units = 6, .name = "new"}));
  other.build({1, 3});
  Trainer trainer(other, Adam(), SparseCategoricalCrossentropy{});
  const auto before = values_of(other.variables());
  const Caught caught = caught_from([&] { load_checkpoint(trainer, folder / "file"); });
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(ranks(), caught.is(ErrorCode::data));
  REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(ranks(), caught));
  for (const std::string part :
       {"missing: ", "new/kernel", "new/bias", "optimizer:conv2d/kernel/first_moment",
        "unexpected: ", "batch_normalization.weight", "dense_1.bias", "state:batch_normalization",
        "optimizer:dense/kernel/velocity", "'conv2d/bias' is float32 [4], expected float32 [5]"})
    REQUIRE_ON_ALL_RANKS(ranks(), caught.what.find(part) != std::string::npos);
  REQUIRE_ON_ALL_RANKS(ranks(), values_of(other.variables()) == before);
  REQUIRE_ON_ALL_RANKS(ranks(), trainer.num_steps() == 0);
}

TEST_CASE("only a checkpoint of lockstep's is resumed", "[io]") {
  const SharedFolder folder(ranks());
  Training training;
  training.run(3);
  const auto before = training.bits();
  save_weights(training.model, folder / "weights");
  folder.on_rank_zero([&] {
    set_content(folder / "foreign", std::string("\2\0\0\0\0\0\0\0{}", 10));
    set_content(folder / "damaged", "nonsense");
  });
  const auto reason_for = [&](const std::string& name) {
    const Caught caught = caught_from([&] { load_checkpoint(*training.trainer, folder / name); });
    REQUIRE_ON_ALL_RANKS(ranks(), caught.is(ErrorCode::data));
    REQUIRE_ON_ALL_RANKS(ranks(), is_same_on_all_ranks(ranks(), caught));
    REQUIRE_ON_ALL_RANKS(ranks(), training.bits() == before);
    return caught.what;
  };
  using Catch::Matchers::Contains;
  CHECK_THAT(reason_for("weights"), Contains("but a file of weights"));
  CHECK_THAT(reason_for("foreign"), Contains("but a file of another program"));
  CHECK_THAT(reason_for("damaged"), Contains("cannot be read as safetensors"));
  CHECK_THAT(reason_for("missing"), Contains("No such file"));
}

TEST_CASE("numbers that no training has are refused", "[io]") {
  const SharedFolder folder(ranks());
  Training training;
  training.run(3);
  save_checkpoint(*training.trainer, folder / "file");
  const auto before = training.bits();
  const auto refuse = [&](const std::string& name, const Tensor& value) {
    folder.on_rank_zero([&] {
      TensorFile content = read_safetensors(folder / "file");
      content.tensors[name] = value;
      write_safetensors(folder / "changed", content);
    });
    const Caught caught =
        caught_from([&] { load_checkpoint(*training.trainer, folder / "changed"); });
    INFO(caught.what);
    REQUIRE_ON_ALL_RANKS(ranks(), caught.is(ErrorCode::data));
    REQUIRE_ON_ALL_RANKS(ranks(), caught.what.find(name) != std::string::npos);
    REQUIRE_ON_ALL_RANKS(ranks(), training.bits() == before);
  };
  const auto integers = [](std::vector<std::int64_t> values) {
    return Tensor::of(std::span<const std::int64_t>(values), {std::ssize(values)});
  };
  const auto doubles = [](std::vector<double> values) {
    return Tensor::of(std::span<const double>(values), {std::ssize(values)});
  };
  refuse("trainer:num_steps", integers({-1}));
  refuse("trainer:num_steps", integers({1, 2}));
  refuse("trainer:num_steps", doubles({1}));
  refuse("trainer:position", integers({-1, 0}));
  refuse("trainer:position", integers({0, 44}));
  refuse("optimizer:learning_rate", doubles({NAN, 1, 1}));
  refuse("optimizer:learning_rate", doubles({0.1, 0.5, 0.5}));
  refuse("optimizer:learning_rate", doubles({0.1, 0.5, 1e300}));
  refuse("trainer:nonsense", integers({1}));
}

TEST_CASE("a state is one of a model that is built and has no deferred updates", "[io]") {
  const SharedFolder folder(ranks());
  Sequential model(Strategy{Communicator::world()});
  model.add(BatchNormalization({.updates = Updates::deferred, .mode = Mode::training}));
  Trainer trainer(model, Sgd(), MeanSquaredError{});
  const auto save = [&] { return caught_from([&] { save_checkpoint(trainer, folder / "file"); }); };
  REQUIRE_ON_ALL_RANKS(ranks(), save().is(ErrorCode::state));
  const Tensor x({4, 3}), targets({4, 3});
  trainer.step(x, targets);
  const Caught deferred = save();
  REQUIRE_ON_ALL_RANKS(ranks(), deferred.is(ErrorCode::state));
  REQUIRE_ON_ALL_RANKS(ranks(), deferred.what.find("deferred") != std::string::npos);
  model.apply_updates();
  REQUIRE_ON_ALL_RANKS(ranks(), save().what.empty());
}
