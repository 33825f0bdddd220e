#include "bench/bench.hpp"

#include <algorithm>
#include <optional>
#include <vector>

#include "bench/layer_bench.hpp"
#include "bench/measure.hpp"
#include "bench/merge_bench.hpp"
#include "bench/step_bench.hpp"
#include "bench/table.hpp"
#include "bench/workload.hpp"
#include "hosts.hpp"

namespace ls = lockstep;

namespace {

std::int64_t num_rounds_of(const BenchOptions& options) {
  if (options.rounds > 0) return options.rounds;
  return options.sweep ? 5 : 11;
}

}  // namespace

bool bench(const ls::Communicator& world, const BenchOptions& options) {
  const MeasureOptions measuring{.rounds = num_rounds_of(options)};
  const auto hosts = host_names(world);
  std::optional<Table> table;  // rank 0 speaks
  if (world.rank() == 0) table.emplace(options, hosts, measuring.rounds);
  bool is_right = true;
  const auto report = [&](const std::vector<Row>& rows) {
    for (const Row& row : rows) is_right = is_right && row.num_wrong.value_or(0) == 0;
    if (table) table->add(rows);
  };
  const Field field = options.sweep ? Field::plain : Field::whole;
  for (const Workload& workload : workloads_of(options))
    report(layer_rows(world, workload, field, measuring));
  if (!options.sweep) {
    report(merge_rows(world, measuring));
    report(step_rows(world, options.dtype, measuring));
  }
  if (table) table->finish();
  return is_right;
}
