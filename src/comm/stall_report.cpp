#include "comm/stall_report.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <string_view>
#include <tuple>

namespace lockstep {
namespace {

// Ranks that wait for the same message, or give no sign of life.
struct Party {
  std::optional<Beat> beat;
  std::vector<const RankSeen*> ranks;
};

auto wait_of(const Beat& beat) {
  return std::tuple(beat.communicator, beat.nth, std::string_view(beat.layer.data()),
                    std::string_view(beat.phase.data()), std::string_view(beat.call.data()));
}

bool is_same_wait(const std::optional<Beat>& one, const std::optional<Beat>& other) {
  if (!one || !other) return !one && !other;
  return wait_of(*one) == wait_of(*other);
}

bool is_at_end(const Party& party) {
  return party.beat && std::string_view(party.beat->layer.data()) == end_of_mpi.layer;
}

std::vector<Party> parties_of(const Stall& stall) {
  std::vector<Party> parties;
  for (const RankSeen& rank : stall.ranks) {
    const auto known = std::ranges::find_if(
        parties, [&](const Party& party) { return is_same_wait(party.beat, rank.beat); });
    if (known == parties.end())
      parties.push_back({rank.beat, {&rank}});
    else
      known->ranks.push_back(&rank);
  }
  return parties;
}

// Null when nobody is more to blame than others.
const Party* guilty_among(const std::vector<Party>& parties) {
  const auto silent = std::ranges::find_if(parties, [](const Party& p) { return !p.beat; });
  if (silent != parties.end()) return &*silent;
  if (parties.size() < 2) return nullptr;
  const auto ended = std::ranges::find_if(parties, is_at_end);
  if (ended != parties.end()) return &*ended;
  const auto size = [](const Party& party) { return party.ranks.size(); };
  const auto smallest = std::ranges::min_element(parties, {}, size);
  const auto is_as_small = [&](const Party& party) { return size(party) == size(*smallest); };
  return std::ranges::count_if(parties, is_as_small) == 1 ? &*smallest : nullptr;
}

std::string place_of(const Beat& beat) {
  const std::string place = place_text(beat.layer.data(), beat.phase.data(), beat.step);
  return place.empty() ? beat.call.data() : fmt::format("{} ({})", place, beat.call.data());
}

// "rank 3 on host" or "ranks 0, 1, 4 on host, other"; of many the first ones.
std::string names_of(const Party& party) {
  constexpr std::size_t most = 16;
  std::string numbers, hosts;
  const std::size_t num_ranks = party.ranks.size();
  std::vector<std::string_view> known;
  for (std::size_t i = 0; i < std::min(num_ranks, most); ++i) {
    numbers += fmt::format("{}{}", i == 0 ? "" : ", ", party.ranks[i]->rank);
    if (std::ranges::find(known, party.ranks[i]->host) != known.end()) continue;
    known.push_back(party.ranks[i]->host);
    hosts += fmt::format("{}{}", hosts.empty() ? "" : ", ", party.ranks[i]->host);
  }
  if (num_ranks > most) numbers += fmt::format(" and {} more", num_ranks - most);
  return fmt::format("{} {} on {}", num_ranks == 1 ? "rank" : "ranks", numbers, hosts);
}

std::string accusation_of(const Party& party) {
  const bool is_one = party.ranks.size() == 1;
  const std::string names = names_of(party);
  if (!party.beat) return fmt::format("{} {} no sign of life", names, is_one ? "gives" : "give");
  return fmt::format("{} {} elsewhere, at {}", names, is_one ? "waits" : "wait",
                     place_of(*party.beat));
}

}  // namespace

std::vector<int> guilty_ranks(const Stall& stall) {
  const auto parties = parties_of(stall);
  std::vector<int> ranks;
  if (const Party* guilty = guilty_among(parties))
    for (const RankSeen* rank : guilty->ranks) ranks.push_back(rank->rank);
  return ranks;
}

int speaker_of(const Stall& stall) {
  const auto mine = std::ranges::find(stall.ranks, stall.here, &RankSeen::rank);
  int speaker = stall.here;
  for (const RankSeen& seen : stall.ranks)
    if (is_same_wait(seen.beat, mine->beat)) speaker = std::min(speaker, seen.rank);
  return speaker;
}

std::string stall_text(const Stall& stall) {
  const auto parties = parties_of(stall);
  const auto mine = std::ranges::find(stall.ranks, stall.here, &RankSeen::rank);
  const Party* const guilty = guilty_among(parties);
  std::string text = fmt::format("ranks have waited for {:.1f} s: ", mine->beat->seconds);
  if (guilty != nullptr)
    text += accusation_of(*guilty);
  else
    text += parties.size() == 1 ? "all have come, but MPI does not deliver the message"
                                : "they wait for each other at different places";
  for (const Party& party : parties)
    text += party.beat ? fmt::format("\n  {}: at {}, for {:.1f} s", names_of(party),
                                     place_of(*party.beat), party.beat->seconds)
                       : fmt::format(
                             "\n  {}: computes, hangs, is stopped, has left MPI, or cannot "
                             "be reached",
                             names_of(party));
  return text + "\n";
}

}  // namespace lockstep
