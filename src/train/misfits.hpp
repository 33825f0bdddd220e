// What keeps named tensors from being loaded, collected so that a user hears of it at once.

#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lockstep/base/tensor.hpp"

namespace lockstep {

/// Compares tensors with those that are expected.
class Misfits {
 public:
  /// `tensors` must outlive this.
  explicit Misfits(const std::map<std::string, Tensor>& tensors) : tensors_(tensors) {}

  /// The tensor of this name if it has what is expected, otherwise null.
  const Tensor* expect(const std::string& name, const Shape& shape, DType dtype);
  /// Nothing is wrong with a tensor of this name, whatever it is and whether it is there.
  void allow(const std::string& name) { expected_.push_back(name); }

  /// All that is wrong, those that nobody expected included, in one sentence; empty for nothing.
  [[nodiscard]] std::string text() const;

 private:
  const std::map<std::string, Tensor>& tensors_;
  std::vector<std::string> expected_;
  std::vector<std::string> missing_;
  std::vector<std::string> different_;
};

}  // namespace lockstep
