// Reads IDX files, the format of MNIST (http://yann.lecun.com/exdb/mnist).

#pragma once

#include <filesystem>

#include "lockstep/base/export.hpp"
#include "lockstep/base/tensor.hpp"

namespace lockstep {

/// The elements of an IDX file (uint8, int8, int16, int32, float32 or float64 there), unscaled and
/// in the file's shape, converted to `dtype`: float64 holds every one of them exactly, other
/// floating dtypes are rounded to, int64 is for files of integers. Throws DataError with the path, the byte offset and
/// what was expected and found when the file is missing, is no regular file, is damaged, or is
/// shorter or longer than its header says; memory is taken only after that.
[[nodiscard]] LOCKSTEP_EXPORT Tensor read_idx(const std::filesystem::path& path,
                                              DType dtype = DType::float32);

/// A file of images as [num_images, rows, columns, 1]. Throws DataError as read_idx does, and when
/// the file does not have three dimensions.
[[nodiscard]] LOCKSTEP_EXPORT Tensor read_idx_images(const std::filesystem::path& path,
                                                     DType dtype = DType::float32);

/// A file of labels as int64 [num_labels]. Throws DataError as read_idx does, and when the file
/// does not have one dimension of integers or holds a negative one.
[[nodiscard]] LOCKSTEP_EXPORT Tensor read_idx_labels(const std::filesystem::path& path);

}  // namespace lockstep
