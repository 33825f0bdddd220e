// From this rank's batch to what all ranks know of it, forward and backward: for all channels at
// once by one message, or group by group.

#include <algorithm>
#include <utility>
#include <variant>

#include "layers/batch_normalization_parts.hpp"

namespace lockstep {

using Record = BatchNormalizationTape::Record;

void BatchNormalization::Parts::merge_at_once(Record* record, Exchange& exchange, std::int64_t step,
                                              std::optional<Failure> failure) {
  if (!failure)
    failure = attempt([&] {
      batch_sums->begin(*record);
      batch_sums->add(*record, [](std::int64_t) {});
      batch_sums->write(*record, exchange);
    });
  if (!failure && record->has_ghosts) failure = record->unusable_ghost();
  exchange.merge(step, failure, failure ? Content() : record->content());
  if (batch_sums->take(*record, exchange)) recenter(*record, *batch_sums, exchange);
}

// The range round: where the merged sums show that the center was far from the mean, or that sums
// as integers went wrong, the range of the values gives another center and other grids, since
// var >= range^2 / (2 W) about its middle. NaN and infinity show up here too. Every rank decides
// from merged numbers, so all decide alike.
void BatchNormalization::Parts::recenter(Record& record, BatchSums& sums, Exchange& exchange) {
  const auto local = std::span(local_range).first(sums.range_length());
  const auto merged = std::span(range).first(sums.range_length());
  sums.take_range(record, local);
  std::ranges::copy(local, merged.begin());
  exchange.maximum(merged);
  if (record.options->nonfinite == Nonfinite::error && non_finite_input(merged, record))
    exchange.raise(non_finite_input(local, record));
  sums.recenter(record, merged);
  sums.add(record, [](std::int64_t) {});
  sums.write(record, exchange);
  exchange.merge_again();
  static_cast<void>(sums.take(record, exchange));
  sums.finish(record);
}

void BatchNormalization::Parts::merge_gradients_at_once(Record* record,
                                                        const TensorView& output_gradient,
                                                        Exchange& exchange, BatchGradientSums& sums,
                                                        std::optional<Failure> failure) {
  if (!failure)
    failure = attempt([&] {
      sums.add(*record, output_gradient, [](std::int64_t) {});
      sums.write(*record, exchange);
    });
  exchange.merge(record == nullptr ? -1 : record->step, failure);
  sums.take(*record, output_gradient, exchange);
}

// What both directions have in common: three groups are on their way at most.
class BatchNormalization::Parts::Groups : public GroupedPass {
 protected:
  Groups(Parts& parts, Record* record, std::size_t num_parts) noexcept
      : parts_(parts), whole_(record), num_channels_(parts.num_channels / num_parts) {}

  [[nodiscard]] ChannelGroup& at(std::size_t group) const noexcept {
    return parts_.groups[group % parts_.groups.size()];
  }
  [[nodiscard]] ChannelGroup& begin(std::size_t group) const {
    ChannelGroup& result = at(group);
    result.record.become_part(*whole_, group * num_channels_, num_channels_);
    return result;
  }

  Parts& parts_;
  Record* whole_;
  std::size_t num_channels_;  // of a group
};

class BatchNormalization::Parts::ForwardGroups final : public Groups {
 public:
  ForwardGroups(Parts& parts, Record* record, const MutableTensorView& output, bool has_tape)
      : Groups(parts, record, parts.forward->num_parts()), output_(output), has_tape_(has_tape) {}

  void sum(std::size_t group, AfterSample after_sample) override {
    ChannelGroup& now = begin(group);
    if (now.num_channels != num_channels_) {
      now.sums = parts_.make_batch_sums(num_channels_);
      now.num_channels = num_channels_;
    }
    if (group == 0) prepare_gates(now.record.samples);
    now.sums->begin(now.record);
    now.sums->add(now.record, after_sample);
  }
  void send(std::size_t group) override {
    at(group).sums->write(at(group).record, *parts_.forward);
  }
  void settle(std::size_t group) override {
    Record& record = at(group).record;
    BatchSums& sums = *at(group).sums;
    if (sums.take(record, *parts_.forward)) parts_.recenter(record, sums, *parts_.forward);
    whole_->take_moments(record);
    normalize_by(record.moments, record.epsilon(), parts_.shift->dtype(), record.normalization);
    record.link();
    at(group).begin_passes([&]<class T>(SamplePasses<T>& passes, TypeTag<T>) {
      passes.begin_output(view_of(record.output), output_.values<T>().data(), record.is_streamed);
    });
  }
  void write(std::size_t group, std::int64_t n) override {
    if (is_in_place()) return;
    at(group).visit_passes([&](auto& passes) {
      if (!passes.write_output(n, gates_)) gates_ = nullptr;
    });
  }
  /// Whether the gates of all elements were written.
  [[nodiscard]] bool has_gates() const noexcept { return gates_ != nullptr; }
  [[nodiscard]] std::int64_t num_samples() const override { return whole_->samples.count; }

  /// Then an error must find the input as it was, so the output is written when none can come.
  [[nodiscard]] bool is_in_place() const {
    return output_.data() == whole_->input.data() || output_.data() == whole_->residual.data();
  }

