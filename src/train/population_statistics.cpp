#include "lockstep/train/population_statistics.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "comm/agreement.hpp"
#include "comm/schedule.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/train/sampler.hpp"
#include "lockstep/train/trainer.hpp"
#include "train/ghost_batches.hpp"

namespace lockstep {
namespace {

constexpr const char* who = "population statistics";

std::vector<Property> properties_of(const Dataset& data, const PopulationOptions& options) {
  return {{"number of samples", std::to_string(data.num_samples())},
          {"shape of a sample", to_string(data.input_shape())},
          {"shape of a target", to_string(data.target_shape())},
          {"batch_size", std::to_string(options.batch_size)},
          {"drop_remainder", options.drop_remainder ? "true" : "false"}};
}

std::span<const std::int64_t> local_batch(const Sampler& sampler, std::int64_t batch,
                                          const Strategy& strategy, std::int64_t unit) {
  if (sampler.num_batches() == 0) return {};
  return sampler.batch(batch, strategy.shard_of(std::ssize(sampler.batch(batch)), unit));
}

// Without samples, one batch that is empty on all ranks still shows the layers to the recorder.
//
// A rank that fails after the last merge of a batch takes its failure to the merges of the next,
// where those are that do not know of it.
void measure(Sequential& model, const Dataset& data, const Sampler& sampler, std::int64_t unit,
             PopulationRecorder& recorder) {
  const std::int64_t num_batches = std::max<std::int64_t>(sampler.num_batches(), 1);
  Tensor inputs, targets;
  Schedule schedule;
  std::optional<Failure> failure;
  for (std::int64_t batch = 0; batch < num_batches; ++batch) {
    const char* phase = "data";
    const auto pass = [&] {
      const auto samples = local_batch(sampler, batch, model.strategy(), unit);
      inputs.resize(data.input_shape().prepended(std::ssize(samples)), model.dtype());
      targets.resize(data.target_shape().prepended(std::ssize(samples)), data.target_dtype());
      data.read(samples, inputs, targets);
      phase = "forward";
      model.forward(inputs, {.mode = Mode::training,
                             .commit = Commit::by_caller,
                             .step = batch,
                             .samples = samples,
                             .population = &recorder});
    };
    schedule.clear();
    model.add_appointments(Pass::forward, schedule);
    if (failure) schedule.fail(batch, *failure);
    failure = attempt([&] {
      schedule.keep(batch, pass, [&] { return Meeting{who, phase, batch}; });
    });
    rethrow_if_known(model.strategy().replicas(), failure);
  }
  if (failure) rethrow(*failure);
}

}  // namespace

PopulationStatistics population_statistics(Sequential& model, const Dataset& data,
                                           const PopulationOptions& options) {
  if (!model.is_built())
    throw StateError(fmt::format(
        "model '{}' is not built; its layers can be measured after build()", model.name()));
  const Communicator& replicas = model.strategy().replicas();
  std::vector<Property> properties;
  std::optional<Sampler> sampler;
  std::int64_t unit = 1;
  const auto refused = attempt([&] {
    properties = properties_of(data, options);
    sampler.emplace(SamplerOptions{.num_samples = data.num_samples(),
                                   .batch_size = options.batch_size,
                                   .shuffle = false,
                                   .drop_remainder = options.drop_remainder});
    unit = ghost_unit_of(model, *sampler);
  });
  agree(replicas, {who, "begin"}, properties, refused);

  PopulationRecorder recorder;
  const auto failure = attempt([&] { measure(model, data, *sampler, unit, recorder); });
  // Where no layer merges over all ranks, some may not know of a failure yet.
  agree(replicas, {who, "end"}, {}, failure);
  return recorder.statistics(replicas);
}

PreciseStatistics::PreciseStatistics(const Dataset& data, PopulationOptions options)
    : data_(data), options_(options) {}

void PreciseStatistics::on_epoch_end(Trainer& trainer, const EpochRecord&) {
  Sequential& model = trainer.model();
  replace_moving_statistics(model, population_statistics(model, data_, options_));
}

}  // namespace lockstep
