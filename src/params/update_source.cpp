#include "lockstep/params/update_source.hpp"

#include <atomic>

namespace lockstep {

UpdateSource::~UpdateSource() = default;

std::uint64_t next_update_number() noexcept {
  static std::atomic<std::uint64_t> last = 0;
  return ++last;
}

}  // namespace lockstep
