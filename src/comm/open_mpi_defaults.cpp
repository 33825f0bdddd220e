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

// Open MPI looks for files of mpirun's options in more places than this.
bool may_be_in_option_file(const fs::path& path) {
  std::ifstream file(path);
  return !file || names_open_mpi_defaults(file);
}

std::string variable_or(const char* variable, const std::string& otherwise) {
  const char* const value = std::getenv(variable);
  return value == nullptr ? otherwise : value;
}

// Where Open MPI was installed, and where it may have been moved to.
std::vector<fs::path> configuration_folders() {
  std::vector<fs::path> folders{variable_or("OPAL_SYSCONFDIR", LOCKSTEP_OPEN_MPI_FOLDER)};
  if (const char* const prefix = std::getenv("OPAL_PREFIX"))
    folders.push_back(fs::path(prefix) / "etc");
  return folders;
}

// The files in a list that a variable holds.
void add_files(const char* variable, std::vector<fs::path>& files) {
  std::string list = variable_or(variable, "");
  std::ranges::replace(list, ':', ',');
  std::istringstream names(list);
  for (std::string name; std::getline(names, name, ',');)
    if (!name.empty()) files.emplace_back(name);
}

}  // namespace

OpenMpiDefaults::OpenMpiDefaults() {
  if (!mpi_version().starts_with("Open MPI v4.") || is_in_environment() ||
      std::ranges::any_of(open_mpi_parameter_files(), is_in_file) ||
      std::ranges::any_of(open_mpi_option_files(), may_be_in_option_file))
    return;
  for (const Parameter& parameter : parameters) setenv(parameter.variable, parameter.value, 1);
  are_set_ = true;
}

OpenMpiDefaults::~OpenMpiDefaults() {
  if (!are_set_) return;
  for (const Parameter& parameter : parameters) unsetenv(parameter.variable);
}

std::vector<fs::path> open_mpi_parameter_files() {
  std::vector<fs::path> files;
  for (const char* variable : {"OMPI_MCA_mca_base_param_files", "OMPI_MCA_mca_param_files"})
    add_files(variable, files);
  const bool are_chosen = !files.empty();
  if (!are_chosen) files.push_back(fs::path(variable_or("HOME", "")) / ".openmpi/mca-params.conf");
  for (const fs::path& folder : configuration_folders()) {
    if (!are_chosen) files.push_back(folder / "openmpi-mca-params.conf");
    files.push_back(folder / "openmpi-mca-params-override.conf");
  }
  return files;
}

std::vector<fs::path> open_mpi_option_files() {
  std::vector<fs::path> files;
  for (const char* variable :
       {"OMPI_MCA_mca_base_param_file_prefix", "OMPI_MCA_mca_base_envar_file_prefix"})
    add_files(variable, files);
  return files;
}

bool names_open_mpi_defaults(std::istream& file) {
  for (std::string line; std::getline(file, line);)
    if (names_one(std::string_view(line).substr(0, line.find('#')))) return true;
  return false;
}

}  // namespace lockstep
