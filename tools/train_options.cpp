#include "train_options.hpp"

#include <CLI/CLI.hpp>
#include <array>
#include <nlohmann/json.hpp>
#include <span>

#include "exit_code.hpp"
#include "lockstep/base/version.hpp"
#include "lockstep/comm/collectives.hpp"

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TrainOptions, data, model, batch, epochs, steps, learning_rate,
                                   momentum, bn_momentum, optimizer, synchronized, seed, out, json,
                                   quiet)

namespace {

void add_train_options(CLI::App& app, TrainOptions& options) {
  const auto add = [&](const char* flag, auto& value, const char* help) {
    std::string variable = "LOCKSTEP_";
    for (const char* c = flag + 2; *c != '\0'; ++c)
      variable += *c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(*c)));
    return app.add_option(flag, value, help)->envname(variable)->capture_default_str();
  };
  add("--data", options.data, "synthetic:blobs, synthetic:images or idx:FOLDER");
  add("--model", options.model, "mlp or cnn")->check(CLI::IsMember({"mlp", "cnn"}));
  add("--batch", options.batch, "samples of the global batch, over all ranks")
      ->check(CLI::Range(std::int64_t{1}, INT64_MAX));
  add("--epochs", options.epochs, "passes over the data")
      ->check(CLI::Range(std::int64_t{1}, INT64_MAX));
  add("--steps", options.steps, "end after so many steps; 0: no limit")
      ->check(CLI::Range(std::int64_t{0}, INT64_MAX));
  add("--lr", options.learning_rate, "learning rate");
  add("--momentum", options.momentum, "momentum of sgd");
  add("--bn-momentum", options.bn_momentum, "weight of the old value in moving statistics");
  add("--optimizer", options.optimizer, "sgd or adam")->check(CLI::IsMember({"sgd", "adam"}));
  app.add_flag("--sync,!--no-sync", options.synchronized,
               "batch statistics over all ranks (default), or of each rank alone");
  add("--seed", options.seed, "of initial values and sample order");
  add("--out", options.out, "folder for config.json, metrics.jsonl and curves.svg");
  app.add_flag("--json", options.json, "write JSON Lines to standard output");
  app.add_flag("--quiet", options.quiet, "write results only, no progress");
}

struct Parsed {
  int exit_code = 0;
  bool has_options = false;
  TrainOptions options;
};

Parsed parse(int argc, char** argv) {
  Parsed parsed;
  CLI::App app("Trains with synchronized batch normalization on all ranks of an MPI job.", "lockstep");
  app.set_version_flag("--version", LOCKSTEP_VERSION);
  app.require_subcommand(1);
  CLI::App* train = app.add_subcommand("train", "train a small network; alone or under mpirun");
  add_train_options(*train, parsed.options);
  try {
    app.parse(argc, argv);
    parsed.has_options = true;
  } catch (const CLI::ParseError& error) {
    parsed.exit_code = app.exit(error) == 0 ? exit_ok : exit_usage;
  }
  return parsed;
}

}  // namespace

std::string to_json(const TrainOptions& options) { return nlohmann::json(options).dump(2) + "\n"; }

std::variant<TrainOptions, int> parse_command_line(const lockstep::Communicator& world, int argc,
                                                   char** argv) {
  Parsed parsed;
  std::string text;
  if (world.rank() == 0) {
    parsed = parse(argc, argv);
    text = nlohmann::json(parsed.options).dump();
  }
  std::array<std::int64_t, 3> head{parsed.exit_code, parsed.has_options ? 1 : 0,
                                   static_cast<std::int64_t>(text.size())};
  lockstep::broadcast(world, std::as_writable_bytes(std::span(head)), 0);
  if (head[1] == 0) return static_cast<int>(head[0]);
  text.resize(static_cast<std::size_t>(head[2]));
  lockstep::broadcast(world, std::as_writable_bytes(std::span(text)), 0);
  return nlohmann::json::parse(text).get<TrainOptions>();
}
