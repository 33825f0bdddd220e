// Options as JSON: how rank 0 gives them to the others, and what is kept of them.

#pragma once

#include <nlohmann/json.hpp>

#include "bench/bench_options.hpp"
#include "inspect.hpp"
#include "train_options.hpp"

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TrainOptions, data, model, dtype, batch, epochs, steps,
                                   learning_rate, schedule, momentum, bn_momentum, optimizer,
                                   synchronized, statistics, precise_statistics, nonfinite,
                                   drift_check, seed, stall_timeout, out, save_every, keep,
                                   save_failure, resume, config, dry_run, json, quiet)

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(InspectOptions, file, other, json)

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(BenchOptions, shapes, layout, dtype, rounds, sweep,
                                   stall_timeout, csv, json, quiet)
