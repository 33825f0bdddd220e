#include "layers/option_reference.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

namespace lockstep::testing {
namespace {

using Values = std::vector<double>;

double activated(const BatchNormalizationOptions& options, double x) {
  if (const auto* custom = std::get_if<CustomActivation>(&options.activation))
    return custom->value(x);
  switch (std::get<ActivationFunction>(options.activation)) {
    case ActivationFunction::linear:
      return x;
    case ActivationFunction::relu:
      return std::max(x, 0.0);
    case ActivationFunction::relu6:
      return std::min(std::max(x, 0.0), 6.0);
    case ActivationFunction::leaky_relu:
      return x > 0.0 ? x : options.negative_slope * x;
    case ActivationFunction::elu:
      return x > 0.0 ? x : std::exp(x) - 1.0;
    case ActivationFunction::sigmoid:
      return 1.0 / (1.0 + std::exp(-x));
    case ActivationFunction::tanh:
      return std::tanh(x);
    case ActivationFunction::gelu:
      return x * 0.5 * (1.0 + std::erf(x / std::sqrt(2.0)));
    case ActivationFunction::silu:
      return x / (1.0 + std::exp(-x));
  }
  return x;
}

// Moments of sets of elements; element i belongs to the set with the number sets[i].
struct SetMoments {
  Values weight, mean, variance;
};

SetMoments moments_of(const Values& x, const Values& w, const std::vector<std::size_t>& sets,
                      std::size_t num_sets) {
  const Values zeros(num_sets);
  SetMoments m{zeros, zeros, zeros};
  for (std::size_t i = 0; i < x.size(); ++i) m.weight[sets[i]] += w[i];
  for (std::size_t i = 0; i < x.size(); ++i)
    if (w[i] > 0.0) m.mean[sets[i]] += w[i] * x[i] / m.weight[sets[i]];
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double deviation = x[i] - m.mean[sets[i]];
    if (w[i] > 0.0) m.variance[sets[i]] += w[i] * deviation * deviation / m.weight[sets[i]];
  }
  return m;
}

// The plain mean of the moments of all ghost batches; the weight becomes their number.
SetMoments averaged(const SetMoments& ghosts, std::size_t num_channels) {
  const Values zeros(num_channels);
  SetMoments m{zeros, zeros, zeros};
  for (std::size_t set = 0; set < ghosts.weight.size(); ++set)
    if (ghosts.weight[set] > 0.0) m.weight[set % num_channels] += 1.0;
  for (std::size_t set = 0; set < ghosts.weight.size(); ++set) {
    const std::size_t c = set % num_channels;
    if (!(ghosts.weight[set] > 0.0)) continue;
    m.mean[c] += ghosts.mean[set] / m.weight[c];
    m.variance[c] += ghosts.variance[set] / m.weight[c];
  }
  return m;
}

Values element_weights_of(const OptionRun& run) {
  Values w(static_cast<std::size_t>(run.x.num_elements()), 1.0);
  for (std::size_t i = 0; i < w.size(); ++i) {
    if (run.use_case.has_weights) {
      const auto weights = run.weights.values<double>();
      w[i] *= weights[i / (w.size() / weights.size())];
    }
    if (run.use_case.mask_rank > 0) {
      const auto mask = run.mask.values<bool>();
      w[i] *= mask[i / (w.size() / mask.size())] ? 1.0 : 0.0;
    }
  }
  return w;
}

// The elements of a tensor of the input's rank, repeated along its axes of extent 1.
Values broadcast(const Tensor& tensor, const Shape& input) {
  Values values;
  for (std::int64_t i = 0; i < input.num_elements(); ++i) {
    std::int64_t index = 0, rest = i, stride = input.num_elements();
    for (int axis = 0; axis < input.rank(); ++axis) {
      stride /= input[axis];
      const std::int64_t position = rest / stride;
      rest %= stride;
      index = index * tensor.shape()[axis] + (tensor.shape()[axis] == 1 ? 0 : position);
    }
    values.push_back(doubles_of(tensor)[static_cast<std::size_t>(index)]);
  }
  return values;
}

// Where TensorFlow would run its fused kernel.
bool is_fused(const OptionRun& run) {
  const UseCase& u = run.use_case;
  const auto axes = u.axes();
  const int rank = u.shape.rank();
  const bool takes_rank = rank == 4 || (rank == 2 && u.options.fused_rules == FusedRules::contrib);
  return takes_rank && u.options.moving_variance == MovingVariance::as_tensorflow &&
         axes.size() == 1 && (axes[0] == 1 || axes[0] == rank - 1) && !u.options.renorm &&
         !u.options.virtual_batch_size && u.adjustment == AdjustmentKind::none && !u.has_weights &&
         u.mask_rank == 0;
}

// The moments of every set of elements that is normalized on its own, and of the whole batch.
struct BatchMoments {
  std::vector<std::size_t> sets;  // of the elements; set = group * channels + channel
  SetMoments of_sets, of_batch;
};

BatchMoments batch_moments_of(const OptionRun& run, bool has_ghosts) {
  const BatchNormalizationOptions& o = run.use_case.options;
  const auto channels = channels_of(run);
  const auto num_channels = static_cast<std::size_t>(run.use_case.num_channels());
  const auto num_samples = static_cast<std::size_t>(run.x.shape()[0]);
  const auto size = has_ghosts ? static_cast<std::size_t>(*o.virtual_batch_size) : num_samples;
  const std::size_t num_groups = num_samples / size;
  BatchMoments moments;
  for (std::size_t i = 0; i < channels.size(); ++i) {
    const std::size_t sample = i / (channels.size() / num_samples);
    const std::size_t group =
        o.ghost_grouping == GhostGrouping::strided ? sample % num_groups : sample / size;
    moments.sets.push_back(group * num_channels + channels[i]);
  }
  moments.of_sets = moments_of(doubles_of(run.x), element_weights_of(run), moments.sets,
                               num_groups * num_channels);
  moments.of_batch = has_ghosts ? averaged(moments.of_sets, num_channels) : moments.of_sets;
  return moments;
}

Values values_of(OptionRun& run, const std::string& name) {
  return doubles_of(run.layer.variable(name).value());
}

// r and d of batch renormalization.
std::pair<Values, Values> correction_of(OptionRun& run, const SetMoments& batch) {
  const BatchNormalizationOptions& o = run.use_case.options;
  Values r(batch.mean.size(), 1.0), d(batch.mean.size(), 0.0);
  if (!o.renorm) return {r, d};
  const RenormClipping& clip = o.renorm_clipping;
  for (std::size_t c = 0; c < r.size(); ++c) {
    if (!(batch.weight[c] > 0.0)) continue;
    const double denominator = std::max(values_of(run, "renorm_stddev")[c], std::sqrt(o.epsilon));
    const double mean = values_of(run, "renorm_mean")[c];
    r[c] = std::clamp(std::sqrt(batch.variance[c] + o.epsilon) / denominator, clip.rmin, clip.rmax);
    d[c] = std::clamp((batch.mean[c] - mean) / denominator, -clip.dmax, clip.dmax);
  }
  return {r, d};
}

// What the variables of the moving statistics become.
std::map<std::string, Values> statistics_of(OptionRun& run, const SetMoments& batch) {
  const BatchNormalizationOptions& o = run.use_case.options;
  std::map<std::string, Values> result;
  const std::int64_t num_updates =
      run.layer.variable("num_updates").value().values<std::int64_t>()[0] + 1;
  const double momentum = o.momentum.value_or(1.0 - 1.0 / static_cast<double>(num_updates));
  const auto average = [&](const char* name, const Values& values, double weight_of_old) {
    result[name] = values_of(run, name);
    for (std::size_t c = 0; c < values.size(); ++c)
      if (batch.weight[c] > 0.0)
        result[name][c] = weight_of_old * result[name][c] + (1.0 - weight_of_old) * values[c];
  };
  Values stored = batch.variance, stddev = batch.variance;
  for (std::size_t c = 0; c < stored.size(); ++c) {
    if (o.moving_variance == MovingVariance::unbiased || is_fused(run))
      stored[c] *= batch.weight[c] / std::max(batch.weight[c] - 1.0, 1.0);
    stddev[c] = std::sqrt(stddev[c] + o.epsilon);
  }
  average("moving_mean", batch.mean, momentum);
  average("moving_variance", stored, momentum);
  if (o.zero_debias_moving_mean) {
    const double steps = values_of(run, "moving_mean/local_step")[0] + 1.0;
    average("moving_mean/biased", batch.mean, momentum);
    for (std::size_t c = 0; c < stored.size(); ++c)
      result["moving_mean"][c] = batch.weight[c] > 0.0 ? result["moving_mean/biased"][c] /
                                                             (1.0 - std::pow(momentum, steps))
                                                       : values_of(run, "moving_mean")[c];
  }
  if (!o.renorm) return result;
  average("renorm_mean", batch.mean, o.renorm_momentum);
  average("renorm_stddev", stddev, o.renorm_momentum);
  average("moving_stddev", stddev, momentum);
  for (std::size_t c = 0; c < stored.size(); ++c)
    result["moving_variance"][c] =
        batch.weight[c] > 0.0 ? std::max(std::pow(result["moving_stddev"][c], 2.0) - o.epsilon, 0.0)
                              : values_of(run, "moving_variance")[c];
  return result;
}

}  // namespace

