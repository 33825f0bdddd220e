// The contract, whichever ranks share statistics: what one rank throws anywhere in a run all ranks
// throw alike, no bit has changed, and what comes next has the bits that it had without the
// failure.

#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "lockstep/layers/batch_normalization.hpp"
#include "lockstep/layers/dense.hpp"
#include "lockstep/layers/dropout.hpp"
#include "lockstep/layers/residual.hpp"
#include "lockstep/train/synthetic.hpp"
#include "lockstep/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/mpi.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

const Communicator& world() {
  static const Strategy ranks{Communicator::world()};
  return ranks.replicas();
}

// Where this rank throws when it comes there for the nth time; nowhere when empty.
std::string armed_place;
int num_left = 0;

void pass(const std::string& place) {
  if (place != armed_place || --num_left > 0) return;
  armed_place.clear();
  throw std::runtime_error("boom at " + place);
}

void arm(int guilty, const std::string& place, int nth) {
  armed_place = world().rank() == guilty ? place : "";
  num_left = nth;
}

class TrapLayer final : public Layer {
 public:
  explicit TrapLayer(std::string number)
      : Layer({"Trap", "", {}, {}, true}), number_(std::move(number)) {}
  Shape output_shape(const Shape& shape) const override { return shape; }
  std::string configuration() const override { return "trap"; }
  std::unique_ptr<Tape> make_tape() const override { return std::make_unique<Tape>(); }
  void forward(const TensorView& x, const MutableTensorView& y, const Call& call) override {
    pass((call.mode == Mode::training ? "forward " : "inference ") + number_);
    std::ranges::copy(x.values<float>(), y.values<float>().begin());
  }
  void backward(Tape&, const TensorView& dy, const MutableTensorView& dx, Gradients) override {
    pass("backward " + number_);
    if (!dx.is_null()) std::ranges::copy(dy.values<float>(), dx.values<float>().begin());
  }

 private:
  void do_create(const Shape&) override {}
  std::string number_;
};

class TrapLoss final : public Loss {
 public:
  std::string name() const override { return "trap"; }
  std::string configuration() const override { return "trap"; }
  double evaluate(const TensorView& predictions, const TensorView& targets,
                  const MutableTensorView& gradient) const override {
    pass(gradient.is_null() ? "loss in evaluation" : "loss");
    return loss_.evaluate(predictions, targets, gradient);
  }

 private:
  SparseCategoricalCrossentropy loss_;
};

class TrapMetric final : public Metric {
 public:
  std::string name() const override { return "trap"; }
  int num_sums() const noexcept override { return 1; }
  void add(const TensorView&, const TensorView&, std::span<double> sums) const override {
    pass("metric");
    sums[0] += 1.0;
  }
  double result(std::span<const double> sums) const noexcept override { return sums[0]; }
};

// Meets the others after every second step where `interval` says so.
class TrapCallback final : public Callback {
 public:
  void on_step_end(Trainer& trainer, const StepRecord& record) override {
    pass("step end");
    if (interval == 0 || (record.step + 1) % interval != 0) return;
    pass("meeting");
    static_cast<void>(trainer.evaluate(*data, 11));
  }
  std::int64_t meeting_interval() const noexcept override { return interval; }
  void on_epoch_end(Trainer& trainer, const EpochRecord&) override {
    pass("epoch end");
    static_cast<void>(trainer.evaluate(*data, 7));
  }
  void on_fit_end(Trainer& trainer, const History&) override {
    pass("fit end");
    static_cast<void>(trainer.evaluate(*data, 9));
  }
  const Dataset* data = nullptr;
  std::int64_t interval = 0;
};

// Its samples are far from zero, more so the later they come, so that centers jump.
class TrapData final : public Dataset {
 public:
  explicit TrapData(std::string name) : name_(std::move(name)) {}
  std::int64_t num_samples() const noexcept override { return points_.num_samples(); }
  Shape input_shape() const override { return points_.input_shape(); }
  Shape target_shape() const override { return {}; }
  DType input_dtype() const noexcept override { return DType::float32; }
  DType target_dtype() const noexcept override { return DType::int64; }

