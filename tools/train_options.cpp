#include "train_options.hpp"

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <vector>

#include "exit_code.hpp"
#include "lockstep/base/version.hpp"
#include "lockstep/comm/collectives.hpp"

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TrainOptions, data, model, dtype, batch, epochs, steps,
                                   learning_rate, momentum, bn_momentum, optimizer, synchronized,
                                   seed, out, json, quiet)

namespace {

// Beyond this a count is a slip, and products of counts might overflow.
constexpr std::int64_t max_count = 1'000'000'000;

// CLI11's own range lets NaN through and cuts what overflows.
template <class T>
CLI::Validator number_in(T least, T greatest, const std::string& what) {
  const auto check = [=](const std::string& text) {
    T value{};
    const char* const end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, value);
    const bool is_number = result.ec == std::errc() && result.ptr == end;
    return is_number && value >= least && value <= greatest
               ? std::string()
               : fmt::format("expected {}, got '{}'", what, text);
  };
  return {check, ""};
}

CLI::Validator count_from(std::int64_t least) {
  return number_in(least, max_count, fmt::format("a whole number from {} to {}", least, max_count));
}

void add_train_options(CLI::App& app, TrainOptions& options) {
  // So that scripts can append to what they pass on.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
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
  add("--seed", options.seed, "of initial values and sample order")
      ->check(number_in(std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max(),
                        "a whole number from 0 to 2^64-1"));
  add("--out", options.out, "folder for config.json, metrics.jsonl and curves.svg");
  app.add_flag("--json", options.json, "write JSON Lines to standard output");
  app.add_flag("--quiet", options.quiet, "write results only, no progress");
  app.footer(
      "What no option says is taken from the environment: LOCKSTEP_BATCH for --batch,\n"
      "LOCKSTEP_BN_MOMENTUM for --bn-momentum, LOCKSTEP_SYNC=false for --no-sync.");
}

std::string variable_of(const CLI::Option& option) {
  std::string name = "LOCKSTEP_";
  for (const char c : option.get_lnames().front())
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

// Gives the options that the command line does not have the values of their variables. Newer
// versions of CLI11 ignore variables that hold nonsense; here they are errors.
void read_environment(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->count() > 0 || option == app.get_help_ptr()) continue;
    const std::string variable = variable_of(*option);
    const char* const value = std::getenv(variable.c_str());
    if (value == nullptr || *value == '\0') continue;
    try {
      option->add_result(value);
      option->run_callback();
    } catch (const CLI::Error& error) {
      throw CLI::ValidationError(variable, error.what());
    }
  }
}

struct Parsed {
  int exit_code = exit_ok;
  std::optional<TrainOptions> options;
};

Parsed parse(int argc, char** argv) {
  TrainOptions options;
  CLI::App app("Trains with synchronized batch normalization on all ranks of an MPI job.",
               "lockstep");
  app.set_version_flag("--version", LOCKSTEP_VERSION);
  app.require_subcommand(1);
  CLI::App* train = app.add_subcommand("train", "train a small network; alone or under mpirun");
  add_train_options(*train, options);
  try {
    app.parse(argc, argv);
    read_environment(*train);
    return {exit_ok, options};
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return {app.exit(error), std::nullopt};  // help or version
    std::fprintf(stderr, "lockstep: %s\nTry lockstep train --help\n", error.what());
    return {exit_usage, std::nullopt};
  }
}

}  // namespace

std::string configuration_of(const TrainOptions& options, int num_ranks) {
  nlohmann::json configuration = options;
  configuration["schema"] = "lockstep.config.1";
  configuration["version"] = LOCKSTEP_VERSION;
  configuration["ranks"] = num_ranks;
  return configuration.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::variant<TrainOptions, int> parse_command_line(const lockstep::Communicator& world, int argc,
                                                   char** argv) {
  Parsed parsed;
  std::vector<std::uint8_t> message;  // CBOR: paths need not be UTF-8
  if (world.rank() == 0) {
    parsed = parse(argc, argv);
    if (parsed.options) message = nlohmann::json::to_cbor(*parsed.options);
  }
  std::array<std::int64_t, 2> head{parsed.exit_code, static_cast<std::int64_t>(message.size())};
  lockstep::broadcast(world, std::as_writable_bytes(std::span(head)), 0);
  if (head[1] == 0) return static_cast<int>(head[0]);
  message.resize(static_cast<std::size_t>(head[1]));
  lockstep::broadcast(world, std::as_writable_bytes(std::span(message)), 0);
  return nlohmann::json::from_cbor(message).get<TrainOptions>();
}
