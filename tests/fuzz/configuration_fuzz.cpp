// Whatever the text is: a model whose own configuration says the same, or an ArgumentError.

#include <cstdlib>
#include <string_view>

#include "lockstep/base/error.hpp"
#include "lockstep/model/sequential.hpp"

using namespace lockstep;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  try {
    const Sequential model = sequential_from_configuration(text);
    const std::string written = model.configuration();
    if (sequential_from_configuration(written).configuration() != written) std::abort();
  } catch (const ArgumentError&) {
  }
  return 0;
}
