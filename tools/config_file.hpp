// Options from a file like the config.json of a run.

#pragma once

#include <filesystem>

namespace CLI {
class App;
}

/// Gives the options that have no value yet those of a JSON object, by their long names with "_"
/// for "-"; what a config.json says about its run is passed over. Throws CLI::Error that names the
/// file for one that cannot be read, unknown names, with a suggestion, and values that are refused.
void read_config_file(CLI::App& app, const std::filesystem::path& path);
