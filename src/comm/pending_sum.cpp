#include "comm/pending_sum.hpp"

#include <chrono>

#include "comm/handle.hpp"

namespace lockstep {

struct PendingSum::Request {
  MPI_Request request = MPI_REQUEST_NULL;
  Communicator::Handle* handle = nullptr;  // whose traffic it is

  template <class T>
  void start(const Communicator& group, std::span<T> values, MPI_Datatype type) {
    count_call(group, "MPI_Iallreduce", values.size_bytes(), [&](MPI_Comm communicator) {
      return MPI_Iallreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()), type,
                            MPI_SUM, communicator, &request);
    });
    handle = group.handle();
  }
};

PendingSum::PendingSum() : request_(std::make_unique<Request>()) {}
PendingSum::PendingSum(PendingSum&&) noexcept = default;
PendingSum& PendingSum::operator=(PendingSum&&) noexcept = default;
PendingSum::~PendingSum() = default;

void PendingSum::start(const Communicator& group, std::span<double> values) {
  request_->start(group, values, MPI_DOUBLE);
}

void PendingSum::start(const Communicator& group, std::span<std::int64_t> values) {
  request_->start(group, values, MPI_INT64_T);
}

void PendingSum::poll() {
  if (request_->request == MPI_REQUEST_NULL) return;
  int is_done = 0;
  check_mpi(MPI_Test(&request_->request, &is_done, MPI_STATUS_IGNORE), "MPI_Test");
}

void PendingSum::finish() {
  if (request_->request == MPI_REQUEST_NULL) return;
  const auto start = std::chrono::steady_clock::now();
  check_mpi(MPI_Wait(&request_->request, MPI_STATUS_IGNORE), "MPI_Wait");
  count_time(*request_->handle, std::chrono::steady_clock::now() - start);
}

}  // namespace lockstep
