#include "lockstep/comm/collectives.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "comm/agreement.hpp"
#include "comm/allreduce_algorithm.hpp"
#include "comm/begin_allreduce.hpp"
#include "comm/chunks.hpp"
#include "comm/mpi_call.hpp"
#include "lockstep/base/error.hpp"

namespace lockstep {
namespace {

constexpr Collective mpi_allreduce{"MPI_Allreduce", MPI_Allreduce, start_allreduce};

MPI_Op operation_of(Reduction reduction) { return reduction == Reduction::sum ? MPI_SUM : MPI_MAX; }

// From doubles to integers of the same order, held in the same bits, and back.
double reordered(double value) {
  const auto bits = std::bit_cast<std::int64_t>(value);
  const std::int64_t magnitude = bits & std::numeric_limits<std::int64_t>::max();
  return std::bit_cast<double>(bits < 0 ? ~magnitude : magnitude);
}

template <class T>
void allreduce_in_place(const Communicator& group, std::span<T> values, MPI_Datatype type,
                        Reduction reduction) {
  if (group.is_solo()) return;
  for_each_chunk(values.size(), [&](std::size_t first, int count) {
    call(group, mpi_allreduce, static_cast<std::size_t>(count) * sizeof(T), MPI_IN_PLACE,
         values.data() + first, count, type, operation_of(reduction));
  });
}

template <class T>
PendingCall begin_sum(const Communicator& group, std::span<T> values, MPI_Datatype type) {
  if (group.is_solo()) return {};
  return PendingCall::start(group, mpi_allreduce, values.size_bytes(), MPI_IN_PLACE, values.data(),
                            static_cast<int>(values.size()), type, MPI_SUM);
}

}  // namespace

PendingCall begin_allreduce(const Communicator& group, std::span<double> values) {
  return begin_sum(group, values, MPI_DOUBLE);
}

PendingCall begin_allreduce(const Communicator& group, std::span<std::int64_t> values) {
  return begin_sum(group, values, MPI_INT64_T);
}

void allreduce(const Communicator& group, std::span<double> values, Reduction reduction) {
  if (reduction == Reduction::sum) return allreduce_in_place(group, values, MPI_DOUBLE, reduction);
  // MPI's maximum of doubles may lose a NaN, and which of two zeros it takes is left open.
  for (double& value : values)
    value = reordered(std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value);
  allreduce_in_place(group, values, MPI_INT64_T, reduction);
  for (double& value : values) value = reordered(value);
}

void allreduce(const Communicator& group, std::span<std::int64_t> values, Reduction reduction) {
  allreduce_in_place(group, values, MPI_INT64_T, reduction);
}

void broadcast(const Communicator& group, std::span<std::byte> bytes, int root) {
  if (group.is_solo()) return;
  for_each_chunk(bytes.size(), [&](std::size_t first, int count) {
    const bool is_root = group.rank() == root;
    call(group, Collective{"MPI_Bcast", MPI_Bcast, MPI_Ibcast},
         is_root ? static_cast<std::size_t>(count) : 0, bytes.data() + first, count, MPI_BYTE,
         root);
  });
}

void allgather(const Communicator& group, std::span<const std::byte> local,
               std::span<std::byte> all) {
  if (all.size() != local.size() * static_cast<std::size_t>(group.size()))
    throw ArgumentError(fmt::format("{} bytes of {} ranks do not fit into {} bytes", local.size(),
                                    group.size(), all.size()));
  if (group.is_solo()) {
    std::ranges::copy(local, all.begin());
    return;
  }
  if (local.size() <= max_chunk) {
    const int count = static_cast<int>(local.size());
    call(group, Collective{"MPI_Allgather", MPI_Allgather, MPI_Iallgather}, local.size(),
         local.data(), count, MPI_BYTE, all.data(), count, MPI_BYTE);
    return;
  }
  for (int rank = 0; rank < group.size(); ++rank) {
    const auto part = all.subspan(static_cast<std::size_t>(rank) * local.size(), local.size());
    if (rank == group.rank()) std::ranges::copy(local, part.begin());
    broadcast(group, part, rank);
  }
}

std::vector<std::vector<std::byte>> allgather_varying(const Communicator& group,
                                                      std::span<const std::byte> local) {
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(group.size()));
  const std::int64_t size = static_cast<std::int64_t>(local.size());
  allgather(group, std::as_bytes(std::span(&size, 1)), std::as_writable_bytes(std::span(sizes)));
  std::vector<std::vector<std::byte>> all(sizes.size());
  const auto failure = attempt([&] {
    for (std::size_t rank = 0; rank < all.size(); ++rank)
      all[rank].resize(static_cast<std::size_t>(sizes[rank]));
  });
  agree(group, {"allgather", "communication"}, {}, failure);
  std::ranges::copy(local, all[static_cast<std::size_t>(group.rank())].begin());
  for (std::size_t rank = 0; rank < all.size(); ++rank)
    broadcast(group, all[rank], static_cast<int>(rank));
  return all;
}

}  // namespace lockstep
