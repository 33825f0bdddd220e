#include "run_folder.hpp"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <system_error>
#include <utility>

#include "lockstep/base/error.hpp"
#include "lockstep/io/curves.hpp"
#include "lockstep/io/file.hpp"

namespace ls = lockstep;

namespace {

std::filesystem::path made(std::filesystem::path folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw ls::DataError(
        fmt::format("--out: cannot make the folder {}: {}", folder.string(), error.message()));
  return folder;
}

ls::JsonLinesWriter new_metrics(const std::filesystem::path& path) {
  ls::write_file(path, "");
  return ls::JsonLinesWriter(path);
}

// Training and validation, loss and accuracy: four curves in two panels.
std::vector<ls::Curve> curves_of(const std::vector<ls::EpochRecord>& epochs) {
  std::vector<ls::Curve> curves{{"training", {}, {}, "loss"},
                                {"validation", {}, {}, "loss"},
                                {"training", {}, {}, "accuracy"},
                                {"validation", {}, {}, "accuracy"}};
  for (const ls::EpochRecord& epoch : epochs) {
    if (!epoch.validation) continue;  // of an epoch that a stop has cut
    const std::array values{epoch.training.loss, epoch.validation->loss, epoch.training.metrics[0],
                            epoch.validation->metrics[0]};
    for (std::size_t i = 0; i < values.size(); ++i) {
      curves[i].x.push_back(static_cast<double>(epoch.epoch + 1));
      curves[i].y.push_back(values[i]);
    }
  }
  return curves;
}

}  // namespace

RunFolder::RunFolder(std::filesystem::path folder, const std::string& configuration)
    : folder_(made(std::move(folder))), metrics_(new_metrics(folder_ / "metrics.jsonl")) {
  ls::write_file(folder_ / "config.json", configuration);
  draw();
}

void RunFolder::add(const ls::Record& metrics, const ls::EpochRecord& epoch, bool is_last) {
  metrics_.write(metrics);
  epochs_.push_back(epoch);
  if (is_last || since_drawing_.seconds() > 10.0) draw();
}

void RunFolder::draw() {
  ls::write_curves(curves(), curves_of(epochs_));
  since_drawing_ = Stopwatch();
}
