#include "support/mpi.hpp"

#include <mpi.h>

#include <numeric>
#include <thread>

namespace lockstep::testing {
namespace {

std::int64_t allreduces = 0;
std::int64_t collectives = 0;
std::int64_t new_communicators = 0;
std::chrono::milliseconds collective_delay{0};

void count_collective() {
  ++collectives;
  if (collective_delay.count() > 0) std::this_thread::sleep_for(collective_delay);
}

}  // namespace

std::vector<std::vector<std::int64_t>> cuts_of(std::int64_t total, int num_ranks) {
  const auto ranks = static_cast<std::size_t>(num_ranks);
  std::vector<std::vector<std::int64_t>> cuts;
  std::vector<std::int64_t> even(ranks, total / num_ranks);
  even.back() += total % num_ranks;
  cuts.push_back(even);
  if (num_ranks == 1) return cuts;
  for (const std::size_t owner : {std::size_t{0}, ranks - 1}) {
    std::vector<std::int64_t> one(ranks, 0);
    one[owner] = total;
    cuts.push_back(one);
  }
  std::vector<std::int64_t> growing(ranks, 1);  // 1, 1, ..., rest
  growing.back() = total - (num_ranks - 1);
  cuts.push_back(growing);
  std::vector<std::int64_t> left_out(ranks, 0);  // rank 1 has nothing, rank 0 most
  left_out[0] = total - (num_ranks - 2);
  for (std::size_t rank = 2; rank < ranks; ++rank) left_out[rank] = 1;
  cuts.push_back(left_out);
  return cuts;
}

std::int64_t first_of(const std::vector<std::int64_t>& cut, int rank) {
  return std::accumulate(cut.begin(), cut.begin() + rank, std::int64_t{0});
}

std::int64_t num_allreduces() noexcept { return allreduces; }
std::int64_t num_collectives() noexcept { return collectives; }
std::int64_t num_new_communicators() noexcept { return new_communicators; }

void set_collective_delay(std::chrono::milliseconds delay) noexcept { collective_delay = delay; }

}  // namespace lockstep::testing

// MPI's profiling interface: these stand before the library's own, PMPI_ is the real thing.
extern "C" {

int MPI_Allreduce(const void* send, void* receive, int count, MPI_Datatype type, MPI_Op operation,
                  MPI_Comm communicator) {
  ++lockstep::testing::allreduces;
  lockstep::testing::count_collective();
  return PMPI_Allreduce(send, receive, count, type, operation, communicator);
}

int MPI_Iallreduce(const void* send, void* receive, int count, MPI_Datatype type, MPI_Op operation,
                   MPI_Comm communicator, MPI_Request* request) {
  ++lockstep::testing::allreduces;
  lockstep::testing::count_collective();
  return PMPI_Iallreduce(send, receive, count, type, operation, communicator, request);
}

int MPI_Bcast(void* buffer, int count, MPI_Datatype type, int root, MPI_Comm communicator) {
  lockstep::testing::count_collective();
  return PMPI_Bcast(buffer, count, type, root, communicator);
}

int MPI_Allgather(const void* send, int send_count, MPI_Datatype send_type, void* receive,
                  int receive_count, MPI_Datatype receive_type, MPI_Comm communicator) {
  lockstep::testing::count_collective();
  return PMPI_Allgather(send, send_count, send_type, receive, receive_count, receive_type,
                        communicator);
}

int MPI_Ibcast(void* buffer, int count, MPI_Datatype type, int root, MPI_Comm communicator,
               MPI_Request* request) {
  lockstep::testing::count_collective();
  return PMPI_Ibcast(buffer, count, type, root, communicator, request);
}

int MPI_Iallgather(const void* send, int send_count, MPI_Datatype send_type, void* receive,
                   int receive_count, MPI_Datatype receive_type, MPI_Comm communicator,
                   MPI_Request* request) {
  lockstep::testing::count_collective();
  return PMPI_Iallgather(send, send_count, send_type, receive, receive_count, receive_type,
                         communicator, request);
}

int MPI_Comm_idup(MPI_Comm communicator, MPI_Comm* copy, MPI_Request* request) {
  ++lockstep::testing::new_communicators;
  return PMPI_Comm_idup(communicator, copy, request);
}

int MPI_Comm_dup(MPI_Comm communicator, MPI_Comm* copy) {
  ++lockstep::testing::new_communicators;
  return PMPI_Comm_dup(communicator, copy);
}

int MPI_Comm_split(MPI_Comm communicator, int color, int key, MPI_Comm* part) {
  ++lockstep::testing::new_communicators;
  return PMPI_Comm_split(communicator, color, key, part);
}

int MPI_Comm_split_type(MPI_Comm communicator, int type, int key, MPI_Info info, MPI_Comm* part) {
  ++lockstep::testing::new_communicators;
  return PMPI_Comm_split_type(communicator, type, key, info, part);
}

int MPI_Barrier(MPI_Comm communicator) {
  lockstep::testing::count_collective();
  return PMPI_Barrier(communicator);
}

}  // extern "C"
