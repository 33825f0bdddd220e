// What pooling layers for images have in common.

#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lockstep/base/export.hpp"
#include "lockstep/layers/data_format.hpp"
#include "lockstep/layers/layer.hpp"

namespace lockstep {

/// Options of pooling; names and defaults are those of Keras.
struct Pool2DOptions {
  Size2D pool_size = {2, 2};
  std::optional<Size2D> strides = std::nullopt;  ///< pool_size if empty
  Padding padding = Padding::valid;
  DataFormat data_format = DataFormat::nhwc;
  std::optional<DType> dtype = std::nullopt;  ///< of inputs and outputs
  std::string name = {};
  std::optional<Shape> input_shape = std::nullopt;  ///< without the batch axis
};

/// Base of layers that reduce every channel under a window to one value.
class LOCKSTEP_EXPORT Pool2D : public Layer {
 public:
  [[nodiscard]] const Pool2DOptions& options() const noexcept { return options_; }

  [[nodiscard]] Shape output_shape(const Shape& input_shape) const override;
  [[nodiscard]] std::string configuration() const override;

 protected:
  Pool2D(std::string type, Pool2DOptions options);

  void do_create(const Shape& input_shape) override;

 private:
  Pool2DOptions options_;
};

}  // namespace lockstep
