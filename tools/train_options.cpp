#include "train_options.hpp"

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "lockstep/base/version.hpp"
#include "options_json.hpp"
#include "validators.hpp"

namespace {

// A number from the text's beginning up to `end`, which goes too.
template <class T>
std::optional<T> take_number(std::string_view& text, char end) {
  T value{};
  const auto size = std::min(text.find(end), text.size());
  const auto [last, error] = std::from_chars(text.data(), text.data() + size, value);
  if (error != std::errc() || last != text.data() + size) return std::nullopt;
  text.remove_prefix(std::min(size + 1, text.size()));
  return value;
}

// A schedule that drops: by which factor, and after how many steps or epochs.
struct Drop {
  bool is_by_epochs;
  double factor;
  std::int64_t interval;
};

std::optional<Drop> drop_of(std::string_view text) {
  for (const bool is_by_epochs : {false, true}) {
    const std::string_view prefix = is_by_epochs ? "epoch:" : "step:";
    if (!text.starts_with(prefix)) continue;
    text.remove_prefix(prefix.size());
    const auto factor = take_number<double>(text, ':');
    const auto interval = take_number<std::int64_t>(text, '\0');
    if (factor && interval && std::isfinite(*factor) && *factor >= 0.0 && *interval >= 1 &&
        *interval <= 1'000'000'000 && text.empty())
      return Drop{is_by_epochs, *factor, *interval};
  }
  return std::nullopt;
}

std::string judge_schedule(const std::string& text) {
  if (text == "constant" || drop_of(text)) return "";
  return fmt::format("expected constant, step:FACTOR:STEPS or epoch:FACTOR:EPOCHS, got '{}'", text);
}

}  // namespace

void add_train_options(CLI::App& app, TrainOptions& options) {
  const auto add = [&](const char* flag, auto& value, const char* help) {
    return app.add_option(flag, value, help)->capture_default_str();
  };
  const CLI::Validator fraction = number_in(0.0, 1.0, "a number in [0, 1]");
  add("--data", options.data, "synthetic:blobs, synthetic:images or idx:FOLDER");
  add("--model", options.model, "mlp, cnn or resnet")
      ->check(CLI::IsMember({"mlp", "cnn", "resnet"}));
  add("--dtype", options.dtype, "float32, float64, bfloat16 or float16, between layers")
      ->check(CLI::IsMember({"float32", "float64", "bfloat16", "float16"}));
  add("--batch", options.batch, "samples of the global batch, over all ranks")
      ->check(count_from(1));
  add("--epochs", options.epochs, "passes over the data")->check(count_from(1));
  add("--steps", options.steps, "end after so many steps; 0: no limit")->check(count_from(0));
  add("--lr,--learning-rate", options.learning_rate, "learning rate")
      ->check(number_in(0.0, std::numeric_limits<double>::max(), "a finite number >= 0"));
  add("--schedule", options.schedule,
      "of the learning rate: constant, step:FACTOR:STEPS or epoch:FACTOR:EPOCHS")
      ->check(CLI::Validator(judge_schedule, ""));
  add("--momentum", options.momentum, "momentum of sgd, in [0, 1]")->check(fraction);
  add("--bn-momentum", options.bn_momentum, "weight of the old value in moving statistics")
      ->check(fraction);
  add("--optimizer", options.optimizer, "sgd or adam")->check(CLI::IsMember({"sgd", "adam"}));
  app.add_flag("--sync,--synchronized,!--no-sync", options.synchronized,
               "batch statistics over all ranks (default), or of each rank alone");
  add("--statistics", options.statistics,
      "sums of batch normalization: exact (same bits on any number of ranks) or fast")
      ->check(CLI::IsMember({"exact", "fast"}));
  app.add_flag("--precise-statistics", options.precise_statistics,
               "at the end, replace moving statistics by those of all training samples");
  add("--nonfinite", options.nonfinite,
      "where a loss, a gradient or an input of batch normalization is NaN or infinite: end with "
      "an\n"
      "error, skip the step, or warn and go on")
      ->check(CLI::IsMember({"error", "skip", "warn"}));
  add("--drift-check", options.drift_check,
      "compare parameters, statistics and optimizer of all ranks every so many steps; 0: never")
      ->check(count_from(0));
  add("--seed", options.seed, "of initial values and sample order")
      ->check(number_in(std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max(),
                        "a whole number from 0 to 2^64-1"));
  add("--stall-timeout", options.stall_timeout,
      "seconds until ranks that wait for one end the job with exit code 75; 0: never")
      ->check(seconds());
  add("--out", options.out, "folder for config.json, metrics.jsonl, curves.svg and checkpoints");
  add("--save-every", options.save_every,
      "with --out, steps between checkpoints; 0: after every epoch")
      ->check(count_from(0));
  add("--keep", options.keep, "newest checkpoints that stay, besides the best one")
      ->check(number_in(1, 1'000'000, "a whole number from 1 to 1000000"));
  add("--save-failure", options.save_failure, "when a checkpoint cannot be saved: stop or warn")
      ->check(CLI::IsMember({"stop", "warn"}));
  app.add_option("--resume", options.resume,
                 "go on from a checkpoint; without a file from the newest one of --out")
      ->expected(0, 1)
      ->default_str(resume_newest);
  app.add_option("--config", options.config, "JSON file with options, like config.json of --out");
  app.add_flag("--dry-run", options.dry_run, "print the options as resolved, and end");
  app.add_flag("--json", options.json, "write JSON Lines to standard output");
  app.add_flag("--quiet", options.quiet, "write results only, no progress");
  app.footer(
      "What no option says is taken from the environment: LOCKSTEP_BATCH for --batch,\n"
      "LOCKSTEP_BN_MOMENTUM for --bn-momentum, LOCKSTEP_SYNC=false for --no-sync; then\n"
      "from the file of --config.");
}

lockstep::LearningRate learning_rate_of(const TrainOptions& options, std::int64_t steps_per_epoch) {
  const auto drop = drop_of(options.schedule);
  if (!drop) return options.learning_rate;
  return lockstep::StepDecay{
      .initial = options.learning_rate,
      .factor = drop->factor,
      .interval = drop->interval * (drop->is_by_epochs ? steps_per_epoch : 1)};
}

lockstep::Nonfinite nonfinite_of(const TrainOptions& options) {
  if (options.nonfinite == "skip") return lockstep::Nonfinite::skip_update;
  return options.nonfinite == "warn" ? lockstep::Nonfinite::warn : lockstep::Nonfinite::error;
}

std::string configuration_of(const TrainOptions& options, int num_ranks) {
  nlohmann::json configuration = options;
  for (const char* key : {"resume", "config", "dry_run"}) configuration.erase(key);
  configuration["schema"] = "lockstep.config.1";
  configuration["version"] = LOCKSTEP_VERSION;
  configuration["ranks"] = num_ranks;
  return configuration.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}
