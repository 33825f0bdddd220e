// Whatever the file holds: options of the command, or an error of its command line.

#include <CLI/CLI.hpp>

#include "config_file.hpp"
#include "fuzz/file_in_memory.hpp"
#include "train_options.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const lockstep::testing::FileInMemory file;
  file.set_content(bytes, size);
  TrainOptions options;
  CLI::App app;
  add_train_options(app, options);
  try {
    read_config_file(app, file.path());
  } catch (const CLI::Error&) {
  }
  return 0;
}
