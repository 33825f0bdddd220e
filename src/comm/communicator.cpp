#include "lockstep/comm/communicator.hpp"

#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <optional>
#include <string_view>
#include <utility>

#include "comm/agreement.hpp"
#include "comm/handle.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/mpi.hpp"

namespace lockstep {
namespace {

std::atomic<std::int64_t> total_messages{0};
std::atomic<std::int64_t> total_bytes{0};
std::atomic<double> total_seconds{0.0};

}  // namespace

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw CommunicationError(fmt::format(
      "{} failed: {}", call, std::string_view(text.data(), static_cast<std::size_t>(length))));
}

bool is_mpi_running() noexcept {
  int is_initialized = 0;
  int is_finalized = 0;
  MPI_Initialized(&is_initialized);
  MPI_Finalized(&is_finalized);
  return is_initialized != 0 && is_finalized == 0;
}

MPI_Comm mpi_of(const Communicator& group) {
  if (!is_mpi_running())
    throw StateError(
        "MPI has ended; no message can be sent after the lockstep::Environment is gone");
  return group.handle()->communicator;
}

void count_message(Communicator::Handle& handle, std::size_t num_bytes,
                   std::chrono::duration<double> time) noexcept {
  const auto bytes = static_cast<std::int64_t>(num_bytes);
  ++handle.traffic.num_messages;
  handle.traffic.num_bytes += bytes;
  total_messages.fetch_add(1, std::memory_order_relaxed);
  total_bytes.fetch_add(bytes, std::memory_order_relaxed);
  count_time(handle, time);
}

void count_time(Communicator::Handle& handle, std::chrono::duration<double> time) noexcept {
  handle.traffic.seconds += time.count();
  total_seconds.fetch_add(time.count(), std::memory_order_relaxed);
}

Communicator::Handle::~Handle() {
  if (is_mpi_running()) MPI_Comm_free(&communicator);
}

Communicator::Communicator() noexcept = default;
Communicator::~Communicator() = default;

Communicator::Communicator(Communicator&& other) noexcept { *this = std::move(other); }

Communicator& Communicator::operator=(Communicator&& other) noexcept {
  handle_ = std::move(other.handle_);
  rank_ = std::exchange(other.rank_, 0);  // what was moved from is solo
  size_ = std::exchange(other.size_, 1);
  return *this;
}

Communicator::Communicator(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {
  check_mpi(MPI_Comm_set_errhandler(handle_->communicator, MPI_ERRORS_RETURN),
            "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(handle_->communicator, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(handle_->communicator, &size_), "MPI_Comm_size");
}

Communicator detail::duplicate(const void* mpi_communicator) {
  if (!is_mpi_running())
    throw StateError("MPI is not running; create a lockstep::Environment first, once, in main()");
  MPI_Comm result = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(*static_cast<const MPI_Comm*>(mpi_communicator), &result), "MPI_Comm_dup");
  return Communicator(std::make_unique<Communicator::Handle>(result));
}

Communicator Communicator::world() { return duplicate(MPI_COMM_WORLD); }

Communicator Communicator::dup() const {
  return handle_ == nullptr ? Communicator() : duplicate(mpi_of(*this));
}

Communicator Communicator::split(int color) const {
  std::optional<Failure> failure;
  if (color < 0)
    failure = Failure{ErrorCode::argument,
                      fmt::format("the color of a split is {}; it must not be negative", color)};
  agree(*this, {"communicator", "split"}, {}, failure);
  if (handle_ == nullptr) return Communicator();
  MPI_Comm result = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(mpi_of(*this), color, rank_, &result), "MPI_Comm_split");
  return Communicator(std::make_unique<Handle>(result));
}

Communicator Communicator::split_by_node() const {
  agree(*this, {"communicator", "split by node"}, {});
  if (handle_ == nullptr) return Communicator();
  MPI_Comm result = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(mpi_of(*this), MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &result),
            "MPI_Comm_split_type");
  return Communicator(std::make_unique<Handle>(result));
}

Traffic Communicator::traffic() const noexcept {
  return handle_ == nullptr ? Traffic{} : handle_->traffic;
}

Traffic total_traffic() noexcept {
  return {total_messages.load(), total_bytes.load(), total_seconds.load()};
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "unknown host";
  return name.data();
}

}  // namespace lockstep
