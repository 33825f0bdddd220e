// What Open MPI's parameters are once an environment has started MPI, which a program can do only
// once:
//
//   open_mpi_defaults_program EAGER_LIMIT FREE_LIST_INC [adopt]
//
// The exit code is the number of expectations that failed.

#include <mpi.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "lockstep/comm/environment.hpp"

namespace {

int num_failed = 0;

void expect(bool condition, const std::string& what) {
  if (condition) return;
  ++num_failed;
  std::fprintf(stderr, "expected: %s\n", what.c_str());
}

// As MPI itself reads it, whatever was meant to set it; -1 where there is no such parameter.
template <class Number>
long long value_of(const char* parameter) {
  int index = 0, count = 0;
  MPI_T_cvar_handle handle = MPI_T_CVAR_HANDLE_NULL;
  Number value{};
  if (MPI_T_cvar_get_index(parameter, &index) != MPI_SUCCESS ||
      MPI_T_cvar_handle_alloc(index, nullptr, &handle, &count) != MPI_SUCCESS ||
      MPI_T_cvar_read(handle, &value) != MPI_SUCCESS)
    return -1;
  MPI_T_cvar_handle_free(&handle);
  return static_cast<long long>(value);
}

// MPI adds variables of its own.
std::vector<std::string> own_environment() {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (std::string_view(*entry).starts_with("OMPI_MCA_btl_")) entries.emplace_back(*entry);
  return entries;
}

}  // namespace

int main(int argc, char** argv) {
  const long long eager_limit = std::atoll(argv[1]), free_list_inc = std::atoll(argv[2]);
  const bool is_adopted = argc > 3;
  if (is_adopted) MPI_Init(&argc, &argv);
  const auto before = own_environment();
  {
    const lockstep::Environment environment(argc, argv);
    expect(own_environment() == before, "the environment is what it was");
    int provided = 0;
    MPI_T_init_thread(MPI_THREAD_SINGLE, &provided);
    const long long found_limit = value_of<std::size_t>("btl_vader_eager_limit");
    const long long found_inc = value_of<int>("btl_vader_free_list_inc");
    expect(found_limit == eager_limit, "eager limit, not " + std::to_string(found_limit));
    expect(found_inc == free_list_inc, "free list's growth, not " + std::to_string(found_inc));
    MPI_T_finalize();
  }
  if (is_adopted) MPI_Finalize();
  return num_failed;
}
