#include "train.hpp"

#include <memory>

#include "data_source.hpp"
#include "exit_code.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/model/loss.hpp"
#include "lockstep/parallel/strategy.hpp"
#include "lockstep/train/metric.hpp"
#include "lockstep/train/optimizer.hpp"
#include "lockstep/train/trainer.hpp"
#include "models.hpp"
#include "on_all_ranks.hpp"
#include "report.hpp"

namespace ls = lockstep;

namespace {

std::unique_ptr<ls::Optimizer> optimizer_of(const TrainOptions& options) {
  if (options.optimizer == "adam")
    return std::make_unique<ls::Adam>(ls::AdamOptions{.learning_rate = options.learning_rate});
  return std::make_unique<ls::Sgd>(
      ls::SgdOptions{.learning_rate = options.learning_rate, .momentum = options.momentum});
}

ls::FitOptions fit_options_of(const TrainOptions& options, const DataSource& data,
                              std::shared_ptr<ls::Callback> report) {
  ls::FitOptions fit{.epochs = options.epochs,
                     .batch_size = options.batch,
                     .seed = options.seed,
                     .validation = data.validation.get(),
                     .callbacks = {std::move(report)}};
  if (options.steps > 0) fit.max_steps = options.steps;
  return fit;
}

}  // namespace

int train(const TrainOptions& options) {
  const ls::Strategy strategy{ls::Communicator::world()};
  const ls::Communicator& world = strategy.replicas();
  DataSource data;
  std::optional<ls::Sequential> model;
  std::shared_ptr<Report> report;
  on_all_ranks(world, [&] {
    data = data_source_of(options.data, options.seed);
    model = model_of(options, data.training->input_shape(),
                     data.training->num_classes().value_or(1), strategy);
    report = std::make_shared<Report>(options, strategy, data.training->num_samples());
  });
  ls::Trainer trainer(*model, optimizer_of(options),
                      std::make_unique<ls::SparseCategoricalCrossentropy>(),
                      {.metrics = {std::make_shared<ls::SparseCategoricalAccuracy>()},
                       .seed = options.seed});
  trainer.fit(*data.training, fit_options_of(options, data, report));
  on_all_ranks(world, [&] { report->finish(); });
  return exit_ok;
}
