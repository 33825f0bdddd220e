#include "output.hpp"

#include <cerrno>
#include <system_error>

#include "lockstep/base/error.hpp"

void write_result(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0)
    throw lockstep::DataError("cannot write to standard output: " +
                              std::system_category().message(errno));
}

void show(std::FILE* stream, const std::string& text) {
  std::fputs(text.c_str(), stream);
  std::fflush(stream);
}
