// A layer that fails when a test wants it to.

#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "lockstep/layers/layer.hpp"

namespace lockstep::testing {

/// output = input, float64; calls `at_pass` before every training pass, which may throw.
class Trap final : public Layer {
 public:
  explicit Trap(std::function<void(Pass)> at_pass)
      : Layer({.type = "Trap", .name = {}, .input_shape = {}, .dtype = {}}),
        at_pass_(std::move(at_pass)) {}

  [[nodiscard]] Shape output_shape(const Shape& shape) const override { return shape; }
  [[nodiscard]] std::string configuration() const override { return "trap"; }
  [[nodiscard]] std::unique_ptr<Tape> make_tape() const override {
    return std::make_unique<Tape>();
  }
  void forward(const TensorView& x, const MutableTensorView& y, const Call& call) override {
    if (call.mode == Mode::training) at_pass_(Pass::forward);
    std::ranges::copy(x.values<double>(), y.values<double>().begin());
  }
  void backward(Tape&, const TensorView& dy, const MutableTensorView& dx, Gradients) override {
    at_pass_(Pass::backward);
    if (!dx.is_null()) std::ranges::copy(dy.values<double>(), dx.values<double>().begin());
  }

 private:
  void do_create(const Shape&) override {}

  std::function<void(Pass)> at_pass_;
};

}  // namespace lockstep::testing
