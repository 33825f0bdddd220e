// A file written whole is replaced whole or not at all, and nothing is left beside it.

#include "lockstep/io/file.hpp"

#include <iterator>

#include "lockstep/base/error.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace lockstep;
using namespace lockstep::testing;

namespace {

std::ptrdiff_t num_entries(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

}  // namespace

TEST_CASE("a file holds what was written last") {
  const TemporaryFolder folder;
  const std::string binary{"a\0b\n\xff", 5};
  for (const std::string& text : {std::string("first"), std::string(), binary}) {
    write_file(folder / "file", text);
    CHECK(content_of(folder / "file") == text);
  }
  CHECK(num_entries(folder.path()) == 1);
}

TEST_CASE("whoever has the old file open keeps the old content") {
  const TemporaryFolder folder;
  write_file(folder / "file", "old");
  std::ifstream reader(folder / "file");
  write_file(folder / "file", "new and longer");
  CHECK(std::string(std::istreambuf_iterator<char>(reader), {}) == "old");
}

TEST_CASE("a file that cannot be replaced is refused and nothing is left") {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "taken");
  set_content(folder / "taken" / "file", "kept");
  CHECK_THROWS_AS(write_file(folder / "taken", "text"), DataError);
  CHECK(num_entries(folder.path()) == 1);
  CHECK(content_of(folder / "taken" / "file") == "kept");
  try {
    write_file(folder / "missing" / "file", "text");
    FAIL("written into a missing folder");
  } catch (const DataError& error) {
    const std::string problem = error.what();
    CHECK(problem.find((folder / "missing" / "file").string()) != std::string::npos);
    CHECK(problem.find("No such file or directory") != std::string::npos);
  }
}
