#include "conformance/run.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "conformance/comparison.hpp"
#include "conformance/inputs.hpp"
#include "conformance/parameters.hpp"
#include "conformance/replicas.hpp"
#include "conformance/tensors.hpp"
#include "lockstep/comm/collectives.hpp"
#include "lockstep/layers/batch_normalization.hpp"

namespace lockstep::conformance {
namespace {

class Run {
 public:
  Run(const Communicator& world, const Case& one, DType precision, const Cut& cut)
      : world_(world),
        case_(one),
        precision_(precision),
        cut_(cut),
        layer_(options()),
        momentum_(one.options.momentum) {}

  Run(const Run&) = delete;  // the layer's adjustment refers to this object
  Run& operator=(const Run&) = delete;

  double worst_deviation() {
    build();
    for (std::size_t i = 0; i < case_.steps.size(); ++i) {
      try {
        make(case_.steps[i]);
      } catch (const CaseFailure& failure) {
        throw CaseFailure(fmt::format("step {}: {}", i + 1, failure.what()));
      }
    }
    allreduce(world_, std::span(&worst_, 1), Reduction::maximum);
    return worst_;
  }

 private:
  [[nodiscard]] const Communicator& group() const { return cut_.is_shared ? world_ : alone_; }

  [[nodiscard]] BatchNormalizationOptions options() {
    BatchNormalizationOptions options = case_.options;
    if (precision_ == DType::float64 || !options.dtype) options.dtype = precision_;
    options.synchronized = cut_.is_shared;
    options.nonfinite = Nonfinite::warn;
    options.trainable = case_.steps.front().is_trainable;
    const bool is_adjusted = std::ranges::any_of(case_.steps, [](const Step& step) {
      return step.inputs.contains("adj_scale") || step.inputs.contains("adj_bias");
    });
    if (is_adjusted) options.adjustment = [this](const Shape&) { return inputs_.adjustment; };
    options.adjustment_differs_by_rank = is_adjusted && cut_.is_shared;
    return options;
  }

  void build() {
    try {
      on_all_ranks(world_,
                   [&] { layer_.build(case_.steps.front().inputs.at("x").shape, group()); });
    } catch (const CaseFailure& failure) {
      throw Refusal(failure.what());
    }
    on_all_ranks(world_, [&] {
      for (const auto& [name, array] : case_.variables) {
        const Tensor values = tensor_of(array.load(), DType::float64);
        Variable& variable = layer_.variable(name);
        variable.assign(TensorView(values).reshaped(variable.shape()));
      }
    });
  }

  void make(const Step& step) {
    on_all_ranks(world_, [&] {
      inputs_ = inputs_of(step, cut_, world_, layer_.dtype(), precision_);
      y_.resize(inputs_.x.shape(), layer_.dtype());
      dx_.resize(inputs_.x.shape(), layer_.dtype());
    });
    if (step.is_trainable != layer_.is_trainable())
      on_all_ranks(world_, [&] { layer_.set_trainable(step.is_trainable); });
    set_momentum(step.momentum ? step.momentum : case_.options.momentum);
    for (int time = 0; time < step.times; ++time) pass(step);
    on_all_ranks(world_, [&] { check(step); });
    require_same_on_all_ranks(world_, layer_, tape_);
  }

  void set_momentum(std::optional<double> momentum) {
    if (std::exchange(momentum_, momentum) != momentum)
      on_all_ranks(world_, [&] { layer_.set_momentum(momentum); });
  }

  // Forward, backward and a step of gradient descent.
  void pass(const Step& step) {
    results_.clear();
    on_all_ranks(world_, [&] {
      layer_.forward(inputs_.x, y_,
                     {.mode = step.is_training ? Mode::training : Mode::inference,
                      .tape = &tape_,
                      .batch_weights = view_of(step, "batch_weights", inputs_.batch_weights),
                      .mask = view_of(step, "mask", inputs_.mask)});
    });
    results_["y"] = values_of(y_);
    results_["batch_mean"] = {tape_.batch_mean().begin(), tape_.batch_mean().end()};
    results_["batch_variance"] = {tape_.batch_variance().begin(), tape_.batch_variance().end()};
    take_penalty(layer_, results_);
    if (!step.inputs.contains("dy")) return;

    on_all_ranks(world_, [&] { layer_.backward(tape_, inputs_.dy, dx_); });
    results_["dx"] = values_of(dx_);
    take_gradients(layer_, group(), results_);
    if (step.learning_rate) on_all_ranks(world_, [&] { descend(layer_, *step.learning_rate); });
  }

  static TensorView view_of(const Step& step, const char* name, const Tensor& tensor) {
    return step.inputs.contains(name) ? TensorView(tensor) : TensorView();
  }

  // Throws what is wrong with any of the results.
  void check(const Step& step) {
    std::string complaints;
    for (const auto& [name, expectation] : step.expectations) {
      const bool is_local = name == "y" || name == "dx";
      const std::vector<double> expected =
          is_local
              ? local_part_of(expectation.array, step.inputs.at("x").shape, cut_, world_).values
              : expectation.array.load().values;
      const Comparison comparison =
          compare(result(name), expected, expectation.tolerances.at(precision_));
      worst_ = std::max(worst_, comparison.worst);
      if (!comparison.complaint.empty())
        complaints +=
            fmt::format("{}{}: {}", complaints.empty() ? "" : "; ", name, comparison.complaint);
    }
    if (!complaints.empty()) throw CaseFailure(complaints);
  }

  // Of the last pass, or the variable of that name; nothing where the pass did not have it.
  std::vector<double> result(const std::string& name) {
    if (const auto found = results_.find(name); found != results_.end()) return found->second;
    if (name.starts_with("d")) return {};
    return values_of(layer_.variable(name).value());
  }

  const Communicator& world_;
  const Communicator alone_;
  const Case& case_;
  DType precision_;
  const Cut& cut_;
  Inputs inputs_;
  BatchNormalization layer_;
  BatchNormalizationTape tape_;
  std::optional<double> momentum_;  // of the layer
  Tensor y_, dx_;
  Results results_;
  double worst_ = 0.0;
};

}  // namespace

double run(const Communicator& world, const Case& one, DType precision, const Cut& cut) {
  return Run(world, one, precision, cut).worst_deviation();
}

}  // namespace lockstep::conformance
