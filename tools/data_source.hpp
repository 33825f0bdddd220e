// Where the samples come from.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "lockstep/train/dataset.hpp"

struct DataSource {
  std::unique_ptr<lockstep::Dataset> training;
  std::unique_ptr<lockstep::Dataset> validation;
};

/// The data named by "synthetic:blobs", "synthetic:images" or "idx:FOLDER". Throws ArgumentError on
/// another name, DataError when files cannot be used.
[[nodiscard]] DataSource data_source_of(const std::string& name, std::uint64_t seed);