 private:
  void do_read(std::span<const std::int64_t> indices, const MutableTensorView& inputs,
               const MutableTensorView& targets) const override {
    pass(name_);
    points_.read(indices, inputs, targets);
    float* value = inputs.values<float>().data();
    for (const std::int64_t index : indices)
      for (int i = 0; i < 4; ++i, ++value) *value += static_cast<float>(index * index * 100);
  }
  std::string name_;
  SyntheticBlobs points_{{.num_samples = 40, .num_classes = 3, .num_features = 4}};
};

const TrapData& training_data() {
  static const TrapData data("data");
  return data;
}
const TrapData& validation_data() {
  static const TrapData data("validation data");
  return data;
}

// Which ranks share statistics, and how.
const std::map<std::string, BatchNormalizationOptions>& groupings() {
  static const std::map<std::string, BatchNormalizationOptions> all{
      {"all", {.synchronized = true}},
      {"fast", {.statistics = Statistics::fast, .synchronized = true}},
      {"pairs", {.synchronized = true, .synchronization_group = BySize{2}}},
      {"colors", {.synchronized = true, .synchronization_group = ByColor{world().rank() % 2}}},
      {"none", {.synchronized = false}},
      {"deferred", {.updates = Updates::deferred, .synchronized = true}},
      {"ghosts", {.virtual_batch_size = 2, .synchronized = true}},
      {"renorm", {.renorm = true, .synchronized = true}}};
  return all;
}

struct Run {
  Sequential model{{.dtype = DType::float32, .seed = 1}, Strategy(Communicator::world())};
  std::unique_ptr<Trainer> trainer;

  explicit Run(const BatchNormalizationOptions& normalization) {
    model.add(TrapLayer("0"));
    model.add(BatchNormalization(normalization));
    model.add(TrapLayer("1"));
    Residual block(ResidualOptions{});
    block.add_main(Dense({.units = 4, .normalizer = normalization})).add_main(TrapLayer("2"));
    model.add(std::move(block));
    model.add(Dropout({.rate = 0.2}));
    model.add(SyncBatchNormalization({}));  // of all ranks in any case
    model.add(Dense({.units = 3}));
    model.add(TrapLayer("3"));
    trainer = std::make_unique<Trainer>(
        model, Adam({.learning_rate = 0.01}), TrapLoss{},
        TrainerOptions{.metrics = {std::make_shared<TrapMetric>()}, .seed = 3});
  }
  Run(const Run&) = delete;

  void step(std::int64_t number) {
    std::vector<std::int64_t> samples;
    for (std::int64_t i = 0; i < 4; ++i)
      samples.push_back((9 * number + 4 * world().rank() + i) % 40);
    Tensor x({4, 4}), targets(Shape{4}, DType::int64);
    training_data().read(samples, x, targets);
    trainer->step(x, targets, samples);
  }

  // Every bit that a step changes, deferred updates included.
  std::vector<std::byte> state() {
    std::vector<std::byte> all;
    const auto add = [&](const TensorView& tensor) {
      const auto bytes = bytes_of(tensor);
      all.insert(all.end(), bytes.begin(), bytes.end());
    };
    for (const Variable* variable : model.variables()) add(variable->value());
    for (const auto& [name, value] : trainer->optimizer().state()) add(*value);
    const std::int64_t num_steps = trainer->num_steps();
    add(view(&num_steps, {1}));
    return all;
  }
};

void require_boom(const Caught& caught, int guilty, const std::string& place) {
  INFO(caught.what);
  REQUIRE_ON_ALL_RANKS(world(), caught.is(ErrorCode::foreign) && caught.rank() == guilty);
  REQUIRE_ON_ALL_RANKS(world(), caught.what.find("boom at " + place) != std::string::npos);
  REQUIRE_ON_ALL_RANKS(world(), is_same_on_all_ranks(world(), caught));
  REQUIRE_ON_ALL_RANKS(world(), armed_place.empty());
}

// First, middle and last rank.
std::vector<int> guilty_ranks() {
  std::vector<int> ranks{0};
  if (world().size() > 2) ranks.push_back(world().size() / 2);
  if (world().size() > 1) ranks.push_back(world().size() - 1);
  return ranks;
}

}  // namespace

