#include "base/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace lockstep {
namespace {

// A logger of our own: the user's program may use spdlog's default one for itself.
spdlog::logger& logger() {
  static spdlog::logger instance = [] {
    spdlog::logger made("lockstep", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made.set_pattern("lockstep %l: %v");
    return made;
  }();
  return instance;
}

}  // namespace

void log_warning(std::string_view message) { logger().warn(message); }
void log_info(std::string_view message) { logger().info(message); }

}  // namespace lockstep
