#include "comm/mpi_call.hpp"

#include <atomic>

#include "comm/caller.hpp"
#include "comm/dump.hpp"

namespace lockstep {
namespace {

std::atomic<std::int64_t> total_messages{0};
std::atomic<std::int64_t> total_bytes{0};
std::atomic<double> total_seconds{0.0};

void count(Traffic& traffic, std::size_t num_bytes, Clock::duration time) noexcept {
  const auto bytes = static_cast<std::int64_t>(num_bytes);
  const double seconds = std::chrono::duration<double>(time).count();
  ++traffic.num_messages;
  traffic.num_bytes += bytes;
  traffic.seconds += seconds;
  total_messages.fetch_add(1, std::memory_order_relaxed);
  total_bytes.fetch_add(bytes, std::memory_order_relaxed);
  total_seconds.fetch_add(seconds, std::memory_order_relaxed);
}

bool is_journal_kept() noexcept { return is_watching() || is_dump_possible(); }

}  // namespace

Traffic total_traffic() noexcept {
  return {total_messages.load(), total_bytes.load(), total_seconds.load()};
}

Turn turn_of(Communicator::Handle& handle) {
  check_caller();
  return Turn(handle.is_in_use);
}

MpiCall::MpiCall(Communicator::Handle& handle, const char* name, std::size_t num_bytes,
                 bool is_message)
    : handle_(&handle),
      name_(name),
      num_bytes_(num_bytes),
      is_message_(is_message),
      since_(Clock::now()) {
  dump_if_asked();
  ++handle.num_calls;
  if (!is_journal_kept()) return;
  journal_ = &Journal::of_this_thread();
  JournalEntry& entry = journal_->begin();
  entry.call = name;
  entry.num_bytes = num_bytes;
  entry.communicator = handle.id;
  entry.nth = handle.num_calls;
  entry.start = since_;
  number_ = journal_->number();
}

void MpiCall::wait(MPI_Request& request) const {
  if (!is_watching() || journal_ == nullptr) return check(MPI_Wait(&request, MPI_STATUS_IGNORE));
  constexpr int num_quick_tests = 64;  // before the clock is looked at
  for (int test = 0; test < num_quick_tests; ++test) {
    int is_done = 0;
    check(MPI_Test(&request, &is_done, MPI_STATUS_IGNORE));
    if (is_done != 0) return;
  }
  watch(*handle_, journal_->at(number_), request, name_);
}

void MpiCall::finish() noexcept {
  const auto now = Clock::now();
  if (journal_ != nullptr) journal_->end(number_, now);
  if (is_message_) count(handle_->traffic, num_bytes_, spent_ + (now - since_));
}

PendingCall::PendingCall(PendingCall&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)),
      call_(std::exchange(other.call_, std::nullopt)),
      request_(std::exchange(other.request_, MPI_REQUEST_NULL)) {}

PendingCall& PendingCall::operator=(PendingCall&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(call_, other.call_);
  std::swap(request_, other.request_);
  return *this;
}

PendingCall::~PendingCall() {
  try {
    finish();
  } catch (...) {
    // The error that led here says more.
  }
}

void PendingCall::finish() {
  if (handle_ == nullptr) return;
  Communicator::Handle& handle = *std::exchange(handle_, nullptr);
  const Turn turn = turn_of(handle);
  call_->resume();
  call_->wait(request_);
  call_->finish();
}

}  // namespace lockstep
