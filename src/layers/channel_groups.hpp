// Channels that go through the cache group by group, each with a message of its own: every element
// is read from memory once, for its sums, and from the cache for the output.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <variant>

#include "comm/exchange.hpp"
#include "comm/failure.hpp"
#include "kernels/sample_passes.hpp"
#include "layers/batch_gradient_sums.hpp"
#include "layers/batch_normalization_record.hpp"
#include "layers/batch_sums.hpp"
#include "norm/affine.hpp"

namespace lockstep {

/// One pass of a layer over a batch, in groups of channels numbered from 0.
class GroupedPass {
 public:
  virtual ~GroupedPass() = default;

  /// Takes this rank's sums of a group; calls `after_sample` after each sample.
  virtual void sum(std::size_t group, AfterSample after_sample) = 0;
  /// They become the message.
  virtual void send(std::size_t group) = 0;
  /// The merged message becomes what the output needs. Collective where sums are due once more.
  virtual void settle(std::size_t group) = 0;
  /// Writes what sample n has of the group.
  virtual void write(std::size_t group, std::int64_t n) = 0;
  [[nodiscard]] virtual std::int64_t num_samples() const = 0;
};

/// Runs a pass in as many groups as the exchange has parts. While the sums of a group are taken,
/// the message of the one before is under way and the output of the one before that is written,
/// sample by sample; a rank alone waits for no message and writes one group earlier. No more than
/// one message is ever under way, so that a rank that fails keeps its appointments as with others.
/// `failure` is one from before the pass. Collective.
void run_in_groups(GroupedPass& pass, Exchange& exchange, std::int64_t step, const Content& content,
                   std::optional<Failure> failure);

/// Shorter planes of a channel are too short to be read and written in turns.
inline constexpr std::int64_t min_grouped_plane = 512;

/// What decides how many channels make a group; the same on all ranks.
struct Grouping {
  std::size_t num_channels = 0;
  double channel_bytes = 0.0;  ///< of a rank's batch per channel, in the mean of the ranks
  int num_tensors = 1;         ///< that a pass reads: x, or x and dy
  bool is_alone = true;        ///< the ranks are one
  std::optional<std::int64_t> group_bytes = std::nullopt;  ///< the option
};

/// Channels per group, a divisor of their number; all of them where groups would not pay. Several
/// ranks wait for each other at every group. That costs little where each has a core for itself,
/// and several times the whole pass where it has not, so such groups are only made when asked for.
[[nodiscard]] std::size_t channels_per_group(const Grouping& grouping) noexcept;

/// What one group needs while it is on its way; kept for the next one.
struct ChannelGroup {
  BatchNormalizationTape::Record record;  ///< a part of that of the call
  std::unique_ptr<BatchSums> sums;
  std::unique_ptr<BatchGradientSums> gradient_sums;
  std::size_t num_channels = 0, num_gradient_channels = 0;  ///< that the sums are for
  InputGradientAffine gradient;
  ChannelPairs pairs;
  /// That write outputs; none before there is anything to write.
  std::variant<std::monostate, SamplePasses<float>, SamplePasses<double>, SamplePasses<Float16>,
               SamplePasses<BFloat16>>
      passes;

  /// Makes passes for the record, once it is settled, and calls begin(passes).
  template <class Begin>
  void begin_passes(Begin&& begin) {
    record.visit_batch([&]<class T>(const NormalizationBatch<T>& batch) {
      begin(passes.emplace<SamplePasses<T>>(batch, record.samples, &pairs), TypeTag<T>());
    });
  }
  /// Calls visit(passes).
  template <class Visit>
  void visit_passes(Visit&& visit) {
    std::visit(
        [&]<class Passes>(Passes& made) {
          if constexpr (!std::is_same_v<Passes, std::monostate>) visit(made);
        },
        passes);
  }
};

}  // namespace lockstep
