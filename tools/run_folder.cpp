#include "run_folder.hpp"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
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

using Json = nlohmann::json;

// The epoch of a line of metrics, if it is one of the first `num_epochs`.
std::optional<ls::EpochRecord> epoch_in(const std::string& line, std::int64_t num_epochs) {
  try {
    const Json json = Json::parse(line);
    const auto number = [&](const char* name) {
      const Json& value = json.at(name);  // null stands for what is not finite
      return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
    };
    ls::EpochRecord epoch;
    epoch.epoch = json.at("epoch").get<std::int64_t>() - 1;
    epoch.num_steps = json.at("step").get<std::int64_t>();
    epoch.training = {0, number("loss"), {number("accuracy")}};
    epoch.validation = ls::Scores{0, number("validation_loss"), {number("validation_accuracy")}};
    if (epoch.epoch >= num_epochs) return std::nullopt;
    return epoch;
  } catch (const Json::exception&) {
    return std::nullopt;  // of another kind, or cut off when the run before died
  }
}

// Keeps the lines of the first `num_epochs` epochs, which are added to `epochs`.
ls::JsonLinesWriter metrics_of(std::int64_t num_epochs, const std::filesystem::path& path,
                               std::vector<ls::EpochRecord>& epochs) {
  std::string kept;
  std::ifstream file(path);
  for (std::string line; num_epochs > 0 && std::getline(file, line);) {
    const auto epoch = epoch_in(line, num_epochs);
    if (!epoch) continue;
    epochs.push_back(*epoch);
    kept += line + "\n";
  }
  ls::write_file(path, kept);
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

RunFolder::RunFolder(std::filesystem::path folder, const std::string& configuration,
                     std::int64_t num_epochs)
    : folder_(made(std::move(folder))),
      metrics_(metrics_of(num_epochs, folder_ / "metrics.jsonl", epochs_)) {
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
