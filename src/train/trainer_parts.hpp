// What a trainer consists of, and its one step.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/agreement.hpp"
#include "comm/exchange.hpp"
#include "comm/schedule.hpp"
#include "lockstep/train/sampler.hpp"
#include "lockstep/train/trainer.hpp"
#include "parallel/gradient_exchange.hpp"
#include "train/loss_scale.hpp"
#include "train/progress.hpp"
#include "train/rounds.hpp"
#include "train/snapshot.hpp"

namespace lockstep {

/// A rank's part of a global batch.
struct Batch {
  TensorView inputs;
  TensorView targets;
  std::span<const std::int64_t> samples;
  bool is_out_of_data = false;  ///< empty, and without targets: others may have samples
};

/// What runs in a trainer, ordered by how little may be called meanwhile.
enum class Activity : std::uint8_t { none, meeting_callbacks, step_callbacks };

/// Something is being done, or is known, as long as this lives.
template <class T>
class Doing {
 public:
  Doing(T& current, T now) : current_(current), before_(std::exchange(current, now)) {}
  ~Doing() { current_ = before_; }
  Doing(const Doing&) = delete;
  Doing& operator=(const Doing&) = delete;

 private:
  T& current_;
  T before_;
};

struct Trainer::Parts {
  Parts(Sequential& trained, std::unique_ptr<Optimizer> steps, std::unique_ptr<const Loss> measure,
        TrainerOptions settings)
      : model(trained),
        optimizer(std::move(steps)),
        loss(std::move(measure)),
        options(std::move(settings)) {
    if (!options.loss_scaling && model.dtype() == DType::float16) options.loss_scaling.emplace();
    if (options.loss_scaling) loss_scale.emplace(*options.loss_scaling);
  }

  Sequential& model;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<const Loss> loss;
  TrainerOptions options;

  std::optional<LossScale> loss_scale;

  // Made with the first collective call.
  std::vector<Variable*> variables;
  std::optional<GradientExchange> gradients;
  std::optional<Exchange> evaluation;
  // Where a parameter has a function of the user's own: it may throw after the last merge, so that
  // another one must follow before the update is final.
  std::optional<Exchange> confirmation;
  std::optional<Snapshot> before_update;

  Schedule schedule;
  Activity activity = Activity::none;
  std::string_view phase = "data";  ///< of the step that runs, for errors
  std::optional<Failure> carried;   ///< failed between steps; told at the next merge
  const std::function<bool()>* stop_when = nullptr;  ///< of the run; null outside of one
  bool stop_requested = false;                       ///< by this rank
  bool is_stopping = false;                          ///< agreed by all
  bool is_out_of_data = false;  ///< all ranks were in the last step, which was none
  /// Of the last error of a step, which all ranks have thrown, as long as that is not caught.
  std::weak_ptr<const ErrorOrigin> told_error;
  std::int64_t num_steps = 0;
  Position position;
  std::vector<std::int64_t> meeting_intervals;  ///< of the run's callbacks
  StepRecord record;
  double step_penalty = 0.0;      ///< of the regularizers in the step that runs
  double step_loss = 0.0;         ///< of this rank's samples in that step
  bool has_overflowed = false;    ///< in that step scaled gradients of all ranks were not finite
  bool is_nonfinite = false;      ///< other numbers were not, on any rank
  std::vector<double> step_sums;  ///< of the last step's global batch
  Tensor inputs, targets;
  std::vector<std::int64_t> sample_numbers;  ///< of the batch, among those of all ranks
  Tensor outputs;        ///< predictions in float32, where the model has 16 bits
  Tensor loss_gradient;  ///< as they are, of float32 or float64
  Tensor seed;           ///< the same with 16 bits

  [[nodiscard]] const Communicator& replicas() const { return model.strategy().replicas(); }

  [[nodiscard]] bool wants_to_stop() const {
    return stop_requested || (stop_when != nullptr && *stop_when && (*stop_when)());
  }

  /// Throws StateError when callbacks are running during which ranks could miss this `call`.
  void require(Activity most, const char* call) const;

  /// Builds the model if need be and agrees on what all ranks train. Collective.
  void prepare(const Shape& input_shape);

  /// The same for a rank that has none.
  void prepare_without_data();

  /// The same for samples of `data`; `describe` reads what else this `call` compares. What fails in
  /// that is told to the ranks that go on. Collective.
  void prepare_for(const Dataset& data, const char* call, const std::function<void()>& describe);

  /// Whether the step's numbers are a reason to change nothing.
  [[nodiscard]] bool is_skipped() const noexcept {
    return has_overflowed || (is_nonfinite && options.nonfinite == Nonfinite::skip_update);
  }
  /// Makes sure that there is an optimizer with state. Throws StateError before the model is built.
  /// Collective.
  void prepare_for_state();
  /// Adds what is equal on all ranks.
  void write_state(TrainingState& state);
  void go_on_from(Progress progress);

