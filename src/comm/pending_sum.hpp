// A sum over the ranks that is under way while this rank computes.

#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "lockstep/comm/communicator.hpp"

namespace lockstep {

/// allreduce(group, values, Reduction::sum) in two halves: MPI_Iallreduce. One at a time; the same
/// object serves many.
class PendingSum {
 public:
  PendingSum();
  PendingSum(PendingSum&&) noexcept;
  PendingSum& operator=(PendingSum&&) noexcept;
  ~PendingSum();

  /// Until finish() nobody may touch `values`. All ranks pass equally many, at most max_chunk.
  /// Matches only the same call of other ranks, not allreduce(). Collective.
  void start(const Communicator& group, std::span<double> values);
  void start(const Communicator& group, std::span<std::int64_t> values);

  /// Lets MPI pass on what has come from other ranks: without threads of its own it works only
  /// when it is called.
  void poll();

  /// Returns when `values` are the sums. Throws CommunicationError when MPI reports one.
  void finish();

 private:
  struct Request;  // MPI's, known to the module comm only
  std::unique_ptr<Request> request_;
};

}  // namespace lockstep
