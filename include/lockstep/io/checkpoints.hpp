// The checkpoints of a run, in a folder of their own.

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/base/export.hpp"
#include "lockstep/io/checkpoint.hpp"
#include "lockstep/train/callback.hpp"

namespace lockstep {

/// "step_00001200.safetensors" in some folder.
struct CheckpointFile {
  std::filesystem::path path;
  std::int64_t num_steps = 0;
};

/// The checkpoints of a folder by their names, that of the most steps first; none where there is no
/// such folder. Throws DataError when the folder cannot be read. Local.
[[nodiscard]] LOCKSTEP_EXPORT std::vector<CheckpointFile> checkpoints_in(
    const std::filesystem::path& folder);

/// Where a training can go on.
struct Resumption {
  std::optional<CheckpointFile> from;    ///< empty: there is no checkpoint that is whole
  std::vector<std::string> passed_over;  ///< why newer ones are not
};

/// The newest checkpoint of a folder that verify_checkpoint() finds whole. Throws DataError when
/// the folder cannot be read. Local.
[[nodiscard]] LOCKSTEP_EXPORT Resumption newest_checkpoint(const std::filesystem::path& folder);

/// Restores the newest checkpoint that is whole, removes what a save that died has left, and says
/// on all ranks which one it was. Where there are no checkpoints at all nothing happens. Rank 0
/// reads. Throws DataError on all ranks, with nothing changed, when none of them is whole or the
/// newest one does not fit; see load_checkpoint(). Collective.
LOCKSTEP_EXPORT Resumption resume(Trainer& trainer, const std::filesystem::path& folder);

struct CheckpointsOptions {
  std::filesystem::path folder = {};  ///< made where it is missing
  std::int64_t save_every = 0;        ///< steps; 0: at the end of every epoch
  int keep = 3;                       ///< newest ones that are kept, >= 1
  bool keep_best = true;              ///< likewise that of the smallest validation loss
  WeightNames names = WeightNames::pytorch;
  std::string note = {};  ///< see CheckpointOptions
  /// Told on rank 0 why a save failed; the training goes on, and older checkpoints stay. Empty: the
  /// error ends fit() on all ranks.
  std::function<void(const std::string& reason)> on_failure = {};
};

/// Saves checkpoints while a trainer runs: after every so many steps or every epoch, after an epoch
/// with the smallest validation loss of this run, and when fit() ends or is stopped. The link
/// "latest" shows the newest one. Checkpoints of later steps than those of the run, which went back
/// behind them, get the ending ".abandoned". Replicas that have drifted apart are not saved but end
/// the run; see check_replicas(). Neither is a state that holds NaN or infinity, NonFiniteError.
/// All ranks have one.
class LOCKSTEP_EXPORT Checkpoints final : public Callback {
 public:
  /// Throws ArgumentError for a negative save_every or keep < 1.
  explicit Checkpoints(CheckpointsOptions options);

  void on_step_end(Trainer& trainer, const StepRecord& record) override;
  void on_epoch_end(Trainer& trainer, const EpochRecord& record) override;
  void on_fit_end(Trainer& trainer, const History& history) override;
  [[nodiscard]] std::int64_t meeting_interval() const noexcept override;

 private:
  void save(Trainer& trainer, std::optional<double> validation_loss);

  CheckpointsOptions options_;
  std::optional<double> best_loss_;  // of this run
  bool is_due_ = false;              // there were steps since the last save
};

}  // namespace lockstep
