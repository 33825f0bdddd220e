// What `lockstep bench` is told.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace CLI {
class App;
}

/// Options of `lockstep bench` with their defaults.
struct BenchOptions {
  std::vector<std::string> shapes = {};  ///< "32,64,56,56" or "4096,1024"; none: the default list
  std::string layout = "all";            ///< of images: nhwc, nchw or all
  std::string dtype = "float32";
  std::int64_t rounds = 0;  ///< samples of each measure; 0: 11, or 5 in a sweep
  bool sweep = false;       ///< many shapes, odd ones among them, instead of the default list
  double stall_timeout =
      300.0;  ///< seconds that ranks wait for one that does not come; 0: for ever
  bool csv = false;
  bool json = false;
  bool quiet = false;
};

/// Makes `app` read the options.
void add_bench_options(CLI::App& app, BenchOptions& options);