 private:
  // Groups begin with whole bytes of gates, or there are none.
  void prepare_gates(const Samples& samples) {
    if (!has_tape_ || whole_->residual.is_null() || samples.num_elements % 8 != 0) return;
    whole_->gates.resize(Gates::num_bytes(whole_->input.num_elements()));
    gates_ = whole_->gates.data();
  }

  const MutableTensorView& output_;
  bool has_tape_;
  std::uint8_t* gates_ = nullptr;  // null: none are wanted, or could not be written
};

class BatchNormalization::Parts::BackwardGroups final : public Groups {
 public:
  BackwardGroups(Parts& parts, Record* record, const GradientTensors& tensors)
      : Groups(parts, record, parts.backward->num_parts()), tensors_(tensors) {}

  void sum(std::size_t group, AfterSample after_sample) override {
    ChannelGroup& now = begin(group);
    if (now.num_gradient_channels != num_channels_) {
      now.gradient_sums = parts_.make_gradient_sums(num_channels_);
      now.num_gradient_channels = num_channels_;
    }
    now.gradient.resize(num_channels_);
    now.gradient_sums->add(now.record, tensors_.output, after_sample);
  }
  void send(std::size_t group) override {
    at(group).gradient_sums->write(at(group).record, *parts_.backward);
  }
  void settle(std::size_t group) override {
    ChannelGroup& settled = at(group);
    BatchGradientSums& sums = *settled.gradient_sums;
    sums.take(settled.record, tensors_.output, *parts_.backward);
    parts_.gradient_sums->take_channels(sums, settled.record.first_channel);
    whole_->take_gradient_grid(settled.record);
    parts_.differentiate(settled.record, sums.merged(), settled.gradient);
    const Record& record = settled.record;
    settled.begin_passes([&]<class T>(SamplePasses<T>& passes, TypeTag<T>) {
      const auto pointer_to = [](const MutableTensorView& target) -> T* {
        return target.is_null() ? nullptr : target.values<T>().data();
      };
      passes.begin_gradients(view_of(record.output), view_of(record.normalization),
                             tensors_.output.values<T>().data());
      passes.begin_input_gradient(record.gradient_view(settled.gradient),
                                  pointer_to(tensors_.input), pointer_to(tensors_.residual),
                                  record.is_streamed);
    });
  }
  void write(std::size_t group, std::int64_t n) override {
    if (tensors_.input.is_null() && tensors_.residual.is_null()) return;
    at(group).visit_passes([&](const auto& passes) { passes.write_gradients(n); });
  }
  [[nodiscard]] std::int64_t num_samples() const override { return whole_->samples.count; }

 private:
  const GradientTensors& tensors_;
};

void BatchNormalization::Parts::merge_in_groups(Record* record, const MutableTensorView& output,
                                                const Call& call, std::optional<Failure> failure) {
  ForwardGroups pass(*this, record, output, call.tape != nullptr);
  run_in_groups(pass, *forward, call.step, failure ? Content() : record->content(),
                std::move(failure));
  record->is_written = !pass.is_in_place();
  record->has_gates = record->is_written && pass.has_gates();
}

void BatchNormalization::Parts::merge_gradients_in_groups(Record* record,
                                                          const GradientTensors& tensors,
                                                          std::optional<Failure> failure) {
  BackwardGroups pass(*this, record, tensors);
  run_in_groups(pass, *backward, record == nullptr ? -1 : record->step, {}, std::move(failure));
  record->is_written = true;
}

bool BatchNormalization::Parts::can_divide(const BatchNormalizationOptions& options,
                                           const Shape& input_shape) const noexcept {
  const auto num_axes = static_cast<int>(axes.size());
  const bool lies_behind_samples = axes.front() == 1 && axes.back() == num_axes;
  if (!lies_behind_samples || options.renorm || options.virtual_batch_size ||
      options.adjustment != nullptr)
    return false;
  std::int64_t inner = 1;
  for (int axis = num_axes + 1; axis < input_shape.rank(); ++axis) inner *= input_shape[axis];
  if (options.channel_group_bytes) return inner > 1;
  const auto* const function = std::get_if<ActivationFunction>(&activation.function);
  return inner >= min_grouped_plane && function != nullptr &&
         *function <= ActivationFunction::leaky_relu;
}

// Before there is a batch to judge by, and where groups do not pay, there is one message. Groups
// of 16-bit elements take a tenth longer: converting costs more than the memory.
void BatchNormalization::Parts::divide(const Record& record) noexcept {
  const std::size_t element_size = size_of(record.input.dtype());
  const bool is_asked_for = record.options->channel_group_bytes.has_value();
  if (!may_divide || (element_size < sizeof(float) && !is_asked_for)) return;
  const auto num_ranks = static_cast<double>(forward->group().size());
  Grouping grouping{
      .num_channels = num_channels,
      .channel_bytes =
          *std::ranges::max_element(record.count) / num_ranks * static_cast<double>(element_size),
      .is_alone = forward->group().is_solo(),
      .group_bytes = record.options->channel_group_bytes,
  };
  std::size_t size = channels_per_group(grouping);
  forward->divide(num_channels / size, batch_sums->length(size));
  grouping.num_tensors = 2;
  size = channels_per_group(grouping);
  backward->divide(num_channels / size, gradient_sums->length(size));
}

}  // namespace lockstep
