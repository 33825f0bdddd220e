// Labelled images in four IDX files, as MNIST and its relatives come.

#pragma once

#include <filesystem>

#include "lockstep/base/export.hpp"
#include "lockstep/train/dataset.hpp"

namespace lockstep {

struct LabelledImages {
  ArrayDataset training;
  ArrayDataset test;
};

/// Reads train-images-idx3-ubyte, train-labels-idx1-ubyte, test-images-idx3-ubyte and
/// test-labels-idx1-ubyte from `folder`; the last two may also begin with t10k, as MNIST's do.
/// Inputs are float32 [rows, columns, 1], both sets divided by the largest value of the training
/// images; targets are labels, and both sets know all classes. Throws DataError when a file cannot
/// be read, numbers of images and labels differ, the sets' images differ in size, or the training
/// images hold no positive finite maximum.
[[nodiscard]] LOCKSTEP_EXPORT LabelledImages read_idx_folder(const std::filesystem::path& folder);

}  // namespace lockstep
