// Whatever the bytes are: tensors that are written and read back as they are, or a DataError.

#include <cstdlib>

#include "base/bytes.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/io/safetensors.hpp"

using namespace lockstep;

namespace {

bool are_same(const TensorFile& a, const TensorFile& b) {
  return a.metadata == b.metadata &&
         std::ranges::equal(a.tensors, b.tensors, [](const auto& x, const auto& y) {
           return x.first == y.first && x.second.dtype() == y.second.dtype() &&
                  x.second.shape() == y.second.shape() &&
                  std::ranges::equal(bytes_of(TensorView(x.second)),
                                     bytes_of(TensorView(y.second)));
         });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  try {
    const TensorFile content = read_safetensors(std::as_bytes(std::span(bytes, size)));
    if (!are_same(read_safetensors(safetensors_of(content)), content)) std::abort();
  } catch (const DataError&) {
  }
  return 0;
}
