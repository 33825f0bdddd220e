#include "bench/bench_options.hpp"

#include <CLI/CLI.hpp>

#include "bench/workload.hpp"
#include "lockstep/base/error.hpp"
#include "validators.hpp"

namespace {

CLI::Validator shape_text() {
  const auto check = [](const std::string& text) {
    try {
      (void)extents_of(text);
      return std::string();
    } catch (const lockstep::ArgumentError& error) {
      return std::string(error.what());
    }
  };
  return {check, ""};
}

}  // namespace

void add_bench_options(CLI::App& app, BenchOptions& options) {
  const auto add = [&](const char* flag, auto& value, const char* help) {
    return app.add_option(flag, value, help)->capture_default_str();
  };
  app.add_option("--shape", options.shapes,
                 "N,C,H,W or N,C of each rank's batch; may be given several times")
      ->delimiter(' ')
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(shape_text());
  add("--layout", options.layout, "of batches of images: nhwc, nchw or all")
      ->check(CLI::IsMember({"nhwc", "nchw", "all"}));
  add("--dtype", options.dtype, "float32, float64, bfloat16 or float16")
      ->check(CLI::IsMember({"float32", "float64", "bfloat16", "float16"}));
  add("--rounds", options.rounds, "samples of each measure; 0: 11, or 5 in a sweep")
      ->check(count_from(0));
  app.add_flag("--sweep", options.sweep,
               "the layer alone on many shapes, odd ones among them, in a few minutes");
  add("--stall-timeout", options.stall_timeout,
      "seconds until ranks that wait for one end the job with exit code 75; 0: never")
      ->check(seconds());
  CLI::Option* csv =
      app.add_flag("--csv", options.csv, "write comma-separated values to standard output");
  app.add_flag("--json", options.json, "write JSON Lines to standard output")->excludes(csv);
  app.add_flag("--quiet", options.quiet, "write measures only, no comments");
  app.footer(
      "Ratios compare medians taken in turns on the same memory; under mpirun all ranks work at "
      "the\n"
      "same time, and the slowest counts. The exit code is 1 when a result differs from the\n"
      "reference, and 0 otherwise, also where targets are missed.\n"
      "What no option says is taken from the environment: LOCKSTEP_ROUNDS for --rounds,\n"
      "LOCKSTEP_SHAPE=\"256,64 32,64,56,56\" for two --shape.");
}
