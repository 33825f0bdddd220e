// Which ranks train together, and which part of a global batch is whose.

#pragma once

#include <cstdint>
#include <memory>

#include "lockstep/base/export.hpp"
#include "lockstep/comm/communicator.hpp"

namespace lockstep {

/// Consecutive samples [first, first + count) of a global batch.
struct Shard {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// The part of `rank` when `global_batch` samples are cut over `num_ranks` ranks: consecutive parts
/// in rank order that differ by at most one unit, the larger ones first, and may be empty. A unit
/// of `unit` >= 1 samples is never cut; what is left of the batch after whole units is one, too.
[[nodiscard]] LOCKSTEP_EXPORT Shard shard_of(std::int64_t global_batch, int rank, int num_ranks,
                                             std::int64_t unit = 1) noexcept;

/// A group of ranks that hold replicas of one model and share every global batch. A cheap value:
/// copies share the communicator.
class LOCKSTEP_EXPORT Strategy {
 public:
  /// One process, no communication.
  Strategy();
  explicit Strategy(Communicator replicas);

  // Moving copies, so that no strategy is ever without replicas.
  Strategy(const Strategy&) = default;
  Strategy& operator=(const Strategy&) = default;

  [[nodiscard]] const Communicator& replicas() const noexcept { return *replicas_; }
  /// For what may live longer than this strategy.
  [[nodiscard]] std::shared_ptr<const Communicator> shared_replicas() const noexcept {
    return replicas_;
  }
  [[nodiscard]] int rank() const noexcept { return replicas_->rank(); }
  [[nodiscard]] int num_replicas() const noexcept { return replicas_->size(); }

  /// This rank's part of `global_batch` samples, in units that are never cut.
  [[nodiscard]] Shard shard_of(std::int64_t global_batch, std::int64_t unit = 1) const noexcept {
    return lockstep::shard_of(global_batch, rank(), num_replicas(), unit);
  }

  /// While a Scope lives on this thread, models and layers that are told no strategy use its.
  class LOCKSTEP_EXPORT Scope {
   public:
    explicit Scope(Strategy strategy);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    std::shared_ptr<const Communicator> previous_;
  };
  [[nodiscard]] Scope scope() const { return Scope(*this); }

  /// The strategy of the innermost scope on this thread; one process outside of any.
  [[nodiscard]] static Strategy current();

 private:
  std::shared_ptr<const Communicator> replicas_;
};

}  // namespace lockstep
