#include "base/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <memory>

namespace lockstep {

void warn(std::string_view message) noexcept {
  try {
    spdlog::logger logger("lockstep", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    logger.set_pattern("%n: %l: %v");
    logger.warn(message);
  } catch (...) {
  }
}

}  // namespace lockstep
