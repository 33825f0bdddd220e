#include "comm/beats.hpp"

#include <algorithm>
#include <mutex>

#include "comm/caller.hpp"
#include "comm/handle.hpp"
#include "lockstep/comm/collectives.hpp"

namespace lockstep {
namespace {

enum Tag : int { question = 1, answer = 2 };

// All of this process. Threads that wait take turns.
std::mutex mutex;
std::vector<Beats*> all;
std::shared_ptr<Beats> shared;

using HostName = std::array<char, 64>;

template <std::size_t size>
void put(std::array<char, size>& field, std::string_view text) {
  std::copy_n(text.begin(), std::min(text.size(), size - 1), field.begin());
}

std::vector<std::string> hosts_of(const Communicator& group) {
  HostName mine{};
  put(mine, host_name());
  std::vector<HostName> names(static_cast<std::size_t>(group.size()));
  allgather(group, std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(names)));
  std::vector<std::string> hosts;
  for (const HostName& name : names) hosts.emplace_back(name.data());
  return hosts;
}

}  // namespace

Beat beat_of(const JournalEntry& entry, Clock::time_point start) {
  Beat beat;
  beat.communicator = entry.communicator;
  beat.nth = entry.nth;
  beat.step = entry.step;
  beat.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  put(beat.call, entry.call);
  beat.layer = entry.layer;
  beat.phase = entry.phase;
  return beat;
}

Beats::Beats(const Communicator& group)
    : group_(group.dup()),
      rank_(group_.rank()),
      hosts_(hosts_of(group_)),
      answers_(static_cast<std::size_t>(group_.size())) {
  const std::lock_guard lock(mutex);
  all.push_back(this);
}

Beats::~Beats() {
  const std::lock_guard lock(mutex);
  std::erase(all, this);
  if (is_mpi_running()) drop_sent_messages();
  // What MPI may still read must stay where it is.
  for (auto& message : outgoing_) static_cast<void>(message.release());
}

void Beats::share(const std::shared_ptr<Beats>& beats) {
  if (!shared) shared = beats;
}

void Beats::end_sharing() noexcept { shared.reset(); }

std::shared_ptr<Beats> Beats::shared_by(MPI_Comm members) {
  if (!shared || std::ranges::count(shared->ranks_of(members), MPI_UNDEFINED) > 0) return nullptr;
  return shared;
}

void Beats::ask(bool is_stalled) {
  const std::lock_guard lock(mutex);
  Beat beat;
  beat.roll_call = ++roll_call_;
  beat.is_stalled = is_stalled ? 1 : 0;
  std::ranges::fill(answers_, std::nullopt);
  for (int other = 0; other < group_.size(); ++other)
    if (other != rank_) send(beat, other, question);
}

void Beats::exchange_all(const Beat& here) {
  const std::lock_guard lock(mutex);
  for (Beats* beats : all) beats->exchange(here);
}

void Beats::drop_sent_messages() {
  std::erase_if(outgoing_, [](const auto& message) {
    int is_done = 0;
    return MPI_Test(&message->request, &is_done, MPI_STATUS_IGNORE) == MPI_SUCCESS && is_done != 0;
  });
}

void Beats::exchange(const Beat& here) {
  drop_sent_messages();
  for (;;) {
    int has_come = 0;
    MPI_Status status;
    if (MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, group_.handle()->communicator, &has_come,
                   &status) != MPI_SUCCESS ||
        has_come == 0)
      return;
    Beat beat;
    if (MPI_Recv(&beat, sizeof beat, MPI_BYTE, status.MPI_SOURCE, status.MPI_TAG,
                 group_.handle()->communicator, MPI_STATUS_IGNORE) != MPI_SUCCESS)
      return;
    if (status.MPI_TAG == question) {
      if (beat.is_stalled != 0 && status.MPI_SOURCE < rank_) is_lower_rank_stalled_ = true;
      Beat reply = here;
      reply.roll_call = beat.roll_call;
      send(reply, status.MPI_SOURCE, answer);
    } else if (beat.roll_call == roll_call_) {
      answers_[static_cast<std::size_t>(status.MPI_SOURCE)] = beat;
    }
  }
}

void Beats::send(const Beat& beat, int to, int tag) {
  auto message = std::make_unique<Outgoing>();
  message->beat = beat;
  // A rank that cannot be reached is one that does not answer.
  if (MPI_Isend(&message->beat, sizeof(Beat), MPI_BYTE, to, tag, group_.handle()->communicator,
                &message->request) == MPI_SUCCESS)
    outgoing_.push_back(std::move(message));
}

std::vector<int> Beats::ranks_of(MPI_Comm members) const {
  MPI_Group from = MPI_GROUP_NULL, to = MPI_GROUP_NULL;
  MPI_Comm_group(members, &from);
  MPI_Comm_group(group_.handle()->communicator, &to);
  int size = 0;
  MPI_Group_size(from, &size);
  std::vector<int> numbers(static_cast<std::size_t>(size)), ranks(numbers.size(), MPI_UNDEFINED);
  for (int number = 0; number < size; ++number) numbers[static_cast<std::size_t>(number)] = number;
  MPI_Group_translate_ranks(from, size, numbers.data(), to, ranks.data());
  MPI_Group_free(&from);
  MPI_Group_free(&to);
  return ranks;
}

}  // namespace lockstep
