#include "command_line.hpp"

#include <CLI/CLI.hpp>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "config_file.hpp"
#include "exit_code.hpp"
#include "lockstep/base/version.hpp"
#include "lockstep/comm/collectives.hpp"
#include "options_json.hpp"
#include "suggestion.hpp"

namespace {

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

// What may have been meant by a flag that is not known.
std::string hint_about(const CLI::App& app) {
  const std::vector<std::string> unknown = app.remaining();
  if (unknown.empty()) return "";
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  return suggestion_for(unknown.front(), known);
}

Order parse(int argc, char** argv) {
  TrainOptions train_options;
  BenchOptions bench_options;
  InspectOptions inspect_options;
  CLI::App app("Synchronized batch normalization on all ranks of an MPI job.", "lockstep");
  app.set_version_flag("--version", LOCKSTEP_VERSION);
  app.require_subcommand(1);
  // So that scripts can append to what they pass on.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  CLI::App* train = app.add_subcommand("train", "train a small network; alone or under mpirun");
  add_train_options(*train, train_options);
  CLI::App* bench =
      app.add_subcommand("bench", "measure against the speed of memory; alone or under mpirun");
  add_bench_options(*bench, bench_options);
  CLI::App* inspect = app.add_subcommand("inspect", "show and verify a checkpoint");
  add_inspect_options(*inspect, inspect_options);
  try {
    app.parse(argc, argv);
    for (CLI::App* subcommand : app.get_subcommands())
      if (subcommand != inspect) read_environment(*subcommand);
    if (!train_options.config.empty()) read_config_file(*train, train_options.config);
    if (inspect->parsed()) return inspect_options;
    return bench->parsed() ? Order(bench_options) : Order(train_options);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // help or version
    std::string about = "lockstep", hint;
    for (const CLI::App* subcommand : app.get_subcommands()) {
      about += " " + subcommand->get_name();
      hint = hint_about(*subcommand);
    }
    std::fprintf(stderr, "lockstep: %s%s\nTry %s --help\n", error.what(), hint.c_str(),
                 about.c_str());
    return exit_usage;
  }
}

nlohmann::json json_of(const Order& order) {
  return std::visit([](const auto& content) { return nlohmann::json(content); }, order);
}

Order order_of(std::size_t kind, const nlohmann::json& content) {
  if (kind == Order(TrainOptions{}).index()) return content.get<TrainOptions>();
  if (kind == Order(BenchOptions{}).index()) return content.get<BenchOptions>();
  if (kind == Order(InspectOptions{}).index()) return content.get<InspectOptions>();
  return content.get<int>();
}

}  // namespace

Order parse_command_line(const lockstep::Communicator& world, int argc, char** argv) {
  std::array<std::uint64_t, 2> head{};
  std::vector<std::uint8_t> message;  // CBOR: paths need not be UTF-8
  if (world.rank() == 0) {
    const Order order = parse(argc, argv);
    message = nlohmann::json::to_cbor(json_of(order));
    head = {order.index(), message.size()};
  }
  lockstep::broadcast(world, std::as_writable_bytes(std::span(head)), 0);
  message.resize(head[1]);
  lockstep::broadcast(world, std::as_writable_bytes(std::span(message)), 0);
  return order_of(head[0], nlohmann::json::from_cbor(message));
}
