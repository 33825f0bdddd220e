#include "bench/step_bench.hpp"

#include <spdlog/fmt/fmt.h>

#include <numeric>
#include <vector>

#include "bench/buffers.hpp"
#include "lockstep/base/tensor.hpp"
#include "lockstep/model/loss.hpp"
#include "lockstep/train/optimizer.hpp"
#include "lockstep/train/synthetic.hpp"
#include "lockstep/train/trainer.hpp"
#include "models.hpp"

namespace ls = lockstep;

namespace {

// This rank's part of a global batch.
struct Batch {
  Batch(const ls::SyntheticImages& data, const ls::Shard& shard, ls::DType dtype)
      : inputs(data.input_shape().prepended(shard.count), dtype),
        targets(data.target_shape().prepended(shard.count), ls::DType::int64) {
    std::vector<std::int64_t> samples(static_cast<std::size_t>(shard.count));
    std::iota(samples.begin(), samples.end(), shard.first);
    ls::Tensor images(inputs.shape(), data.input_dtype());
    data.read(samples, images, targets);
    convert(images, inputs);
  }

  ls::Tensor inputs, targets;
};

// A model with its trainer.
struct Course {
  Course(const TrainOptions& options, const ls::SyntheticImages& data, const ls::Strategy& strategy)
      : model(model_of(options, data.input_shape(), data.num_classes().value(), strategy)),
        trainer(model, ls::Sgd({.learning_rate = options.learning_rate}),
                ls::SparseCategoricalCrossentropy()) {
    model.build(data.input_shape().prepended(1));
  }

  ls::Sequential model;
  ls::Trainer trainer;
};

}  // namespace

std::vector<Row> step_rows(const ls::Communicator& world, const std::string& dtype,
                           const MeasureOptions& options) {
  const ls::Strategy strategy(world.dup());
  const ls::SyntheticImages data;
  TrainOptions local;
  local.dtype = dtype;
  TrainOptions synchronized = local;
  local.synchronized = false;
  TrainOptions fast = local;
  fast.statistics = "fast";
  const Batch batch(data, strategy.shard_of(local.batch), ls::dtype_of(dtype));
  Course local_course(local, data, strategy);
  Course fast_course(fast, data, strategy);
  Course synchronized_course(synchronized, data, strategy);
  std::vector<Candidate> candidates{
      {"step", [&] { local_course.trainer.step(batch.inputs, batch.targets); }},
      {"fast step", [&] { fast_course.trainer.step(batch.inputs, batch.targets); }}};
  if (!world.is_solo())
    candidates.push_back(
        {"sync step", [&] { synchronized_course.trainer.step(batch.inputs, batch.targets); }});
  const auto series = measure(world, candidates, options);

  std::vector<Row> rows;
  for (const Candidate& candidate : candidates) {
    if (candidate.name == "fast step") continue;
    const Series& measured = series.at(candidate.name);
    rows.push_back({.shape = fmt::format("cnn, batch {}", local.batch),
                    .dtype = dtype,
                    .what = candidate.name,
                    .microseconds = 1e6 * median_of(measured),
                    .spread = spread_of(measured)});
  }
  rows.front().against = "fast step";
  rows.front().ratio = ratio_of(series.at("step"), series.at("fast step"));
  rows.front().target = Target{Target::Of::ratio, 1.02};
  if (world.is_solo()) return rows;
  rows.back().against = "local step";
  rows.back().ratio = ratio_of(series.at("sync step"), series.at("step"));
  return rows;
}
