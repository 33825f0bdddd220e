#include "lockstep/layers/batch_normalization_options.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

#include "layers/batch_normalization_parts.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/params/variable_store.hpp"
#include "stats/column_layout.hpp"

namespace lockstep {
namespace {

void refuse_if(bool is_refused, const char* message) {
  if (is_refused) throw ArgumentError(message);
}

void require_momentum(const char* name, double momentum) {
  if (!(momentum >= 0.0 && momentum <= 1.0))
    throw ArgumentError(fmt::format("{} must be in [0, 1], got {}", name, momentum));
}

bool is_batch_axis_channel(const std::vector<int>& axes) { return axes.front() == 0; }

// TensorFlow's fused kernel takes one channel axis: axis 1 or the last.
bool is_fused_axis(const std::vector<int>& axes, const Shape& input_shape) {
  return axes.size() == 1 && (axes.front() == 1 || axes.front() == input_shape.rank() - 1);
}

void validate_moving(const BatchNormalizationOptions& options) {
  require_momentum("momentum", options.momentum.value_or(0.0));
  refuse_if(options.zero_debias_moving_mean && options.momentum.value_or(1.0) == 1.0,
            "zero_debias_moving_mean divides by 1 - momentum^steps: it cannot be combined with "
            "momentum 1 or with the average of all batches");
  refuse_if(options.nonfinite == Nonfinite::skip_update &&
                (!options.momentum || options.zero_debias_moving_mean),
            "nonfinite skip_update cannot be combined with the average of all batches or with "
            "zero_debias_moving_mean: they count the updates of all channels together");
  refuse_if(!options.track_moving_statistics && options.renorm,
            "renorm cannot be combined with track_moving_statistics = false: it corrects towards "
            "the moving statistics");
  refuse_if(!options.track_moving_statistics && options.zero_debias_moving_mean,
            "zero_debias_moving_mean cannot be combined with track_moving_statistics = false: "
            "there is no moving mean");
}

void validate_renorm(const BatchNormalizationOptions& options) {
  const auto& [rmin, rmax, dmax] = options.renorm_clipping;
  if (!(0.0 <= rmin && rmin <= rmax))
    throw ArgumentError(fmt::format(
        "renorm_clipping needs 0 <= rmin <= rmax, got rmin {} and rmax {}", rmin, rmax));
  if (!(dmax >= 0.0))
    throw ArgumentError(fmt::format("renorm_clipping needs dmax >= 0, got {}", dmax));
  require_momentum("renorm_momentum", options.renorm_momentum);
  if (!options.renorm) return;
  refuse_if(options.epsilon == 0.0,
            "renorm cannot be combined with epsilon 0: it divides by its root");
  refuse_if(options.moving_variance == MovingVariance::unbiased,
            "renorm cannot be combined with the unbiased moving variance: it averages standard "
            "deviations");
  if (options.fused_rules != FusedRules::contrib) return;
  refuse_if(options.zero_debias_moving_mean,
            "contrib: renorm cannot be combined with zero_debias_moving_mean");
  const CollectionNames& collections = options.scope.updates_collections;
  const bool is_default =
      collections.empty() || collections == CollectionNames{update_ops_collection};
  refuse_if(options.updates == Updates::immediate || !is_default,
            "contrib: renorm needs updates in the default update collection, not immediate ones or "
            "those of other collections");
}

void validate_ghosts(const BatchNormalizationOptions& options, const std::vector<int>& axes) {
  if (!options.virtual_batch_size) return;
  if (*options.virtual_batch_size <= 0)
    throw ArgumentError(
        fmt::format("virtual_batch_size must be at least 1, got {}", *options.virtual_batch_size));
  refuse_if(options.adjustment != nullptr,
            "virtual_batch_size cannot be combined with an adjustment");
  refuse_if(is_batch_axis_channel(axes),
            "virtual_batch_size cannot be combined with the batch axis as channel axis");
  refuse_if(options.moving_variance == MovingVariance::unbiased,
            "virtual_batch_size cannot be combined with the unbiased moving variance: biased "
            "variances of ghost batches are averaged");
}

void validate_fused(const BatchNormalizationOptions& options, const std::vector<int>& axes,
                    const Shape& input_shape) {
  if (!options.fused.value_or(false) || options.fused_rules == FusedRules::contrib) return;
  refuse_if(options.synchronized, "fused = true cannot be combined with synchronized = true");
  refuse_if(options.renorm, "fused = true cannot be combined with renorm");
  refuse_if(options.virtual_batch_size.has_value(),
            "fused = true cannot be combined with virtual_batch_size");
  refuse_if(options.adjustment != nullptr, "fused = true cannot be combined with an adjustment");
  refuse_if(axes.size() > 1, "fused = true cannot be combined with several channel axes");
  if (input_shape.rank() != 4)
    throw ArgumentError(
        fmt::format("fused = true needs an input of rank 4, got shape {}", to_string(input_shape)));
  if (!is_fused_axis(axes, input_shape))
    throw ArgumentError(
        fmt::format("fused = true needs channels along axis 1 or the last, not {}", axes.front()));
}

}  // namespace

RenormClipping renorm_clipping_of(const std::map<std::string, double>& clipping) {
  RenormClipping result;
  for (const auto& [key, value] : clipping) {
    if (key == "rmin")
      result.rmin = value;
    else if (key == "rmax")
      result.rmax = value;
    else if (key == "dmax")
      result.dmax = value;
    else
      throw ArgumentError(
          fmt::format("renorm_clipping knows the keys rmin, rmax and dmax, got '{}'", key));
  }
  return result;
}

std::vector<int> channel_axes_of(const BatchNormalizationOptions& options,
                                 const Shape& input_shape) {
  if (input_shape.rank() == 0)
    throw ArgumentError("the input has no axis; its rank must be at least 1");
  const std::string& format = options.data_format;
  if (format.empty()) return resolved_axes(options.axis.values(), input_shape);
  if (format != "NHWC" && format != "NCHW")
    throw ArgumentError(fmt::format("data_format must be NHWC or NCHW, got '{}'", format));
  if (input_shape.rank() < 2)
    throw ArgumentError(fmt::format("data_format {} needs an input of rank 2 or more, got {}",
                                    format, to_string(input_shape)));
  const std::vector<int> axes{format == "NHWC" ? input_shape.rank() - 1 : 1};
  if (options.axis != Axes(-1) && resolved_axes(options.axis.values(), input_shape) != axes)
    throw ArgumentError(
        fmt::format("axis and data_format {} name different channel axes; give one", format));
  return axes;
}

bool runs_fused(const BatchNormalizationOptions& options, const Shape& input_shape) {
  if (options.moving_variance != MovingVariance::as_tensorflow) return false;
  const int rank = input_shape.rank();
  const bool takes_rank = rank == 4 || (rank == 2 && options.fused_rules == FusedRules::contrib);
  return takes_rank && options.fused.value_or(true) && !options.renorm &&
         !options.virtual_batch_size && options.adjustment == nullptr &&
         is_fused_axis(channel_axes_of(options, input_shape), input_shape);
}

void validate_call(const BatchNormalizationOptions& options, const Call& call,
                   std::int64_t num_samples) {
  const bool has_weights = !call.batch_weights.is_null();
  refuse_if(has_weights && options.moving_variance == MovingVariance::unbiased,
            "batch_weights cannot be combined with the unbiased moving variance: total weight - 1 "
            "has no meaning");
  refuse_if(has_weights && options.renorm && options.fused_rules == FusedRules::contrib,
            "contrib: renorm cannot be combined with batch_weights");
  if (options.virtual_batch_size && num_samples % *options.virtual_batch_size != 0)
    throw ArgumentError(
        fmt::format("virtual_batch_size {} does not divide the local batch of {}; "
                    "give every rank whole ghost batches",
                    *options.virtual_batch_size, num_samples));
}

void validate(const FinalActivation& activation) {
  const double slope = activation.negative_slope;
  if (!(slope >= 0.0) || !std::isfinite(slope))
    throw ArgumentError(fmt::format("negative_slope must be finite and >= 0, got {}", slope));
  if (const auto* custom = std::get_if<CustomActivation>(&activation.function))
    if (custom->value == nullptr || custom->derivative == nullptr)
      throw ArgumentError(
          fmt::format("activation '{}' needs a value and a derivative", custom->name));
}

void validate(const BatchNormalizationOptions& options, const Shape& input_shape) {
  refuse_if(!options.refusal.empty(), options.refusal.c_str());
  const std::vector<int> axes = channel_axes_of(options, input_shape);
  for (const int axis : axes)
    if (input_shape[axis] <= 0)
      throw ArgumentError(fmt::format(
          "the input of shape {} has no known number of channels along axis {}; it must be at "
          "least 1",
          to_string(input_shape), axis));
  if (!(options.epsilon >= 0.0) || std::isinf(options.epsilon))
    throw ArgumentError(fmt::format("epsilon must be finite and >= 0, got {}", options.epsilon));
  if (options.channel_group_bytes && *options.channel_group_bytes < 0)
    throw ArgumentError(fmt::format("channel_group_bytes must be at least 0, got {}",
                                    *options.channel_group_bytes));
  validate_moving(options);
  validate_renorm(options);
  validate_ghosts(options, axes);
  validate_fused(options, axes, input_shape);
  validate(FinalActivation{options.activation, options.negative_slope});
}

}  // namespace lockstep
