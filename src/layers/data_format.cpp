#include "lockstep/layers/data_format.hpp"

namespace lockstep {

std::string_view name_of(DataFormat data_format) noexcept {
  switch (data_format) {
    case DataFormat::nhwc:
      return "nhwc";
    case DataFormat::nchw:
      return "nchw";
  }
  return "unknown";
}

std::string_view name_of(Padding padding) noexcept {
  switch (padding) {
    case Padding::valid:
      return "valid";
    case Padding::same:
      return "same";
  }
  return "unknown";
}

}  // namespace lockstep
