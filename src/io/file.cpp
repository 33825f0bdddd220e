#include "lockstep/io/file.hpp"

#include "io/replace_file.hpp"

namespace lockstep {

void write_file(const std::filesystem::path& path, std::string_view text) {
  replace_file(path, [&](OutputFile& file) { file.write(text); });
}

}  // namespace lockstep
