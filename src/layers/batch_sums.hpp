// The sums of a batch on their way to moments: over the ranks, and once more where they were taken
// about a center that was too far.

#pragma once

#include <memory>
#include <span>
#include <vector>

#include "comm/exchange.hpp"
#include "layers/batch_normalization_record.hpp"
#include "lockstep/params/variable.hpp"
#include "stats/exact_moments.hpp"

namespace lockstep {

/// One way of taking sums, which Statistics names. Whether a range round is due is decided from
/// merged numbers, so that all ranks decide alike.
class BatchSums {
 public:
  using Record = BatchNormalizationTape::Record;

  virtual ~BatchSums() = default;

  /// Of what make_exchange() is to carry for so many channels.
  [[nodiscard]] virtual Payload payload() const noexcept = 0;
  [[nodiscard]] virtual std::size_t length(std::size_t num_channels) const noexcept = 0;

  /// At the beginning of a call: what earlier ones have learned.
  virtual void begin(Record& record) = 0;
  /// Takes this rank's sums about the centers of the record. Calls `after_sample` with the number
  /// of each sample once it was read, where the record is of a part of the channels.
  virtual void add(Record& record, AfterSample after_sample) = 0;
  /// They become this rank's message.
  virtual void write(const Record& record, Exchange& exchange) = 0;
  /// The merged message becomes moments, or where ghost batches have their own, their average. True
  /// when a range round is due.
  [[nodiscard]] virtual bool take(Record& record, Exchange& exchange) = 0;

  // The range round: largest values of all ranks, then sums once more.

  [[nodiscard]] virtual std::size_t range_length() const noexcept = 0;
  /// First the largest x, then the largest -x per channel.
  virtual void take_range(const Record& record, std::span<double> range) = 0;
  virtual void recenter(Record& record, std::span<const double> range) = 0;
  /// After the second sums: what is not finite becomes NaN.
  virtual void finish(Record& record) noexcept = 0;
};

/// As doubles.
class FastSums final : public BatchSums {
 public:
  /// The center is rounded to `dtype`.
  FastSums(std::size_t num_channels, DType dtype)
      : num_channels_(num_channels), dtype_(dtype), sums_(sums_length(num_channels)) {}

  [[nodiscard]] Payload payload() const noexcept override { return Payload::doubles; }
  [[nodiscard]] std::size_t length(std::size_t num_channels) const noexcept override {
    return sums_length(num_channels);
  }
  void begin(Record&) override {}
  void add(Record& record, AfterSample after_sample) override;
  void write(const Record& record, Exchange& exchange) override;
  [[nodiscard]] bool take(Record& record, Exchange& exchange) override;
  [[nodiscard]] std::size_t range_length() const noexcept override { return 2 * num_channels_; }
  void take_range(const Record& record, std::span<double> range) override;
  void recenter(Record& record, std::span<const double> range) override;
  void finish(Record& record) noexcept override;

 private:
  std::size_t num_channels_;
  DType dtype_;
  std::vector<double> sums_;
  std::vector<double> ghosts_;  // of measure_ghosts()
};

/// As integers. What becomes of a channel never depends on which others are summed up with it.
class IntegerSums final : public BatchSums {
 public:
  /// `grid` is where the layer remembers exponents, int64 [num_exponents(channels)].
  IntegerSums(std::size_t num_channels, DType dtype, const Variable& grid);

  [[nodiscard]] static std::size_t num_exponents(std::size_t num_channels) noexcept {
    return moment_sums::num * num_channels;
  }
  /// Those of a layer that has seen nothing.
  static void set_first_exponents(Variable& grid) noexcept;

  [[nodiscard]] Payload payload() const noexcept override { return Payload::integers; }
  [[nodiscard]] std::size_t length(std::size_t num_channels) const noexcept override;
  void begin(Record& record) override;
  void add(Record& record, AfterSample after_sample) override;
  void write(const Record& record, Exchange& exchange) override;
  [[nodiscard]] bool take(Record& record, Exchange& exchange) override;
  /// Then which channels had a term outside of its grid, and the largest weight of a sample.
  [[nodiscard]] std::size_t range_length() const noexcept override { return 3 * num_channels_ + 1; }
  void take_range(const Record& record, std::span<double> range) override;
  void recenter(Record& record, std::span<const double> range) override;
  void finish(Record& record) noexcept override;

 private:
  template <class Visit>
  void for_each_sample(const Record& record, Visit&& visit);
  template <class Visit>
  void for_each_ghost(const Record& record, Visit&& visit);
  void add_samples(const Record& record, AfterSample after_sample);
  [[nodiscard]] bool add_at_once(const Record& record);
  void find_outside(const Record& record, std::span<double> outside);
  void take_ghosts(Record& record);
  [[nodiscard]] bool find_due(const Moments& moments, bool have_centers);

  std::size_t num_channels_;
  DType dtype_;
  const Variable& grid_;
  ExactSums sums_;
  Moments averages_;  // of ghost batches
  std::vector<std::int64_t> exponents_;
  std::vector<char> is_due_;      // for the range round, [channels]
  std::vector<char> is_spoiled_;  // by what is not finite
  std::vector<double> terms_;     // of one sample
  std::vector<double> ghosts_;    // of measure_ghosts()
};

}  // namespace lockstep
