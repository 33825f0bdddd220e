#include "lockstep/io/idx_folder.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <system_error>
#include <utility>

#include "lockstep/base/error.hpp"
#include "lockstep/io/idx.hpp"

namespace lockstep {
namespace {

// One set as it is in its files.
struct RawSet {
  std::filesystem::path images_path;
  Tensor images;
  Tensor labels;
};

RawSet read_set(const std::filesystem::path& folder, const std::string& prefix) {
  const auto images_path = folder / (prefix + "-images-idx3-ubyte");
  const auto labels_path = folder / (prefix + "-labels-idx1-ubyte");
  RawSet set{images_path, read_idx_images(images_path), read_idx_labels(labels_path)};
  if (set.images.shape()[0] != set.labels.shape()[0])
    throw DataError(fmt::format("{} holds {} images, but {} holds {} labels", images_path.string(),
                                set.images.shape()[0], labels_path.string(),
                                set.labels.shape()[0]));
  return set;
}

float scale_of(const RawSet& training) {
  const auto values = training.images.values<float>();
  const auto greatest = std::max_element(values.begin(), values.end());
  if (greatest == values.end() || !(*greatest > 0.0F) || !std::isfinite(*greatest))
    throw DataError(
        fmt::format("{}: a positive finite maximum is needed to scale by, found {}",
                    training.images_path.string(),
                    greatest == values.end() ? "no value" : fmt::format("{}", *greatest)));
  return *greatest;
}

std::int64_t num_classes_of(const RawSet& set) {
  const auto labels = set.labels.values<std::int64_t>();
  return labels.empty() ? 0 : *std::max_element(labels.begin(), labels.end()) + 1;
}

ArrayDataset dataset_of(RawSet set, float scale, std::int64_t num_classes) {
  for (float& value : set.images.values<float>()) value /= scale;
  return {std::move(set.images), std::move(set.labels), num_classes};
}

}  // namespace

LabelledImages read_idx_folder(const std::filesystem::path& folder) {
  RawSet training = read_set(folder, "train");
  std::error_code ignored;
  const bool is_mnist = std::filesystem::exists(folder / "t10k-images-idx3-ubyte", ignored) &&
                        !std::filesystem::exists(folder / "test-images-idx3-ubyte", ignored);
  RawSet test = read_set(folder, is_mnist ? "t10k" : "test");
  if (training.images.shape().without_first() != test.images.shape().without_first())
    throw DataError(
        fmt::format("{} and {} must hold images of one size; their shapes are {} and {}",
                    training.images_path.string(), test.images_path.string(),
                    to_string(training.images.shape()), to_string(test.images.shape())));
  const float scale = scale_of(training);
  const std::int64_t num_classes = std::max(num_classes_of(training), num_classes_of(test));
  return {dataset_of(std::move(training), scale, num_classes),
          dataset_of(std::move(test), scale, num_classes)};
}

}  // namespace lockstep
