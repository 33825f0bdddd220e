// Replicas that differ in a single bit are found, and the rank that differs is named.

#include "lockstep/train/drift_check.hpp"

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/residual.hpp"
#include "lockstep/train/synthetic.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"
#include "train/blobs.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

const Communicator& world() {
  static const Strategy ranks{Communicator::world()};
  return ranks.replicas();
}

// Normalizations of all ranks, of pairs, within a block, and of each rank alone.
struct Run {
  Sequential model{{.dtype = DType::float32}, Strategy(Communicator::world())};
  std::unique_ptr<Trainer> trainer;

  Run() {
    model.add(Dense({.units = 5, .name = "first"}));
    model.add(SyncBatchNormalization({.name = "all"}));
    model.add(SyncBatchNormalization({.synchronization_group = BySize{2}, .name = "pairs"}));
    Residual block({.name = "block"});
    block.add_main(Dense({.units = 5}))
        .add_main(SyncBatchNormalization({.synchronization_group = BySize{2}}));
    model.add(std::move(block));
    model.add(BatchNormalization({.name = "alone"}));
    model.add(Dense({.units = 3, .name = "last"}));
    trainer = std::make_unique<Trainer>(model, Adam(), SparseCategoricalCrossentropy{});
    trainer->fit(blobs(), {.batch_size = 10});
  }

  Caught caught() {
    return caught_from([&] { check_replicas(*trainer); });
  }
};

void flip_bit(const MutableTensorView& tensor) {
  std::byte& last = bytes_of(tensor).back();
  last ^= std::byte{1};
}

Tensor& slot_of(Optimizer& optimizer, const std::string& name) {
  for (const auto& [slot, value] : optimizer.state())
    if (slot == name) return *value;
  throw std::logic_error("no slot " + name);
}

std::string rank_list(int guilty, int first, int last) {
  std::string text;
  for (int rank = first; rank < last; ++rank)
    if (rank != guilty) text += (text.empty() ? "" : ", ") + std::to_string(rank);
  return text;
}

}  // namespace

TEST_CASE("replicas that are equal pass, though ranks have statistics of their own") {
  Run run;
  REQUIRE_ON_ALL_RANKS(world(), run.caught().what.empty());
  const std::int64_t before = num_collectives();
  check_replicas(*run.trainer);
  const std::int64_t num_sent = num_collectives() - before;
  // The last rank of an odd number has no pair, and nothing to say to it.
  const int own_pair = world().rank() / 2 * 2;
  const bool has_pair = world().size() > 2 && own_pair + 1 < world().size();
  const std::int64_t expected = world().is_solo() ? 0 : has_pair ? 4 : 2;
  REQUIRE_ON_ALL_RANKS(world(), num_sent == expected);
}

TEST_CASE("one bit of one rank is enough, wherever it is") {
  if (world().is_solo()) return;
  const std::string variables[] = {"first/kernel",    "last/bias",           "all/gamma",
                                   "all/moving_mean", "all/moving_variance", "pairs/beta"};
  for (int guilty = 0; guilty < world().size(); ++guilty)
    for (const std::string& name : variables) {
      Run run;
      if (world().rank() == guilty) flip_bit(run.model.variable(name).value());
      const Caught caught = run.caught();
      INFO(caught.what);
      REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::mismatch));
      REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
      const int size = world().size();
      const bool has_majority = size > 2;
      REQUIRE_ON_ALL_RANKS(world(), caught.rank() == (has_majority ? guilty : 0));
      const std::string named = has_majority ? "'" + name + "' of rank " + std::to_string(guilty) +
                                                   " differs from that of ranks " +
                                                   rank_list(guilty, 0, size) + "; 1 of "
                                             : "'" + name + "' differs between ranks 0, 1; 1 of ";
      REQUIRE_ON_ALL_RANKS(world(), caught.what.find(named) != std::string::npos);
      if (world().rank() == guilty) flip_bit(run.model.variable(name).value());
      REQUIRE_ON_ALL_RANKS(world(), run.caught().what.empty());
    }
}

