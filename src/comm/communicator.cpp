#include "lockstep/comm/communicator.hpp"

#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "base/random.hpp"
#include "comm/agreement.hpp"
#include "comm/beats.hpp"
#include "comm/caller.hpp"
#include "comm/handshake.hpp"
#include "comm/last_resort.hpp"
#include "comm/mpi_call.hpp"
#include "lockstep/base/error.hpp"
#include "lockstep/comm/collectives.hpp"
#include "lockstep/comm/mpi.hpp"

namespace lockstep {
namespace {

using Handle = Communicator::Handle;

// A communicator made of `parent`, or of the user's.
std::unique_ptr<Handle> child_of(Handle& parent, MPI_Comm communicator, int color) {
  check_mpi(MPI_Comm_set_errhandler(communicator, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  auto child = std::make_unique<Handle>(communicator, Ownership::owned);
  child->beats = parent.beats;
  child->id = RandomKey(parent.id).with(++parent.num_children).with(std::int64_t{color}).bits(0);
  return child;
}

// Higher than that of every communicator that one of the ranks has from the user.
std::uint64_t new_id(const Communicator& group) {
  static std::int64_t last = 0;
  std::array<std::int64_t, 1> next{last + 1};
  allreduce(group, next, Reduction::maximum);
  last = next[0];
  return static_cast<std::uint64_t>(last);
}

}  // namespace

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw CommunicationError(fmt::format(
      "{} failed: {}", call, std::string_view(text.data(), static_cast<std::size_t>(length))));
}

Communicator::Handle::~Handle() {
  if (ownership == Ownership::borrowed || !is_mpi_running()) return;
  const LastResort resort("MPI_Comm_free", longest_call());
  MPI_Comm_free(&communicator);
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
  check_mpi(MPI_Comm_rank(handle_->communicator, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(handle_->communicator, &size_), "MPI_Comm_size");
}

Communicator detail::duplicate(const void* mpi_communicator) {
  check_caller();
  notice_forks();
  const Communicator users(std::make_unique<Handle>(*static_cast<const MPI_Comm*>(mpi_communicator),
                                                    Ownership::borrowed));
  shake_hands(users);
  Communicator result = users.dup();
  if (result.is_solo()) return result;
  result.handle()->id = new_id(result);
  auto& beats = result.handle()->beats;
  beats = Beats::shared_by(result.handle()->communicator);
  if (!beats) beats = std::make_shared<Beats>(result);
  return result;
}

Communicator Communicator::world() {
  const MPI_Comm world = MPI_COMM_WORLD;
  return detail::duplicate(&world);
}

Communicator Communicator::dup() const {
  if (handle_ == nullptr) return Communicator();
  MPI_Comm result = MPI_COMM_NULL;
  call(*this,
       Collective{"MPI_Comm_dup", [&](MPI_Comm from) { return MPI_Comm_dup(from, &result); },
                  [&](MPI_Comm from, MPI_Request* request) {
                    return MPI_Comm_idup(from, &result, request);
                  },
                  false},
       0);
  return Communicator(child_of(*handle_, result, 0));
}

Communicator Communicator::split(int color) const {
  std::optional<Failure> failure;
  if (color < 0)
    failure = Failure{ErrorCode::argument,
                      fmt::format("the color of a split is {}; it must not be negative", color)};
  agree(*this, {"communicator", "split"}, {}, failure);
  if (handle_ == nullptr) return Communicator();
  MPI_Comm result = MPI_COMM_NULL;
  const LastResort resort("MPI_Comm_split", longest_call());
  check_mpi(MPI_Comm_split(handle_->communicator, color, rank_, &result), "MPI_Comm_split");
  return Communicator(child_of(*handle_, result, color));
}

Communicator Communicator::split_by_node() const {
  agree(*this, {"communicator", "split by node"}, {});
  if (handle_ == nullptr) return Communicator();
  MPI_Comm result = MPI_COMM_NULL;
  const LastResort resort("MPI_Comm_split_type", longest_call());
  check_mpi(MPI_Comm_split_type(handle_->communicator, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL,
                                &result),
            "MPI_Comm_split_type");
  return Communicator(child_of(*handle_, result, 0));
}

Traffic Communicator::traffic() const noexcept {
  return handle_ == nullptr ? Traffic{} : handle_->traffic;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "unknown host";
  return name.data();
}

}  // namespace lockstep
