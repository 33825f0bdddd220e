#include "bench/layer_bench.hpp"

#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "bench/buffers.hpp"
#include "bench/floor_series.hpp"
#include "bench/onednn_candidates.hpp"
#include "bench/subject.hpp"
#include "bench/targets.hpp"
#include "on_all_ranks.hpp"

namespace ls = lockstep;

namespace {

// A layer on its way through the measurement; its rows are called after it: "relu forward".
struct Contestant {
  std::string prefix;
  Subject subject;
  Subject::Wrong wrong;
};

using SeriesByName = std::map<std::string, Series>;

// Small batches and other layouts go through the cache at once.
bool may_be_grouped(const Workload& workload) {
  return workload.layout == Layout::nchw && is_memory_size(workload);
}

void add_candidates(Contestant& contestant, std::vector<Candidate>& candidates) {
  Subject* const subject = &contestant.subject;
  candidates.push_back({contestant.prefix + "forward", [=] { subject->forward(); }});
  candidates.push_back({contestant.prefix + "backward", [=] { subject->backward(); }});
  if (contestant.prefix.empty()) candidates.push_back({"inference", [=] { subject->infer(); }});
}

// Makes the rows of one workload from its series.
class RowMaker {
 public:
  RowMaker(const Workload& workload, int num_ranks, const SeriesByName& series)
      : workload_(workload), num_ranks_(num_ranks), series_(series) {}

  [[nodiscard]] const Series& series(const std::string& name) const { return series_.at(name); }

  [[nodiscard]] Row row(const std::string& what, const Series& measured) const {
    return {.shape = label_of(workload_),
            .layout = std::string(name_of(workload_.layout)),
            .dtype = std::string(ls::name_of(workload_.dtype)),
            .what = what,
            .microseconds = 1e6 * median_of(measured),
            .spread = spread_of(measured)};
  }

  [[nodiscard]] Row row(const std::string& what, const std::string& against, const Series& base,
                        std::int64_t num_wrong) const {
    const Series& measured = series_.at(what);
    Row result = row(what, measured);
    result.against = against;
    result.ratio = ratio_of(measured, base);
    result.num_wrong = num_wrong;
    result.target = target_of(what, workload_, num_ranks_, median_of(base));
    return result;
  }

  // Of somebody else, who has to answer for neither targets nor results.
  [[nodiscard]] Row peer(const std::string& what, const std::string& against,
                         const Series& base) const {
    Row result = row(what, series_.at(what));
    result.against = against;
    result.ratio = ratio_of(series_.at(what), base);
    return result;
  }

  // What exact sums cost.
  [[nodiscard]] Row exact(const std::string& pass, std::int64_t num_wrong) const {
    Row result = row("exact " + pass, series(pass));
    result.against = "fast " + pass;
    result.ratio = ratio_of(series(pass), series(result.against));
    result.num_wrong = num_wrong;
    result.target = target_of(result.what, workload_, num_ranks_, 0.0);
    return result;
  }

  // What it makes of a pass to go through the cache in groups of channels.
  [[nodiscard]] Row grouped(const std::string& pass, std::int64_t num_wrong) const {
    Row result = row("grouped " + pass, series(pass));
    result.against = "at once " + pass;
    result.ratio = ratio_of(series(pass), series(result.against));
    result.num_wrong = num_wrong;
    return result;
  }

  // What being synchronized adds to a call too short for ratios.
  [[nodiscard]] Row extra(const std::string& pass) const {
    Row result =
        row("sync extra " + pass, by_round(series("sync " + pass), series(pass), std::minus<>()));
    result.against = "local " + pass;
    result.spread.reset();  // of a difference it says nothing
    result.target = target_of(result.what, workload_, num_ranks_, 0.0);
    return result;
  }

