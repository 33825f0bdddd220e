#include "data_source.hpp"

#include <utility>

#include "lockstep/base/error.hpp"
#include "lockstep/io/idx_folder.hpp"
#include "lockstep/train/synthetic.hpp"

namespace {

constexpr std::int64_t num_validation_samples = 512;

DataSource blobs_of(std::uint64_t seed) {
  const lockstep::SyntheticBlobsOptions training{.num_samples = 2048, .seed = seed};
  auto validation = training;
  validation.num_samples = num_validation_samples;
  validation.split = lockstep::Split::validation;
  return {std::make_unique<lockstep::SyntheticBlobs>(training),
          std::make_unique<lockstep::SyntheticBlobs>(validation)};
}

DataSource images_of(std::uint64_t seed) {
  const lockstep::SyntheticImagesOptions training{.num_samples = 2048, .seed = seed};
  auto validation = training;
  validation.num_samples = num_validation_samples;
  validation.split = lockstep::Split::validation;
  return {std::make_unique<lockstep::SyntheticImages>(training),
          std::make_unique<lockstep::SyntheticImages>(validation)};
}

DataSource files_of(const std::string& folder) {
  auto images = lockstep::read_idx_folder(folder);
  return {std::make_unique<lockstep::ArrayDataset>(std::move(images.training)),
          std::make_unique<lockstep::ArrayDataset>(std::move(images.test))};
}

}  // namespace

DataSource data_source_of(const std::string& name, std::uint64_t seed) {
  const std::string prefix = "idx:";
  if (name == "synthetic:blobs") return blobs_of(seed);
  if (name == "synthetic:images") return images_of(seed);
  if (name.starts_with(prefix) && name.size() > prefix.size())
    return files_of(name.substr(prefix.size()));
  throw lockstep::ArgumentError("--data '" + name +
                                "' is unknown; use synthetic:blobs, synthetic:images or idx:FOLDER");
}
