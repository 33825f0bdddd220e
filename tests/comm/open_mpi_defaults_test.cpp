// Where a user of Open MPI can have set parameters; the program beside this file tests that what is
// found there stays.

#include "comm/open_mpi_defaults.hpp"

#include <stdlib.h>

#include <algorithm>
#include <sstream>

#include "support/catch.hpp"

namespace lockstep {
namespace {

bool is_named_in(const std::string& text) {
  std::istringstream file(text);
  return names_open_mpi_defaults(file);
}

// A variable for as long as the object lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    ::setenv(name, value, 1);
  }
  ~Variable() { before_.empty() ? ::unsetenv(name_) : ::setenv(name_, before_.c_str(), 1); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::string before_;
};

bool is_looked_at(const char* path) {
  const auto has_path = [&](const std::vector<std::filesystem::path>& files) {
    return std::ranges::count(files, std::filesystem::path(path)) > 0;
  };
  return has_path(open_mpi_parameter_files()) || has_path(open_mpi_option_files());
}

TEST_CASE("open mpi: a file names a parameter in any line, but not in comments") {
  CHECK(is_named_in("btl_vader_eager_limit=4096"));
  CHECK(is_named_in("btl = ^ofi\n  btl_vader_eager_limit = 4096  # small\n"));
  CHECK(is_named_in("-mca btl_vader_eager_limit 4096"));
  CHECK(is_named_in("btl_vader_free_list_inc = 64"));
  CHECK(is_named_in("btl_vader_segment_size = 1048576"));
  CHECK_FALSE(is_named_in(""));
  CHECK_FALSE(is_named_in("# btl_vader_eager_limit = 4096\nbtl_vader_rndv_eager_limit = 4096"));
  CHECK_FALSE(is_named_in("btl_tcp_eager_limit = 4096\nbtl_vader_single_copy_mechanism = none"));
}

TEST_CASE("open mpi: its files are those of the user, the machine, and mpirun's options") {
  const Variable home("HOME", "/home/of_user"), folder("OPAL_SYSCONFDIR", "/etc/of_machine");
  CHECK(is_looked_at("/home/of_user/.openmpi/mca-params.conf"));
  CHECK(is_looked_at("/etc/of_machine/openmpi-mca-params.conf"));
  CHECK(is_looked_at("/etc/of_machine/openmpi-mca-params-override.conf"));
  const Variable am("OMPI_MCA_mca_base_param_file_prefix", "/a:/b"),
      tune("OMPI_MCA_mca_base_envar_file_prefix", "/c"),
      files("OMPI_MCA_mca_base_param_files", "/d,/e");
  const Variable synonym("OMPI_MCA_mca_param_files", "/f"), prefix("OPAL_PREFIX", "/g");
  for (const char* path : {"/a", "/b", "/c", "/d", "/e", "/f"}) CHECK(is_looked_at(path));
  CHECK(is_looked_at("/etc/of_machine/openmpi-mca-params-override.conf"));
  CHECK(is_looked_at("/g/etc/openmpi-mca-params-override.conf"));
  CHECK_FALSE(is_looked_at("/home/of_user/.openmpi/mca-params.conf"));
}

}  // namespace
}  // namespace lockstep
