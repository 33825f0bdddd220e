#include "resumption.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <optional>
#include <string_view>

#include "lockstep/base/error.hpp"
#include "lockstep/io/checkpoints.hpp"
#include "on_all_ranks.hpp"
#include "output.hpp"

namespace ls = lockstep;

namespace {

void check_no_checkpoints(const TrainOptions& options) {
  if (options.out.empty()) return;
  const auto files = ls::checkpoints_in(checkpoint_folder_of(options));
  if (!files.empty())
    throw ls::ArgumentError(
        fmt::format("--out: {} holds checkpoints of an earlier run, up to step {}; go on with "
                    "--resume, or choose another folder",
                    options.out, files.front().num_steps));
}

// What rank 0 has to say about it.
std::string restore(ls::Trainer& trainer, const TrainOptions& options) {
  if (options.resume != resume_newest) {
    ls::load_checkpoint(trainer, options.resume);
    return fmt::format("resumed from {} (step {})\n", options.resume, trainer.num_steps());
  }
  const ls::Resumption found = ls::resume(trainer, checkpoint_folder_of(options));
  std::string text;
  for (const std::string& reason : found.passed_over)
    text += fmt::format("passed over: {}\n", reason);
  if (!found.from) return text + "no checkpoint yet: training begins\n";
  return text + fmt::format("resumed from {} (step {})\n", found.from->path.string(),
                            found.from->num_steps);
}

bool is_plain(char c) {
  constexpr std::string_view others = "_-./:=+,@%";
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         others.find(c) != others.npos;
}

// For a shell.
std::string quoted(const std::string& text) {
  if (std::ranges::all_of(text, is_plain)) return text;
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

}  // namespace

std::filesystem::path checkpoint_folder_of(const TrainOptions& options) {
  return std::filesystem::path(options.out) / "checkpoints";
}

void resume_as_told(ls::Trainer& trainer, const TrainOptions& options) {
  const ls::Strategy& strategy = trainer.model().strategy();
  const bool speaks = strategy.rank() == 0;
  if (options.resume.empty()) {
    on_all_ranks(strategy.replicas(), [&] {
      if (speaks) check_no_checkpoints(options);
    });
    return;
  }
  if (options.resume == resume_newest && options.out.empty())
    throw UsageError("--resume: there is no run folder; give --out, or a checkpoint");
  try {
    const std::string text = restore(trainer, options);
    if (speaks && !options.quiet) show(stderr, text);
  } catch (const ls::Error& error) {
    if (error.code() != ls::ErrorCode::data || !error.is_agreed()) throw;
    throw UnusableCheckpoint(std::string("--resume: ") + error.what());
  }
}

std::string advice_to_go_on(const TrainOptions& options, int num_ranks) {
  if (options.out.empty()) return "";
  std::optional<ls::CheckpointFile> newest;
  try {
    newest = ls::newest_checkpoint(checkpoint_folder_of(options)).from;
  } catch (const std::exception&) {
    // No advice must not hide what the advice is about.
  }
  if (!newest) return "";
  const std::string launcher = num_ranks > 1 ? fmt::format("mpirun -n {} ", num_ranks) : "";
  const std::string config = (std::filesystem::path(options.out) / "config.json").string();
  return fmt::format(
      "newest checkpoint: {} (step {})\nto go on: {}lockstep train --config {} "
      "--resume\n",
      newest->path.string(), newest->num_steps, launcher, quoted(config));
}