  /// Number of sums that describe loss and metrics of some samples: count, loss, metrics.
  [[nodiscard]] std::size_t num_sums() const;
  /// Adds these samples; the gradient of their loss goes to `gradient`, in parameter_dtype_of()
  /// that of the predictions, unless it is a null view.
  void add_sums(const TensorView& predictions, const TensorView& samples_targets,
                const MutableTensorView& gradient, std::span<double> sums);
  void write_scores(std::span<const double> sums, Scores& scores) const;

  /// What the regularizers of all parameters add to the loss. Throws what their functions throw.
  [[nodiscard]] double regularization_loss() const;
  /// Adds a penalty to the loss of each of the samples.
  static void add_penalty(double penalty, std::span<double> sums) noexcept;

  /// Reads the samples of `indices` into this trainer's memory.
  [[nodiscard]] Batch read(const Dataset& data, std::span<const std::int64_t> indices);

  /// Runs steps of a loop of the user's own, and remembers the error that all ranks throw.
  /// Collective.
  template <class Body>
  void make(Body&& steps);

  /// What a rank brings to a step that has no more.
  [[nodiscard]] Batch no_batch();
  /// This rank's batch of round `number`.
  [[nodiscard]] Batch load(const Dataset& data, const Rounds& rounds, std::int64_t number);

  /// One training step; `batch_of()` gives this rank's batch and may throw. Collective.
  template <class Load>
  const StepRecord& train(Load&& batch_of);

  /// Runs what belongs between steps; when it throws the next merge tells all ranks.
  template <class Body>
  void carry(std::string_view when, Body&& body);

  /// Whether callbacks may make collective calls after the step just made; so on all ranks or none.
  [[nodiscard]] bool meets_now() const noexcept;
  /// Runs callbacks that may make collective calls, and throws on all ranks alike. Collective.
  template <class Body>
  void meet(const char* callback, const char* place, std::int64_t number, Body&& body);

  /// Batches of `order` come next.
  void begin_run(const SamplerOptions& order);

  /// The next epoch, or what is left of one, with what belongs to it. Collective.
  [[nodiscard]] EpochRecord run_epoch(Trainer& trainer, const Dataset& data,
                                      const FitOptions& fit_options, Rounds& rounds,
                                      std::int64_t last_step);
  [[nodiscard]] Scores evaluate(const Dataset& data, std::int64_t batch_size);
  void check_replicas();

 private:
  // The message of a step starts with count, loss, metrics; then what ranks have to say, as numbers
  // of ranks.
  enum Sum : std::size_t { count, loss_sum, first_metric };
  enum Flag : std::size_t { wants_stop, out_of_data, nonfinite_penalty, num_flags };
  [[nodiscard]] std::span<double> flags() noexcept { return gradients->sums().last(num_flags); }

  void begin_step();
  void run_step(const Batch& batch);
  [[nodiscard]] TensorView scaled_seed(DType dtype);
  void check_functions() const;
  [[nodiscard]] bool is_update_due() noexcept;
  void update();
  void try_update();
  void judge_numbers();
  void report_nonfinite();
  [[nodiscard]] std::int64_t first_nonfinite_number() const noexcept;
  [[nodiscard]] Failure nonfinite_failure(std::int64_t number) const;
  void finish_step() noexcept;
  [[nodiscard]] Meeting place() const;
};

template <class Load>
const StepRecord& Trainer::Parts::train(Load&& batch_of) {
  begin_step();
  if (carried) schedule.fail(num_steps, *std::exchange(carried, std::nullopt));
  const auto body = [&] {
    phase = "data";
    run_step(batch_of());
  };
  schedule.keep(num_steps, body, [&] { return place(); });
  finish_step();
  return record;
}

template <class Body>
void Trainer::Parts::meet(const char* callback, const char* place, std::int64_t number,
                          Body&& body) {
  carry(callback, [&] {
    const Doing doing(activity, Activity::meeting_callbacks);
    std::forward<Body>(body)();
  });
  assemble(replicas(), {"trainer", place, number}, std::exchange(carried, std::nullopt));
}

template <class Body>
void Trainer::Parts::make(Body&& steps) {
  const auto failure = attempt(std::forward<Body>(steps));
  if (!failure) return;
  told_error = failure->origin;
  rethrow(*failure);
}

template <class Body>
void Trainer::Parts::carry(std::string_view when, Body&& body) {
  if (carried) return;
  carried = attempt(std::forward<Body>(body));
  if (carried && !carried->place) carried->place = Meeting{"trainer", std::string(when), num_steps};
}

}  // namespace lockstep
