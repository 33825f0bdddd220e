#include "model/targets.hpp"

#include <spdlog/fmt/fmt.h>

#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

void check_predictions(const TensorView& predictions) {
  predictions.check("the predictions");
  if (!is_floating(predictions.dtype()))
    throw ArgumentError(
        fmt::format("expected floating predictions, got {}", name_of(predictions.dtype())));
}

}  // namespace

void check_labels(const TensorView& predictions, const TensorView& targets) {
  check_predictions(predictions);
  if (predictions.shape().rank() != 2)
    throw ArgumentError(fmt::format("expected predictions of shape [samples, classes], got {}",
                                    to_string(predictions.shape())));
  targets.check("the labels");
  const std::int64_t num_samples = predictions.shape()[0];
  const std::int64_t num_classes = predictions.shape()[1];
  if (targets.dtype() != DType::int64 || targets.shape() != Shape{num_samples})
    throw ArgumentError(fmt::format("expected int64 labels of shape [{}], got {} {}", num_samples,
                                    name_of(targets.dtype()), to_string(targets.shape())));
  std::int64_t sample = 0;
  for (const std::int64_t label : targets.values<std::int64_t>()) {
    if (label < 0 || label >= num_classes)
      throw ArgumentError(
          fmt::format("sample {} has the label {}, but there are {} classes; labels "
                      "count from 0",
                      sample, label, num_classes));
    ++sample;
  }
}

void check_values(const TensorView& predictions, const TensorView& targets) {
  check_predictions(predictions);
  targets.check("the targets");
  if (predictions.shape().rank() == 0)
    throw ArgumentError("expected predictions of shape [samples, ...], got a scalar");
  if (targets.shape() != predictions.shape())
    throw ArgumentError(fmt::format("expected targets of the predictions' shape {}, got {}",
                                    to_string(predictions.shape()), to_string(targets.shape())));
}

}  // namespace lockstep
