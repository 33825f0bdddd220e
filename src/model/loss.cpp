#include "lockstep/model/loss.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "lockstep/base/error.hpp"
#include "model/targets.hpp"

namespace lockstep {
namespace {

void check_gradient(const TensorView& predictions, const MutableTensorView& gradient) {
  if (gradient.is_null()) return;
  gradient.check("the gradient of the loss");
  if (gradient.dtype() != predictions.dtype() || gradient.shape() != predictions.shape())
    throw ArgumentError(fmt::format("expected a gradient of {} {}, as the predictions, got {} {}",
                                    name_of(predictions.dtype()), to_string(predictions.shape()),
                                    name_of(gradient.dtype()), to_string(gradient.shape())));
}

// Softmax and its logarithm about the largest logit, so that nothing overflows.
template <class T>
double crossentropy(std::span<const T> logits, std::size_t label, std::span<T> gradient) {
  const double largest = *std::ranges::max_element(logits);
  double sum = 0.0;
  for (const T logit : logits) sum += std::exp(logit - largest);
  const double loss = std::log(sum) - (logits[label] - largest);
  for (std::size_t i = 0; i < gradient.size(); ++i)
    gradient[i] = static_cast<T>(std::exp(logits[i] - largest) / sum - (i == label ? 1.0 : 0.0));
  return loss;
}

}  // namespace

Loss::~Loss() = default;

std::string SparseCategoricalCrossentropy::name() const {
  return "sparse_categorical_crossentropy";
}

std::string SparseCategoricalCrossentropy::configuration() const { return name() + " of logits"; }

double SparseCategoricalCrossentropy::evaluate(const TensorView& predictions,
                                               const TensorView& targets,
                                               const MutableTensorView& gradient) const {
  check_labels(predictions, targets);
  check_gradient(predictions, gradient);
  const auto num_classes = static_cast<std::size_t>(predictions.shape()[1]);
  const auto labels = targets.values<std::int64_t>();
  return visit_floating(predictions.dtype(), [&]<class T>(TypeTag<T>) {
    const auto logits = predictions.values<T>();
    const auto gradients = gradient.is_null() ? std::span<T>() : gradient.values<T>();
    double sum = 0.0;
    for (std::size_t sample = 0; sample < labels.size(); ++sample) {
      const std::size_t first = sample * num_classes;
      sum += crossentropy<T>(logits.subspan(first, num_classes),
                             static_cast<std::size_t>(labels[sample]),
                             gradients.empty() ? gradients : gradients.subspan(first, num_classes));
    }
    return sum;
  });
}

std::string MeanSquaredError::name() const { return "mean_squared_error"; }

std::string MeanSquaredError::configuration() const { return name(); }

double MeanSquaredError::evaluate(const TensorView& predictions, const TensorView& targets,
                                  const MutableTensorView& gradient) const {
  check_values(predictions, targets);
  check_gradient(predictions, gradient);
  if (predictions.num_elements() == 0) return 0.0;
  const auto per_sample = static_cast<double>(predictions.shape().without_first().num_elements());
  return visit_floating(predictions.dtype(), [&]<class T>(TypeTag<T>) {
    return visit_number(targets.dtype(), [&]<class Target>(TypeTag<Target>) {
      const auto predicted = predictions.values<T>();
      const auto wanted = targets.values<Target>();
      const auto gradients = gradient.is_null() ? std::span<T>() : gradient.values<T>();
      double sum = 0.0;
      for (std::size_t i = 0; i < predicted.size(); ++i) {
        const double error = static_cast<double>(predicted[i]) - static_cast<double>(wanted[i]);
        sum += error * error;
        if (!gradients.empty()) gradients[i] = static_cast<T>(2.0 * error / per_sample);
      }
      return sum / per_sample;
    });
  });
}

}  // namespace lockstep
