#include "train/misfits.hpp"

#include <spdlog/fmt/fmt.h>
#include <spdlog/fmt/ranges.h>

#include <algorithm>

namespace lockstep {

const Tensor* Misfits::expect(const std::string& name, const Shape& shape, DType dtype) {
  expected_.push_back(name);
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    missing_.push_back(name);
    return nullptr;
  }
  const Tensor& tensor = found->second;
  if (tensor.shape() == shape && tensor.dtype() == dtype) return &tensor;
  different_.push_back(fmt::format("'{}' is {} {}, expected {} {}", name, name_of(tensor.dtype()),
                                   to_string(tensor.shape()), name_of(dtype), to_string(shape)));
  return nullptr;
}

std::string Misfits::text() const {
  std::vector<std::string> expected = expected_;
  std::ranges::sort(expected);
  std::vector<std::string> unexpected;
  for (const auto& entry : tensors_)
    if (!std::ranges::binary_search(expected, entry.first)) unexpected.push_back(entry.first);
  std::vector<std::string> problems;
  if (!missing_.empty()) problems.push_back(fmt::format("missing: {}", fmt::join(missing_, ", ")));
  if (!unexpected.empty())
    problems.push_back(fmt::format("unexpected: {}", fmt::join(unexpected, ", ")));
  problems.insert(problems.end(), different_.begin(), different_.end());
  return fmt::format("{}", fmt::join(problems, "; "));
}

}  // namespace lockstep
