#include "train_options.hpp"

#include <CLI/CLI.hpp>
#include <limits>

#include "lockstep/base/version.hpp"
#include "options_json.hpp"
#include "validators.hpp"

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
  add("--lr", options.learning_rate, "learning rate")
      ->check(number_in(0.0, std::numeric_limits<double>::max(), "a finite number >= 0"));
  add("--momentum", options.momentum, "momentum of sgd, in [0, 1]")->check(fraction);
  add("--bn-momentum", options.bn_momentum, "weight of the old value in moving statistics")
      ->check(fraction);
  add("--optimizer", options.optimizer, "sgd or adam")->check(CLI::IsMember({"sgd", "adam"}));
  app.add_flag("--sync,!--no-sync", options.synchronized,
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
  add("--seed", options.seed, "of initial values and sample order")
      ->check(number_in(std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max(),
                        "a whole number from 0 to 2^64-1"));
  add("--stall-timeout", options.stall_timeout,
      "seconds until ranks that wait for one end the job with exit code 75; 0: never")
      ->check(seconds());
  add("--out", options.out, "folder for config.json, metrics.jsonl and curves.svg");
  app.add_flag("--json", options.json, "write JSON Lines to standard output");
  app.add_flag("--quiet", options.quiet, "write results only, no progress");
  app.footer(
      "What no option says is taken from the environment: LOCKSTEP_BATCH for --batch,\n"
      "LOCKSTEP_BN_MOMENTUM for --bn-momentum, LOCKSTEP_SYNC=false for --no-sync.");
}

lockstep::Nonfinite nonfinite_of(const TrainOptions& options) {
  if (options.nonfinite == "skip") return lockstep::Nonfinite::skip_update;
  return options.nonfinite == "warn" ? lockstep::Nonfinite::warn : lockstep::Nonfinite::error;
}

std::string configuration_of(const TrainOptions& options, int num_ranks) {
  nlohmann::json configuration = options;
  configuration["schema"] = "lockstep.config.1";
  configuration["version"] = LOCKSTEP_VERSION;
  configuration["ranks"] = num_ranks;
  return configuration.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}
