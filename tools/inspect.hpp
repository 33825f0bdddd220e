// `lockstep inspect`.

#pragma once

#include <string>

#include "lockstep/comm/communicator.hpp"

namespace CLI {
class App;
}

struct InspectOptions {
  std::string file;
  std::string other;  ///< to be compared with; empty: none
  bool json = false;
};

/// Makes `app` read the options.
void add_inspect_options(CLI::App& app, InspectOptions& options);

/// Shows on rank 0 what a safetensors file holds and verifies each of its bytes, or in which
/// tensors and texts two files differ. Returns the exit code, that of an unusable checkpoint where
/// a file cannot be read. Collective.
[[nodiscard]] int inspect(const lockstep::Communicator& world, const InspectOptions& options);
