// Whatever the bytes are: a tensor as long as they say, or a DataError.

#include <cstdlib>

#include "fuzz/file_in_memory.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/io/idx.hpp"

using namespace lockstep;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const testing::FileInMemory file;
  file.set_content(bytes, size);
  for (const DType dtype : {DType::int64, DType::float32}) {
    try {
      const Tensor tensor = read_idx(file.path(), dtype);
      if (static_cast<std::size_t>(tensor.shape().num_elements()) > size) std::abort();
    } catch (const DataError&) {
    }
  }
  return 0;
}
