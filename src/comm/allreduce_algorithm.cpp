#include "comm/allreduce_algorithm.hpp"

#if defined(OPEN_MPI) && OPEN_MPI && OMPI_MAJOR_VERSION == 4

namespace lockstep {
namespace {

// Values of Open MPI's parameter.
enum class Algorithm : int { of_mpi = 0, rabenseifner = 3, recursive_doubling = 4 };

constexpr long long longest_short_message = 10 * 1024;  // bytes

// The parameter, by MPI's tool interface; of no effect where it cannot be had.
class Parameter {
 public:
  Parameter() noexcept {
    int level = 0, provided = 0, index = 0, count = 0, value = 0;
    MPI_Query_thread(&level);  // Open MPI would take another one for that of all MPI
    is_known_ = MPI_T_init_thread(level, &provided) == MPI_SUCCESS &&
                MPI_T_cvar_get_index("coll_libnbc_iallreduce_algorithm", &index) == MPI_SUCCESS &&
                MPI_T_cvar_handle_alloc(index, nullptr, &handle_, &count) == MPI_SUCCESS &&
                count == 1 && MPI_T_cvar_read(handle_, &value) == MPI_SUCCESS &&
                value == static_cast<int>(Algorithm::of_mpi);
  }

  void set(Algorithm algorithm) noexcept {
    const int value = static_cast<int>(algorithm);
    if (is_known_) MPI_T_cvar_write(handle_, &value);
  }

 private:
  MPI_T_cvar_handle handle_ = nullptr;
  bool is_known_ = false;
};

}  // namespace

int start_allreduce(const void* send, void* receive, int count, MPI_Datatype type, MPI_Op operation,
                    MPI_Comm communicator, MPI_Request* request) {
  static Parameter parameter;
  constexpr long long size_of_number = 8;  // the library sends numbers of no other size
  parameter.set(count * size_of_number <= longest_short_message ? Algorithm::recursive_doubling
                                                                : Algorithm::rabenseifner);
  const int code = MPI_Iallreduce(send, receive, count, type, operation, communicator, request);
  parameter.set(Algorithm::of_mpi);
  return code;
}

}  // namespace lockstep

#else

namespace lockstep {

int start_allreduce(const void* send, void* receive, int count, MPI_Datatype type, MPI_Op operation,
                    MPI_Comm communicator, MPI_Request* request) {
  return MPI_Iallreduce(send, receive, count, type, operation, communicator, request);
}

}  // namespace lockstep

#endif
