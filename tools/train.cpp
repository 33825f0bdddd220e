#include "train.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include "data_source.hpp"
#include "failure_report.hpp"
#include "hosts.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/io/checkpoints.hpp"
#include "lockstep/model/loss.hpp"
#include "lockstep/parallel/strategy.hpp"
#include "lockstep/train/metric.hpp"
#include "lockstep/train/optimizer.hpp"
#include "lockstep/train/population_statistics.hpp"
#include "lockstep/train/stop_signals.hpp"
#include "lockstep/train/trainer.hpp"
#include "models.hpp"
#include "on_all_ranks.hpp"
#include "output.hpp"
#include "report.hpp"
#include "resumption.hpp"

namespace ls = lockstep;

namespace {

std::unique_ptr<ls::Optimizer> optimizer_of(const TrainOptions& options,
                                            const ls::LearningRate& learning_rate) {
  if (options.optimizer == "adam")
    return std::make_unique<ls::Adam>(ls::AdamOptions{.learning_rate = learning_rate});
  return std::make_unique<ls::Sgd>(
      ls::SgdOptions{.learning_rate = learning_rate, .momentum = options.momentum});
}

// What is left of the training.
ls::FitOptions fit_options_of(const TrainOptions& options, const DataSource& data,
                              const ls::Trainer& trainer) {
  const auto rest = [](std::int64_t all, std::int64_t done) {
    return std::max<std::int64_t>(all - done, 0);
  };
  ls::FitOptions fit{.epochs = rest(options.epochs, trainer.num_epochs()),
                     .batch_size = options.batch,
                     .seed = options.seed,
                     .drift_check = options.drift_check,
                     .validation = data.validation.get()};
  if (options.steps > 0) fit.max_steps = rest(options.steps, trainer.num_steps());
  return fit;
}

std::shared_ptr<ls::Callback> checkpoints_of(const TrainOptions& options, int num_ranks) {
  ls::CheckpointsOptions checkpoints{.folder = checkpoint_folder_of(options),
                                     .save_every = options.save_every,
                                     .keep = options.keep,
                                     .note = configuration_of(options, num_ranks)};
  if (options.save_failure == "warn")
    checkpoints.on_failure = [](const std::string& reason) {
      show(stderr, "lockstep: no checkpoint was saved: " + reason + "\n");
    };
  return std::make_shared<ls::Checkpoints>(std::move(checkpoints));
}

// Steps refuse what is not finite, but after the last one there is none to do so, and where they
// skip it there may have been nothing else.
void check_finite(const ls::History& history) {
  if (history.epochs.empty()) return;
  const ls::EpochRecord& last = history.epochs.back();
  const bool is_finite = std::isfinite(last.training.loss) && std::isfinite(last.validation->loss);
  if (is_finite && last.training.num_samples > 0) return;
  ls::throw_error(ls::ErrorCode::non_finite,
                  is_finite ? "all steps of the last epoch were skipped; try a smaller --lr"
                            : "the loss is not finite; try a smaller --lr",
                  std::make_shared<ls::ErrorOrigin>());
}

}  // namespace

bool train(const ls::Communicator& world, const TrainOptions& options) {
  std::optional<ls::StopSignals> signals(std::in_place);
  const ls::Strategy strategy(world.dup());
  DataSource data;
  std::optional<ls::Sequential> model;
  on_all_ranks(world, [&] {
    data = data_source_of(options.data, options.seed);
    model = model_of(options, data.training->input_shape(), data.training->num_classes().value(),
                     strategy);
  });
  model->build(data.training->input_shape().prepended(1));
  const std::int64_t steps_per_epoch =
      (data.training->num_samples() + options.batch - 1) / options.batch;
  const ls::LearningRate learning_rate = learning_rate_of(options, steps_per_epoch);
  ls::Trainer trainer(*model, optimizer_of(options, learning_rate),
                      std::make_unique<ls::SparseCategoricalCrossentropy>(),
                      {.metrics = {std::make_shared<ls::SparseCategoricalAccuracy>()},
                       .seed = options.seed,
                       .nonfinite = nonfinite_of(options)});
  resume_as_told(trainer, options);
  trainer.optimizer().set_learning_rate(learning_rate);  // options go before what was saved

  const auto hosts = host_names(world);
  std::shared_ptr<Report> report;  // rank 0 speaks
  on_all_ranks(world, [&] {
    if (world.rank() != 0) return;
    remove_error_files(error_folder_of(options.out));  // of an earlier run
    report = std::make_shared<Report>(options, hosts, data.training->num_samples(),
                                      trainer.num_steps(), trainer.num_epochs());
  });
  ls::FitOptions fit = fit_options_of(options, data, trainer);
  if (report) fit.callbacks = {report};
  if (!options.out.empty()) fit.callbacks.push_back(checkpoints_of(options, world.size()));
  std::optional<ls::StopFile> stop_file;  // rank 0 looks
  if (report && !options.out.empty())
    stop_file.emplace(std::filesystem::path(options.out) / "stop");
  fit.stop_when = [&] { return signals->have_come() || (stop_file && stop_file->is_there()); };
  const ls::History history = trainer.fit(*data.training, fit);
  signals.reset();                     // nobody asks any more, so they end the process again
  if (stop_file) stop_file->remove();  // one that came with the last step is meant for this run too
  if (history.is_stopped) {
    if (report) report->finish(trainer.num_steps(), true);
    if (report) show(stderr, advice_to_go_on(options, world.size()));
    return false;
  }
  check_finite(history);
  if (options.precise_statistics) {
    ls::replace_moving_statistics(
        *model, ls::population_statistics(*model, *data.training, {.batch_size = options.batch}));
    const ls::Scores validation = trainer.evaluate(*data.validation, options.batch);
    on_all_ranks(world, [&] {
      if (report) report->write_precise(validation);
    });
  }
  if (report) report->finish(trainer.num_steps(), false);
  return true;
}
