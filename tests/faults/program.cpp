// Trains a small model on all ranks while one of them fails; started by suite.cpp.
//
//   program survive            all faults that the run survives; rank 0 prints a line for each
//   program end FAULT PLACE RANK FOLDER     one fault that ends the job
//   program calls FAULT RANK         ranks that call their layers differently

#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>
#include <stdexcept>

#include "faults/trap.hpp"
#include "lockstep/lockstep.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

using Clock = std::chrono::steady_clock;

Sequential trapped_model(const Strategy& strategy) {
  Sequential model({.dtype = DType::float32}, strategy);
  model.add(TrapLayer(0));
  model.add(Dense({.units = 6}));
  model.add(SyncBatchNormalization({.name = "first"}));
  model.add(TrapLayer(1));
  model.add(Dense({.units = 3}));
  model.add(SyncBatchNormalization({.name = "second"}));
  model.add(TrapLayer(2));
  return model;
}

struct Run {
  // With a folder it saves a checkpoint after every step.
  explicit Run(const Strategy& strategy, const std::string& folder = "")
      : model(trapped_model(strategy)),
        trainer(model, Sgd({.learning_rate = 0.1, .momentum = 0.9}), TrapLoss{}) {
    callbacks.push_back(std::make_shared<TrapCallback>());
    if (!folder.empty())
      callbacks.push_back(
          std::make_shared<Checkpoints>(CheckpointsOptions{.folder = folder, .save_every = 1}));
  }

  void fit() {
    trainer.fit(data, {.epochs = 1, .batch_size = 30, .validation = &data, .callbacks = callbacks});
  }

  TrapData data;
  Sequential model;
  Trainer trainer;
  std::vector<std::shared_ptr<Callback>> callbacks;
};

// What an update changes, as bytes.
std::vector<std::byte> state_of(Run& run) {
  std::vector<std::byte> all;
  const auto add = [&](const TensorView& tensor) {
    const auto* first = static_cast<const std::byte*>(tensor.data());
    all.insert(
        all.end(), first,
        first + tensor.shape().num_elements() * static_cast<std::int64_t>(size_of(tensor.dtype())));
  };
  for (const Variable* variable : run.model.variables()) add(variable->value());
  for (const auto& [name, value] : run.trainer.optimizer().state()) add(*value);
  return all;
}

bool is_same(const Communicator& world, std::span<const std::byte> bytes) {
  for (const auto& other : allgather_varying(world, bytes))
    if (!std::ranges::equal(other, bytes)) return false;
  return true;
}

bool holds_on_all(const Communicator& world, bool condition) {
  std::array<std::int64_t, 1> num_false{condition ? 0 : 1};
  allreduce(world, num_false, Reduction::sum);
  return num_false[0] == 0;
}

// First, middle and last rank; fewer where these are the same.
std::vector<int> guilty_ranks(int num_ranks) {
  if (num_ranks == 1) return {0};
  if (num_ranks == 2) return {0, 1};
  return {0, num_ranks / 2, num_ranks - 1};
}

// What is expected of one fault, and how it is made.
struct Case {
  std::string fault;
  std::string place;
  std::string name;                        // that the error must contain
  std::function<void()> body;              // throws on all ranks
  std::function<std::vector<std::byte>()>  // that must be the same afterwards
      state = {};
};

