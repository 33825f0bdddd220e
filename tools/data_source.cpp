#include "data_source.hpp"

#include <utility>

#include "lockstep/base/error.hpp"
#include "lockstep/io/idx_folder.hpp"
#include "lockstep/train/synthetic.hpp"

namespace ls = lockstep;

namespace {

template <class Task, class Options>
DataSource synthetic(const Options& training) {
  Options validation = training;
  validation.num_samples = 512;
  validation.split = ls::Split::validation;
  return {std::make_unique<Task>(training), std::make_unique<Task>(validation)};
}

DataSource files_in(const std::string& folder) {
  ls::LabelledImages images = ls::read_idx_folder(folder);
  return {std::make_unique<ls::ArrayDataset>(std::move(images.training)),
          std::make_unique<ls::ArrayDataset>(std::move(images.test))};
}

}  // namespace

DataSource data_source_of(const std::string& name, std::uint64_t seed) {
  constexpr std::int64_t num_samples = 2048;
  const std::string prefix = "idx:";
  if (name == "synthetic:blobs")
    return synthetic<ls::SyntheticBlobs>(
        ls::SyntheticBlobsOptions{.num_samples = num_samples, .seed = seed});
  if (name == "synthetic:images")
    return synthetic<ls::SyntheticImages>(
        ls::SyntheticImagesOptions{.num_samples = num_samples, .seed = seed});
  if (name.starts_with(prefix) && name.size() > prefix.size())
    return files_in(name.substr(prefix.size()));
  throw ls::ArgumentError(
      "--data: expected synthetic:blobs, synthetic:images or idx:FOLDER, got '" + name + "'");
}