TEST_CASE("a step that fails anywhere on one rank leaves no trace on any") {
  const std::string places[] = {"forward 0",  "forward 1",  "forward 2",  "forward 3",
                                "loss",       "metric",     "backward 3", "backward 2",
                                "backward 1", "backward 0", "data"};
  for (const auto& [name, options] : groupings()) {
    INFO(name);
    Run untouched(options);
    std::vector<std::vector<std::byte>> states;
    for (int i = 0; i < 4; ++i) {
      untouched.step(i);
      states.push_back(untouched.state());
    }
    untouched.model.apply_updates();
    for (const int guilty : guilty_ranks())
      for (const std::string& place : places) {
        Run run(options);
        run.step(0);
        run.step(1);
        for (int again = 0; again < 2; ++again) {
          arm(guilty, place, 1);
          require_boom(
              caught_from([&] {
                const auto failure = caught_from([&] { pass("data"); });
                if (!failure.what.empty())
                  run.trainer->fail(std::make_exception_ptr(std::runtime_error(failure.what)));
                run.step(2);
              }),
              guilty, place);
          REQUIRE_ON_ALL_RANKS(world(), run.state() == states[1]);
        }
        for (const std::size_t i : {2U, 3U}) {
          run.step(static_cast<std::int64_t>(i));
          REQUIRE_ON_ALL_RANKS(world(), run.state() == states[i]);
        }
        run.model.apply_updates();
        REQUIRE_ON_ALL_RANKS(world(), run.state() == untouched.state());
      }
  }
}

TEST_CASE("what fails within a run, or between its steps, keeps the last good step on all ranks") {
  struct Fault {
    std::string place;
    int nth;                 // on the guilty rank
    std::int64_t num_steps;  // that are made; an epoch has 4
  };
  // A callback's failure is told in the next step, or at the end of the epoch or run; that of one
  // that meets the others, at once.
  const Fault faults[] = {{"meeting", 1, 2},
                          {"meeting", 2, 4},
                          {"data", 1, 0},
                          {"data", 3, 2},
                          {"forward 2", 4, 3},
                          {"step end", 1, 1},
                          {"step end", 3, 3},
                          {"step end", 4, 4},
                          {"epoch end", 1, 4},
                          {"validation data", 1, 4},
                          {"inference 1", 2, 4},
                          {"loss in evaluation", 3, 4},
                          {"loss in evaluation", 7, 4},
                          {"fit end", 1, 8}};
  for (const auto& [name, options] : groupings()) {
    INFO(name);
    for (const int guilty : guilty_ranks())
      for (const Fault& fault : faults) {
        const auto callback = std::make_shared<TrapCallback>();
        callback->data = &validation_data();
        callback->interval = fault.place == "meeting" ? 2 : 0;
        FitOptions fit{.epochs = 2, .batch_size = 10, .validation = &validation_data()};
        fit.callbacks = {callback};
        Run run(options), untouched(options);
        arm(guilty, fault.place, fault.nth);
        require_boom(caught_from([&] { run.trainer->fit(training_data(), fit); }), guilty,
                     fault.place);
        REQUIRE_ON_ALL_RANKS(world(), run.trainer->num_steps() == fault.num_steps);
        fit.max_steps = fault.num_steps;
        untouched.trainer->fit(training_data(), fit);
        REQUIRE_ON_ALL_RANKS(world(), run.state() == untouched.state());
        for (int i = 0; i < 2; ++i) {
          run.step(i);
          untouched.step(i);
        }
        REQUIRE_ON_ALL_RANKS(world(), run.state() == untouched.state());
        REQUIRE_ON_ALL_RANKS(world(), run.trainer->evaluate(validation_data(), 6).loss ==
                                          untouched.trainer->evaluate(validation_data(), 6).loss);
      }
  }
}

TEST_CASE("a prediction that fails on one rank fails on all, and keeps what groups have learned") {
  for (const auto& [name, options] : groupings())
    for (const int guilty : guilty_ranks()) {
      INFO(name);
      Run run(options);
      run.step(0);
      const auto before = run.state();
      for (const std::string place : {"validation data", "inference 2"}) {
        arm(guilty, place, 1);
        require_boom(caught_from([&] { (void)run.trainer->predict(validation_data(), 4); }), guilty,
                     place);
        REQUIRE_ON_ALL_RANKS(world(), run.state() == before);
        REQUIRE_NOTHROW(run.trainer->predict(validation_data(), 4));
      }
    }
}
