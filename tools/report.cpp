#include "report.hpp"

#include <spdlog/fmt/fmt.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <system_error>

#include "lockstep/base/error.hpp"
#include "lockstep/base/version.hpp"
#include "lockstep/io/curves.hpp"
#include "lockstep/io/file.hpp"

namespace ls = lockstep;

namespace {

bool is_terminal() {
  winsize size{};
  return isatty(STDOUT_FILENO) != 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 &&
         size.ws_col > 0;
}

std::string file_in(const std::string& folder, const char* name) {
  return (std::filesystem::path(folder) / name).string();
}

double samples_per_second(const ls::EpochRecord& record) {
  return static_cast<double>(record.training.num_samples) / std::max(record.seconds, 1e-9);
}

ls::Record fields_of(const ls::EpochRecord& record) {
  ls::Record fields{{"schema", std::string("lockstep.epoch.1")},
                    {"epoch", record.epoch + 1},
                    {"step", record.num_steps},
                    {"loss", record.training.loss},
                    {"accuracy", record.training.metrics[0]}};
  if (record.validation) {
    fields.push_back({"validation_loss", record.validation->loss});
    fields.push_back({"validation_accuracy", record.validation->metrics[0]});
  }
  fields.push_back({"seconds", record.seconds});
  fields.push_back({"samples_per_second", samples_per_second(record)});
  return fields;
}

// Training and validation, loss and accuracy: four curves in two panels.
std::vector<ls::Curve> curves_of(const std::vector<ls::EpochRecord>& epochs) {
  std::vector<ls::Curve> curves{{"training", {}, {}, "loss"},
                                {"validation", {}, {}, "loss"},
                                {"training", {}, {}, "accuracy"},
                                {"validation", {}, {}, "accuracy"}};
  for (const ls::EpochRecord& epoch : epochs) {
    const auto add = [&](std::size_t curve, double value) {
      curves[curve].x.push_back(static_cast<double>(epoch.epoch + 1));
      curves[curve].y.push_back(value);
    };
    add(0, epoch.training.loss);
    add(2, epoch.training.metrics[0]);
    if (!epoch.validation) continue;
    add(1, epoch.validation->loss);
    add(3, epoch.validation->metrics[0]);
  }
  return curves;
}

}  // namespace

Report::Report(const TrainOptions& options, const ls::Strategy& strategy,
               std::int64_t num_training_samples)
    : options_(options),
      is_speaking_(strategy.rank() == 0),
      is_terminal_(is_speaking_ && !options.json && !options.quiet && is_terminal()) {
  const std::int64_t steps_per_epoch = (num_training_samples + options.batch - 1) / options.batch;
  num_steps_in_all_ = steps_per_epoch * options.epochs;
  if (options.steps > 0) num_steps_in_all_ = std::min(num_steps_in_all_, options.steps);
  if (!is_speaking_) return;
  if (!options.quiet) say_header(strategy);
  if (options.out.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(options.out, error);
  if (error)
    throw ls::DataError(fmt::format("cannot make the folder {}: {}", options.out, error.message()));
  ls::write_file(file_in(options.out, "config.json"), to_json(options));
  ls::write_file(file_in(options.out, "metrics.jsonl"), "");  // those of an earlier run
  metrics_.emplace(file_in(options.out, "metrics.jsonl"));
}

void Report::say_header(const ls::Strategy& strategy) const {
  fmt::print(stderr, "lockstep {} on {} rank{}: {} on {}, global batch {}, {} batch normalization\n",
             LOCKSTEP_VERSION, strategy.num_replicas(), strategy.num_replicas() == 1 ? "" : "s",
             options_.model, options_.data, options_.batch,
             options_.synchronized ? "synchronized" : "local");
}

void Report::on_step_end(ls::Trainer&, const ls::StepRecord& record) {
  using namespace std::chrono_literals;
  if (!is_speaking_ || options_.quiet || options_.json) return;
  const auto now = Clock::now();
  if (now - last_progress_ < (is_terminal_ ? Clock::duration(100ms) : Clock::duration(30s))) return;
  last_progress_ = now;
  show_progress(record);
}

void Report::show_progress(const ls::StepRecord& record) {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const auto done = static_cast<double>(record.step + 1);
  const double seconds_left = seconds / done * (static_cast<double>(num_steps_in_all_) - done);
  clear_progress();
  fmt::print("step {}/{}  loss {:.4f}  accuracy {:.3f}  {:.0f} samples/s  {:.0f} s left{}",
             record.step + 1, num_steps_in_all_, record.training.loss, record.training.metrics[0],
             done * static_cast<double>(options_.batch) / seconds, seconds_left,
             is_terminal_ ? "" : "\n");
  std::fflush(stdout);
}

void Report::clear_progress() {
  if (is_terminal_) fmt::print("\r\033[K");  // to the line's begin, erase it
}

void Report::on_epoch_end(ls::Trainer&, const ls::EpochRecord& record) {
  if (!is_speaking_) return;
  epochs_.push_back(record);
  const ls::Record fields = fields_of(record);
  if (metrics_) metrics_->write(fields);
  clear_progress();
  if (options_.json) {
    fmt::print("{}\n", ls::to_json_line(fields));
  } else {
    fmt::print("epoch {}/{}  loss {:.4f}  accuracy {:.3f}", record.epoch + 1, options_.epochs,
               record.training.loss, record.training.metrics[0]);
    if (record.validation)
      fmt::print("  validation loss {:.4f}  validation accuracy {:.3f}", record.validation->loss,
                 record.validation->metrics[0]);
    fmt::print("  {:.0f} samples/s\n", samples_per_second(record));
  }
  std::fflush(stdout);
}

void Report::finish() {
  if (!is_speaking_ || options_.out.empty()) return;
  const std::string path = file_in(options_.out, "curves.svg");
  ls::write_curves(path, curves_of(epochs_));
  if (!options_.quiet) fmt::print(stderr, "curves: {}\n", path);
}