TEST_CASE("statistics of a group are compared within it, those of each rank not at all") {
  for (int guilty = 0; guilty < world().size(); ++guilty)
    for (const std::string name :
         {"pairs/moving_mean", "block/batch_normalization/moving_variance", "alone/moving_mean"}) {
      Run run;
      if (world().rank() == guilty) flip_bit(run.model.variable(name).value());
      const Caught caught = run.caught();
      INFO(caught.what);
      const int first = guilty / 2 * 2;
      const bool is_shared = name != "alone/moving_mean" && first + 1 < world().size();
      REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::mismatch) == is_shared);
      if (!is_shared) continue;
      const std::string named = "'" + name + "' differs between ranks " + std::to_string(first) +
                                ", " + std::to_string(first + 1) + "; 1 of ";
      REQUIRE_ON_ALL_RANKS(world(), caught.what.find(named) != std::string::npos);
      REQUIRE_ON_ALL_RANKS(world(), caught.rank() == first);
      REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
    }
}

TEST_CASE("what the optimizer remembers is compared too, and the first tensor is named") {
  if (world().is_solo()) return;
  Run run;
  const int guilty = world().size() - 1;
  if (world().rank() == guilty) {
    flip_bit(slot_of(run.trainer->optimizer(), "last/kernel/second_moment"));
    flip_bit(slot_of(run.trainer->optimizer(), "first/bias/first_moment"));
  }
  const Caught caught = run.caught();
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world(), caught.what.find("'first/bias/first_moment'") != std::string::npos);
  REQUIRE_ON_ALL_RANKS(world(), caught.what.find("; 2 of ") != std::string::npos);
}

TEST_CASE("a run checks every so many steps, and callbacks may") {
  // Flips a bit on the last rank after a step, checks at the end of epochs if asked.
  class Drifting final : public Callback {
   public:
    Drifting(std::int64_t step, bool checks) : step_(step), checks_(checks) {}
    void on_step_end(Trainer& trainer, const StepRecord& record) override {
      if (record.step == step_ && world().rank() == world().size() - 1)
        flip_bit(trainer.model().variable("last/bias").value());
    }
    void on_epoch_end(Trainer& trainer, const EpochRecord&) override {
      if (checks_) check_replicas(trainer);
    }

   private:
    std::int64_t step_;
    bool checks_;
  };
  if (world().is_solo()) return;
  for (const bool checks : {true, false}) {
    Run run;  // 3 steps
    const auto drifting = std::make_shared<Drifting>(4, checks);
    const auto fit = [&](std::int64_t interval) {
      run.trainer->fit(
          blobs(),
          {.epochs = 2, .batch_size = 10, .drift_check = interval, .callbacks = {drifting}});
    };
    const Caught caught = caught_from([&] { fit(checks ? 0 : 4); });
    INFO(caught.what);
    REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::mismatch));
    REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
    REQUIRE_ON_ALL_RANKS(world(), run.trainer->num_steps() == (checks ? 6 : 8));
    REQUIRE_ON_ALL_RANKS(world(), caught.origin->step == run.trainer->num_steps());
  }
  Run run;
  CHECK_THROWS_AS(run.trainer->fit(blobs(), {.drift_check = -1}), ArgumentError);
  CHECK_THROWS_AS(run.trainer->fit(blobs(), {.drift_check = world().rank()}), MismatchError);
}

TEST_CASE("callbacks that meet after steps, and at the end, may check") {
  class Checking final : public Callback {
   public:
    void on_step_end(Trainer& trainer, const StepRecord& record) override {
      if ((record.step + 1) % 2 != 0) return;
      check_replicas(trainer);
      ++num_checks;
    }
    void on_fit_end(Trainer& trainer, const History&) override {
      check_replicas(trainer);
      ++num_checks;
    }
    std::int64_t meeting_interval() const noexcept override { return 2; }
    int num_checks = 0;
  };
  Run run;  // 3 steps
  const auto checking = std::make_shared<Checking>();
  run.trainer->fit(blobs(), {.epochs = 2, .batch_size = 10, .callbacks = {checking}});
  REQUIRE_ON_ALL_RANKS(world(), checking->num_checks == 4);
  if (world().is_solo()) return;
  if (world().rank() == 1) flip_bit(run.model.variable("last/bias").value());
  const Caught caught =
      caught_from([&] { run.trainer->fit(blobs(), {.batch_size = 10, .callbacks = {checking}}); });
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::mismatch));
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
  REQUIRE_ON_ALL_RANKS(world(), run.trainer->num_steps() == 10);
}

TEST_CASE("a model that is not built has no replicas to compare") {
  Sequential model{Strategy(Communicator::world())};
  model.add(Dense({.units = 2}));
  Trainer trainer(model, Sgd(), MeanSquaredError{});
  CHECK_THROWS_AS(check_replicas(trainer), StateError);
}
