// Parameters that Open MPI starts with in place of its own defaults, unless the user has set them.

#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace lockstep {

/// While it lives the process environment holds the parameters, for MPI_Init to read; afterwards it
/// is what it was before. Without effect under an MPI other than Open MPI 4, the one that was
/// measured.
///
/// Ranks of one node then send up to 64 KiB at once (`btl_vader_eager_limit`) where Open MPI would
/// ask the receiver first from 4 KiB on, and the memory for that grows in steps that fit into the
/// 4 MiB that Open MPI reserves per rank (`btl_vader_free_list_inc`): without them a rank that
/// sends many messages in a row waits more often than before. A user who has set one of them, or
/// what else decides on that memory, has both left alone.
class OpenMpiDefaults {
 public:
  OpenMpiDefaults();
  ~OpenMpiDefaults();
  OpenMpiDefaults(const OpenMpiDefaults&) = delete;
  OpenMpiDefaults& operator=(const OpenMpiDefaults&) = delete;

 private:
  bool are_set_ = false;
};

/// The files where Open MPI looks for parameters, as its environment variables say; not all exist.
[[nodiscard]] std::vector<std::filesystem::path> open_mpi_parameter_files();

/// The files that options of mpirun (--am, --tune) name. One that cannot be read from here may be
/// elsewhere.
[[nodiscard]] std::vector<std::filesystem::path> open_mpi_option_files();

/// True when a line of a parameter file, outside of comments, names what OpenMpiDefaults would set
/// or depends on.
[[nodiscard]] bool names_open_mpi_defaults(std::istream& file);

}  // namespace lockstep