 private:
  Workload workload_;
  int num_ranks_;
  const SeriesByName& series_;
};

void add_fused(const RowMaker& maker, const FloorSeries& floor, const Contestant& contestant,
               std::vector<Row>& rows) {
  const bool has_residual = contestant.prefix == "residual ";
  const Series forward =
      by_round(maker.series("forward"), floor.own_traffic_forward(has_residual), std::plus<>());
  const Series backward =
      by_round(maker.series("backward"), floor.own_traffic_backward(has_residual), std::plus<>());
  const std::string base = "plain + traffic";
  rows.push_back(maker.row(contestant.prefix + "forward", base, forward, contestant.wrong.forward));
  rows.push_back(
      maker.row(contestant.prefix + "backward", base, backward, contestant.wrong.backward));
}

void add_against(const RowMaker& maker, const std::string& base, const Contestant& contestant,
                 std::vector<Row>& rows) {
  for (const std::string pass : {"forward", "backward"})
    rows.push_back(
        maker.row(contestant.prefix + pass, base + pass, maker.series(base + pass),
                  pass == "forward" ? contestant.wrong.forward : contestant.wrong.backward));
}

void add_synchronized(const RowMaker& maker, const Workload& workload, const Contestant& contestant,
                      std::vector<Row>& rows) {
  rows.push_back(maker.row("sync forward", "local forward", maker.series("forward"),
                           contestant.wrong.forward));
  rows.push_back(maker.row("sync backward", "local backward", maker.series("backward"),
                           contestant.wrong.backward));
  if (!is_tiny(workload)) return;
  rows.push_back(maker.extra("forward"));
  rows.push_back(maker.extra("backward"));
}

void add_peers(const RowMaker& maker, const FloorSeries& floor, const std::vector<Candidate>& peers,
               std::vector<Row>& rows) {
  for (const Candidate& peer : peers)
    rows.push_back(peer.name.ends_with(" forward")
                       ? maker.peer(peer.name, "floor forward", floor.forward())
                       : maker.peer(peer.name, "floor backward", floor.backward()));
}

}  // namespace

std::vector<Row> layer_rows(const ls::Communicator& world, const Workload& workload, Field field,
                            const MeasureOptions& options) {
  std::optional<Buffers> buffers;
  on_all_ranks(world, [&] { buffers.emplace(workload, world.rank()); });
  std::deque<Contestant> contestants;  // candidates point to them
  const auto enter = [&](const std::string& prefix, const SubjectOptions& subject_options) {
    contestants.push_back({prefix, Subject(workload, subject_options, *buffers, world), {}});
    contestants.back().wrong = contestants.back().subject.check(world);
  };
  enter("", {});
  if (field == Field::whole) {
    enter("relu ", {.has_relu = true});
    enter("residual ", {.has_relu = true, .has_residual = true});
    enter("fast ", {.statistics = ls::Statistics::fast});
    if (may_be_grouped(workload)) enter("at once ", {.channel_group_bytes = 0});
    if (!world.is_solo()) {
      enter("sync ", {.is_synchronized = true});
      if (may_be_grouped(workload))
        enter("grouped sync ", {.is_synchronized = true, .channel_group_bytes = 256 * 1024});
    }
  }

  std::vector<Candidate> candidates = floor_candidates(*buffers);
  for (Contestant& contestant : contestants) add_candidates(contestant, candidates);
  std::vector<Candidate> peers;
  if (field == Field::whole)
    on_all_ranks(world, [&] { peers = onednn_candidates(workload, *buffers); });
  candidates.insert(candidates.end(), peers.begin(), peers.end());
  const SeriesByName series = measure(world, candidates, options);

  const FloorSeries floor(series, workload);
  const RowMaker maker(workload, world.size(), series);
  const Subject::Wrong& wrong = contestants.front().wrong;
  std::vector<Row> rows{
      maker.row("floor forward", floor.forward()),
      maker.row("floor backward", floor.backward()),
      maker.row("floor inference", floor.inference()),
      maker.row("forward", "floor forward", floor.forward(), wrong.forward),
      maker.row("backward", "floor backward", floor.backward(), wrong.backward),
      maker.row("inference", "floor inference", floor.inference(), wrong.inference)};
  add_peers(maker, floor, peers, rows);
  for (const Contestant& contestant : contestants)
    if (contestant.prefix == "fast ") {
      rows.push_back(maker.exact("forward", contestant.wrong.forward));
      rows.push_back(maker.exact("backward", contestant.wrong.backward));
    } else if (contestant.prefix == "at once ") {
      rows.push_back(maker.grouped("forward", contestant.wrong.forward));
      rows.push_back(maker.grouped("backward", contestant.wrong.backward));
    } else if (contestant.prefix == "grouped sync ") {
      add_against(maker, "sync ", contestant, rows);
    } else if (contestant.prefix == "sync ") {
      add_synchronized(maker, workload, contestant, rows);
    } else if (!contestant.prefix.empty()) {
      add_fused(maker, floor, contestant, rows);
    }
  return rows;
}
