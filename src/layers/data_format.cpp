#include "lockstep/layers/data_format.hpp"

namespace lockstep {

std::string_view name_of(DataFormat data_format) noexcept {
  return data_format == DataFormat::nhwc ? "nhwc" : "nchw";
}

std::string_view name_of(Padding padding) noexcept {
  return padding == Padding::valid ? "valid" : "same";
}

}  // namespace lockstep
