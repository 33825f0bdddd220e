#include "report.hpp"

#include <spdlog/fmt/fmt.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "hosts.hpp"
#include "output.hpp"

namespace ls = lockstep;

namespace {

constexpr const char* erase_line = "\r\033[K";

// Columns of the terminal that standard output is; 0: none. Open MPI's pseudo terminals have none.
std::size_t terminal_width() {
  winsize size{};
  const bool is_terminal =
      isatty(STDOUT_FILENO) != 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
  return is_terminal ? size.ws_col : 0;
}

std::string time_text(double seconds) {
  if (seconds < 100.0) return fmt::format("{:.0f} s", seconds);
  if (seconds < 6000.0) return fmt::format("{:.0f} min", seconds / 60.0);
  return fmt::format("{:.1f} h", seconds / 3600.0);
}

// Measures of an epoch that go with its scores.
struct Speed {
  double samples_per_second;
  double communication_share;
};

ls::Record fields_of(const ls::EpochRecord& record, const Speed& speed) {
  ls::Record fields{{"schema", std::string("lockstep.epoch.1")},
                    {"epoch", record.epoch + 1},
                    {"step", record.num_steps},
                    {"loss", record.training.loss},
                    {"accuracy", record.training.metrics[0]}};
  if (record.validation)
    fields.insert(fields.end(), {{"validation_loss", record.validation->loss},
                                 {"validation_accuracy", record.validation->metrics[0]}});
  fields.insert(fields.end(), {{"skipped_steps", record.num_skipped},
                               {"seconds", record.seconds},
                               {"samples_per_second", speed.samples_per_second},
                               {"communication_share", speed.communication_share}});
  return fields;
}

std::string line_of(const ls::EpochRecord& record, const Speed& speed, std::int64_t num_epochs) {
  const std::string validation =
      record.validation ? fmt::format("validation loss {:.4f}  validation accuracy {:.3f}",
                                      record.validation->loss, record.validation->metrics[0])
                        : "stopped";
  return fmt::format(
      "epoch {}/{}  loss {:.4f}  accuracy {:.3f}  {}  {:.0f} samples/s  communication {:.0f}%",
      record.epoch + 1, num_epochs, record.training.loss, record.training.metrics[0], validation,
      speed.samples_per_second, 100.0 * speed.communication_share);
}

std::int64_t num_steps_of(const TrainOptions& options, std::int64_t num_samples) {
  const std::int64_t per_epoch = (num_samples + options.batch - 1) / options.batch;
  const std::int64_t num_steps = per_epoch * options.epochs;
  return options.steps > 0 ? std::min(num_steps, options.steps) : num_steps;
}

std::string header_of(const TrainOptions& options, const std::vector<std::string>& hosts) {
  return fmt::format("{}\n{} on {}, global batch {}, {} batch normalization\n", job_line(hosts),
                     options.model, options.data, options.batch,
                     options.synchronized ? "synchronized" : "local");
}

}  // namespace

Report::Report(const TrainOptions& options, const std::vector<std::string>& hosts,
               std::int64_t num_training_samples, std::int64_t first_step, std::int64_t num_epochs)
    : options_(options),
      has_progress_line_(!options.json && !options.quiet && terminal_width() > 0),
      num_steps_(num_steps_of(options, num_training_samples)),
      first_step_(first_step) {
  if (!options.out.empty())
    folder_.emplace(options.out, configuration_of(options, static_cast<int>(hosts.size())),
                    num_epochs);
  if (!options.quiet) show(stderr, header_of(options, hosts));
}

Report::~Report() {
  if (has_progress_line_) show(stdout, erase_line);
}

void Report::on_step_end(ls::Trainer&, const ls::StepRecord& record) {
  num_samples_ += record.training.num_samples;
  num_epoch_samples_ += record.training.num_samples;
  if (options_.quiet || since_progress_.seconds() < (has_progress_line_ ? 0.1 : 30.0)) return;
  since_progress_ = Stopwatch();
  const std::string progress = progress_of(record);
  if (!has_progress_line_) return show(stderr, progress + "\n");
  // A line that fills the terminal could not be erased.
  const std::size_t width = std::max<std::size_t>(terminal_width(), 1) - 1;
  show(stdout, erase_line + progress.substr(0, width));
}

std::string Report::progress_of(const ls::StepRecord& record) const {
  const double seconds = since_start_.seconds();
  const auto num_done = static_cast<double>(record.step + 1 - first_step_);
  const auto num_left = static_cast<double>(num_steps_ - record.step - 1);
  const double seconds_left = seconds / num_done * num_left;
  return fmt::format(
      "step {}/{}  loss {:.4f}  accuracy {:.3f}  {:.0f} samples/s  communication {:.0f}%  {} left",
      record.step + 1, num_steps_, record.training.loss, record.training.metrics[0],
      static_cast<double>(num_samples_) / seconds, 100.0 * since_start_.communication_share(),
      time_text(seconds_left));
}

void Report::on_epoch_end(ls::Trainer&, const ls::EpochRecord& record) {
  const Speed speed{static_cast<double>(num_epoch_samples_) / record.seconds,
                    since_epoch_.communication_share()};
  num_epoch_samples_ = 0;
  since_epoch_ = Stopwatch();
  const ls::Record fields = fields_of(record, speed);
  if (folder_) folder_->add(fields, record, record.num_steps == num_steps_ || !record.is_whole);
  const std::string line =
      options_.json ? ls::to_json_line(fields) : line_of(record, speed, options_.epochs);
  write_result((has_progress_line_ ? erase_line : "") + line + "\n");
}

void Report::write_precise(const ls::Scores& validation) {
  const ls::Record fields{{"schema", std::string("lockstep.precise.1")},
                          {"validation_loss", validation.loss},
                          {"validation_accuracy", validation.metrics[0]}};
  if (folder_) folder_->add(fields);
  write_result((options_.json ? ls::to_json_line(fields)
                              : fmt::format("precise statistics  validation loss {:.4f}  "
                                            "validation accuracy {:.3f}",
                                            validation.loss, validation.metrics[0])) +
               "\n");
}

void Report::finish(std::int64_t num_steps, bool is_stopped) const {
  if (is_stopped)
    show(stderr, fmt::format("lockstep: stopped after step {} of {}, as a signal or a stop file "
                             "asked for\n",
                             num_steps, num_steps_));
  if (folder_ && !options_.quiet)
    show(stderr, fmt::format("curves: {}\n", folder_->curves().string()));
}
