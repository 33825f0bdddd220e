#include "comm/open_mpi_defaults.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>

#include "lockstep/comm/environment.hpp"

namespace lockstep {
namespace {

namespace fs = std::filesystem;

struct Parameter {
  const char* variable;
  const char* value;
};

constexpr std::array parameters{Parameter{"OMPI_MCA_btl_vader_eager_limit", "65536"},
                                Parameter{"OMPI_MCA_btl_vader_free_list_inc", "8"}};

bool names_one(std::string_view text) {
  constexpr std::array<std::string_view, 3> beginnings{
      "btl_vader_eager_limit", "btl_vader_free_list_", "btl_vader_segment_size"};
  return std::ranges::any_of(beginnings, [&](std::string_view beginning) {
    return text.find(beginning) != std::string_view::npos;
  });
}

bool is_in_environment() {
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (text.starts_with("OMPI_MCA_") && names_one(text.substr(0, text.find('=')))) return true;
  }
  return false;
}

bool is_in_file(const fs::path& path) {
  std::ifstream file(path);
  return names_open_mpi_defaults(file);
}

std::string variable_or(const char* variable, const std::string& otherwise) {
  const char* const value = std::getenv(variable);
  return value == nullptr ? otherwise : value;
}

fs::path configuration_folder() {
  const char* const prefix = std::getenv("OPAL_PREFIX");
  const std::string installed =
      prefix == nullptr ? LOCKSTEP_OPEN_MPI_FOLDER : prefix + std::string("/etc");
  return variable_or("OPAL_SYSCONFDIR", installed);
}

}  // namespace

OpenMpiDefaults::OpenMpiDefaults() {
  if (!mpi_version().starts_with("Open MPI v4.") || is_in_environment() ||
      std::ranges::any_of(open_mpi_parameter_files(), is_in_file))
    return;
  for (const Parameter& parameter : parameters) setenv(parameter.variable, parameter.value, 1);
  are_set_ = true;
}

OpenMpiDefaults::~OpenMpiDefaults() {
  if (!are_set_) return;
  for (const Parameter& parameter : parameters) unsetenv(parameter.variable);
}

std::vector<fs::path> open_mpi_parameter_files() {
  const fs::path folder = configuration_folder();
  const fs::path of_user = fs::path(variable_or("HOME", "")) / ".openmpi/mca-params.conf";
  const fs::path of_all = folder / "openmpi-mca-params.conf";
  const fs::path above_all = folder / "openmpi-mca-params-override.conf";
  std::vector<fs::path> files;
  const auto add = [&](const char* variable, const std::string& otherwise) {
    std::istringstream list(variable_or(variable, otherwise));
    for (std::string file; std::getline(list, file, ',');) files.emplace_back(file);
  };
  add("OMPI_MCA_mca_base_param_file_prefix", "");  // mpirun --am
  add("OMPI_MCA_mca_base_envar_file_prefix", "");  // mpirun --tune
  add("OMPI_MCA_mca_base_param_files", of_user.string() + "," + of_all.string());
  add("OMPI_MCA_mca_base_override_param_file", above_all.string());
  return files;
}

bool names_open_mpi_defaults(std::istream& file) {
  for (std::string line; std::getline(file, line);)
    if (names_one(std::string_view(line).substr(0, line.find('#')))) return true;
  return false;
}

}  // namespace lockstep