Expected expected_of(OptionRun& run) {
  const BatchNormalizationOptions& o = run.use_case.options;
  const auto num_channels = static_cast<std::size_t>(run.use_case.num_channels());
  const bool is_inference = !o.trainable && o.frozen_mode == FrozenMode::inference;
  const bool learns = o.trainable || o.frozen_mode == FrozenMode::batch_statistics_updating;
  const double epsilon = is_fused(run) ? std::max(o.epsilon, 1.001e-5) : o.epsilon;
  const BatchMoments batch =
      batch_moments_of(run, o.virtual_batch_size.has_value() && !is_inference);
  SetMoments used = batch.of_sets;
  if (is_inference && o.track_moving_statistics)
    used = {Values(num_channels, 1.0), values_of(run, "moving_mean"),
            values_of(run, "moving_variance")};
  const SetMoments nothing{Values(num_channels), Values(num_channels), Values(num_channels)};
  const auto [r, d] = correction_of(run, is_inference ? nothing : batch.of_batch);
  const Values gamma = o.scale ? values_of(run, "gamma") : Values(num_channels, 1.0);
  const Values beta = o.center ? values_of(run, "beta") : Values(num_channels, 0.0);

  const Values x = doubles_of(run.x);
  Values scale(x.size(), 1.0), bias(x.size(), 0.0), residual(x.size(), 0.0);
  if (run.use_case.has_residual) residual = doubles_of(run.residual);
  if (run.use_case.adjustment != AdjustmentKind::none && !is_inference) {
    const Adjustment adjustment = run.layer.options().adjustment(run.x.shape());
    scale = broadcast(adjustment.scale, run.x.shape());
    bias = broadcast(adjustment.bias, run.x.shape());
  }
  Expected expected;
  const auto channels = channels_of(run);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = channels[i], set = batch.sets[i] % used.mean.size();
    const double root = std::sqrt(used.variance[set] + epsilon);
    const bool is_known = used.weight[set] > 0.0 && root > 0.0;
    const double normalized = is_known ? (x[i] - used.mean[set]) / root : 0.0;
    const double adjusted = (normalized * r[c] + d[c]) * scale[i] + bias[i];
    expected.y.push_back(activated(o, adjusted * gamma[c] + beta[c] + residual[i]));
  }
  if (learns && o.track_moving_statistics) expected.statistics = statistics_of(run, batch.of_batch);
  return expected;
}

}  // namespace lockstep::testing
