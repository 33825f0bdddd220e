// The sums that backward needs, over the ranks.

#pragma once

#include <span>
#include <vector>

#include "comm/exchange.hpp"
#include "kernels/factored_gradient.hpp"
#include "layers/batch_normalization_record.hpp"
#include "lockstep/params/variable.hpp"
#include "stats/exact_moments.hpp"

namespace lockstep {

/// One way of taking them, which Statistics names. As BatchSums.
class BatchGradientSums {
 public:
  using Record = BatchNormalizationTape::Record;

  BatchGradientSums(std::size_t num_channels, bool is_adjusted);
  virtual ~BatchGradientSums() = default;

  [[nodiscard]] virtual Payload payload() const noexcept = 0;
  [[nodiscard]] virtual std::size_t length(std::size_t num_channels) const noexcept = 0;

  /// Takes this rank's sums; `after_sample` as in BatchSums.
  virtual void add(const Record& record, const TensorView& output_gradient,
                   AfterSample after_sample) = 0;
  /// They become its message.
  virtual void write(const Record& record, Exchange& exchange) = 0;
  /// What the merged message says; sums once more, if that asks for it. Collective.
  virtual void take(Record& record, const TensorView& output_gradient, Exchange& exchange) = 0;

  /// Copies what `part` has of the channels from `first` on.
  void take_channels(BatchGradientSums& part, std::size_t first) noexcept;

  /// Per channel: of all ranks, and of this one.
  [[nodiscard]] GradientSumsView merged() noexcept { return view(merged_); }
  [[nodiscard]] GradientSumsView local() noexcept { return view(local_); }
  /// Per column, where ghost batches have their own.
  [[nodiscard]] GradientSumsView of_ghosts() noexcept { return view(columns_); }

 protected:
  [[nodiscard]] GradientSumsView view(std::span<double> sums) const noexcept {
    return gradient_sums_in(sums, is_adjusted_);
  }
  /// Takes the sums per column.
  void take_columns(const Record& record, const TensorView& output_gradient,
                    AfterSample after_sample);

  std::size_t num_channels_;
  bool is_adjusted_;
  std::vector<double> columns_, local_, merged_;
};

/// As doubles.
class FastGradientSums final : public BatchGradientSums {
 public:
  using BatchGradientSums::BatchGradientSums;

  [[nodiscard]] Payload payload() const noexcept override { return Payload::doubles; }
  [[nodiscard]] std::size_t length(std::size_t num_channels) const noexcept override {
    return gradient_sums_length(num_channels, is_adjusted_);
  }
  void add(const Record& record, const TensorView& output_gradient,
           AfterSample after_sample) override;
  void write(const Record& record, Exchange& exchange) override;
  void take(Record& record, const TensorView& output_gradient, Exchange& exchange) override;
};

/// As integers. Nothing predicts how large gradients are, so the sums are measured; where the grids
/// of the call before do not fit, the largest terms of all ranks give others. What becomes of a
/// channel never depends on which others are summed up with it.
class IntegerGradientSums final : public BatchGradientSums {
 public:
  IntegerGradientSums(std::size_t num_channels, bool is_adjusted);

  /// Of the variable where a layer remembers them.
  /// The same with and without an adjustment, so that such layers can share variables.
  [[nodiscard]] static std::size_t num_exponents(std::size_t num_channels) noexcept {
    return gradient_sums_length(num_channels, true);
  }
  /// Those of a layer that has seen nothing.
  static void set_first_exponents(Variable& grid) noexcept;

  [[nodiscard]] Payload payload() const noexcept override { return Payload::integers; }
  [[nodiscard]] std::size_t length(std::size_t num_channels) const noexcept override;
  void add(const Record& record, const TensorView& output_gradient,
           AfterSample after_sample) override;
  void write(const Record& record, Exchange& exchange) override;
  void take(Record& record, const TensorView& output_gradient, Exchange& exchange) override;

 private:
  template <class Visit>
  void for_each_term(const Record& record, const TensorView& output_gradient, Visit&& visit);
  [[nodiscard]] bool add_at_once(const Record& record, const TensorView& output_gradient);
  void add_terms(const Record& record, const TensorView& output_gradient, AfterSample after_sample);
  [[nodiscard]] bool find_due() noexcept;
  void take_largest(const Record& record, const TensorView& output_gradient);
  void fit_grids() noexcept;
  void read_sums(std::vector<double>& target) const noexcept;

  ExactSums sums_;
  // All [sums * channels].
  std::vector<std::int64_t> exponents_;
  std::vector<char> is_due_;
  std::vector<char> is_spoiled_;  // by what is not finite
  std::vector<double> terms_;     // of one sample
  ChannelPairs pairs_;            // for that
  std::vector<double> largest_;   // then which sums had a term outside of its grid
};

}  // namespace lockstep