// One line: fault, place, rank, what held, seconds.
void judge(const Communicator& world, const Case& one, int guilty) {
  const auto before = one.state ? one.state() : std::vector<std::byte>{};
  const auto start = Clock::now();
  std::string message;
  bool is_guilty_known = false;
  try {
    one.body();
  } catch (const Error& error) {
    message = error.what();
    is_guilty_known = world.is_solo() || (error.is_agreed() && error.origin()->rank == guilty);
    // Where ranks differ from each other, the message names those that do.
    const std::string rank = "rank " + std::to_string(guilty);
    is_guilty_known = is_guilty_known || message.find(rank) != std::string::npos;
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  disarm();
  const bool is_detected =
      holds_on_all(world, !message.empty()) && is_same(world, std::as_bytes(std::span(message)));
  const bool is_rank_named = holds_on_all(world, is_guilty_known);
  const bool is_layer_named = holds_on_all(world, message.find(one.name) != std::string::npos);
  const bool is_kept = holds_on_all(world, !one.state || one.state() == before);
  if (world.rank() == 0)
    std::printf("%s\t%s\t%d\t%d\t%d\t%d\t%d\t%.3f\n", one.fault.c_str(), one.place.c_str(), guilty,
                is_detected, is_rank_named, is_layer_named, is_kept, seconds);
  if (world.rank() == 0 && !(is_detected && is_rank_named && is_layer_named && is_kept))
    std::fprintf(stderr, "%s, %s, rank %d: %s\n", one.fault.c_str(), one.place.c_str(), guilty,
                 message.c_str());
}

// Throws in every part of a run. What comes after the last update of a step keeps that step.
void survive_exceptions(const Strategy& strategy, Run& run, int guilty) {
  const Communicator& world = strategy.replicas();
  for (const std::string& place : places()) {
    const bool is_after_update =
        place == "evaluation" || place == "step end" || place == "epoch end";
    Case one{"exception", place, name_at(place), [&] {
               if (world.rank() == guilty)
                 arm({place, [] { throw std::runtime_error("it broke"); }});
               run.fit();
             }};
    if (!is_after_update) one.state = [&] { return state_of(run); };
    judge(world, one, guilty);
  }
}

void survive_values(const Strategy& strategy, Run& run, int guilty) {
  const Communicator& world = strategy.replicas();
  for (const double value : {std::nan(""), std::numeric_limits<double>::infinity()})
    judge(world,
          {std::isnan(value) ? "NaN" : "infinity", "data", "first",
           [&] {
             if (world.rank() == guilty) run.data.poison_next(value);
             run.fit();
           },
           [&] { return state_of(run); }},
          guilty);
}

// Two ranks that build different models.
void survive_differences(const Strategy& strategy, int guilty) {
  const Communicator& world = strategy.replicas();
  if (world.is_solo()) return;
  const auto add = [&](const char* fault, const char* name, auto change) {
    judge(world,
          {fault, "build", name,
           [&] {
             Sequential model({.dtype = DType::float32}, strategy);
             change(model, world.rank() == guilty);
             model.build({1, 4});
           }},
          guilty);
  };
  add("channels differ", "units", [](Sequential& model, bool is_guilty) {
    model.add(Dense({.units = is_guilty ? 7 : 6})).add(SyncBatchNormalization({}));
  });
  add("options differ", "epsilon", [](Sequential& model, bool is_guilty) {
    model.add(SyncBatchNormalization({.epsilon = is_guilty ? 1e-3 : 1e-5, .name = "one"}));
  });
  add("dtype differs", "dtype", [](Sequential& model, bool is_guilty) {
    model.add(SyncBatchNormalization({.dtype = is_guilty ? DType::float64 : DType::float32}));
  });
  add("layer order differs", "dropout", [](Sequential& model, bool is_guilty) {
    if (is_guilty) model.add(Dropout({.rate = 0.5}));
    model.add(Dense({.units = 4}));
    if (!is_guilty) model.add(Dropout({.rate = 0.5}));
  });
  add("layer left out", "layers", [](Sequential& model, bool is_guilty) {
    model.add(Dense({.units = 4}));
    if (!is_guilty) model.add(SyncBatchNormalization({}));
  });
}

// A shape that one rank alone feeds.
void survive_shapes(const Strategy& strategy, int guilty) {
  const Communicator& world = strategy.replicas();
  BatchNormalization layer = SyncBatchNormalization({.name = "one"});
  layer.build({1, 4}, world);
  const auto tape = layer.make_tape();
  for (const std::int64_t rows : {std::int64_t{0}, std::int64_t{3}}) {
    const bool is_guilty = world.rank() == guilty;
    const Tensor x(Shape{rows, is_guilty ? 5 : 4});
    Tensor y(x.shape());
    judge(world,
          {"channels of the input", rows == 0 ? "empty batch" : "forward", "one",
           [&] { layer.forward(x, y, {.mode = Mode::training, .tape = tape.get()}); }},
          guilty);
  }
}

int survive(const Strategy& strategy) {
  Run run(strategy);
  run.fit();
  for (const int guilty : guilty_ranks(strategy.num_replicas())) {
    survive_exceptions(strategy, run, guilty);
    survive_values(strategy, run, guilty);
    survive_differences(strategy, guilty);
    survive_shapes(strategy, guilty);
  }
  run.fit();
  const bool is_equal = is_same(strategy.replicas(), state_of(run));
  if (!is_equal) std::fprintf(stderr, "the replicas differ at the end\n");
  return is_equal ? 0 : 1;
}

[[noreturn]] void wait_forever() {
  for (;;) ::pause();
}

void end_by(const std::string& fault, std::optional<Environment>& environment) {
  if (fault == "killed") ::raise(SIGKILL);
  if (fault == "segfault") {
    ::signal(SIGSEGV, SIG_DFL);
    ::raise(SIGSEGV);
  }
  if (fault == "abort") std::abort();
  if (fault == "exit") std::_Exit(3);
  if (fault == "hang") wait_forever();
  if (fault == "stopped") ::raise(SIGSTOP);
  if (fault == "finalizes early") {
    environment.reset();
    wait_forever();
  }
}

int end(std::optional<Environment>& environment, const std::string& fault, const std::string& place,
        int guilty, const std::string& folder) {
  const Strategy strategy(Communicator::world());
  Run run(strategy, folder);
  run.fit();
  if (strategy.rank() == guilty) arm({place, [&] { end_by(fault, environment); }});
  for (;;) run.fit();
}

// A loop of the user's own over two layers.
int calls(const std::string& fault, int guilty) {
  const Communicator world = Communicator::world();
  BatchNormalization first = SyncBatchNormalization({.name = "first"});
  BatchNormalization second = SyncBatchNormalization({.name = "second"});
  first.build({1, 4}, world);
  second.build({1, 4}, world);
  const Tensor x({5, 4});
  Tensor y(x.shape());
  const auto forward = [&](BatchNormalization& layer) {
    layer.forward(x, y, {.mode = Mode::training});
  };
  for (int step = 0;; ++step) {
    const bool is_due = step == 3 && world.rank() == guilty;
    if (is_due && fault == "other order") {
      forward(second);
      forward(first);
      continue;
    }
    forward(first);
    if (is_due && fault == "layer skipped") continue;
    forward(second);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  set_watchdog(Communicator(), {.stall_timeout = std::chrono::seconds(1)});
  std::optional<Environment> environment(std::in_place, argc, argv);
  if (arguments.size() == 1 && arguments[0] == "survive")
    return survive(Strategy(Communicator::world()));
  if (arguments.size() == 5 && arguments[0] == "end")
    return end(environment, arguments[1], arguments[2], std::stoi(arguments[3]), arguments[4]);
  if (arguments.size() == 3 && arguments[0] == "calls")
    return calls(arguments[1], std::stoi(arguments[2]));
  return 2;
}
