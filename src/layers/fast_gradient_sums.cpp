#include <algorithm>

#include "layers/batch_gradient_sums.hpp"

namespace lockstep {

BatchGradientSums::BatchGradientSums(std::size_t num_channels, bool is_adjusted)
    : num_channels_(num_channels),
      is_adjusted_(is_adjusted),
      local_(gradient_sums_length(num_channels, is_adjusted)),
      merged_(local_.size()) {}

void BatchGradientSums::take_columns(const Record& record, const TensorView& output_gradient,
                                     AfterSample after_sample) {
  columns_.assign(gradient_sums_length(record.moments.count.size(), is_adjusted_), 0.0);
  record.add_gradient_sums(output_gradient, view(columns_), after_sample);
}

void BatchGradientSums::take_channels(BatchGradientSums& part, std::size_t first) noexcept {
  const std::size_t num_sums = local_.size() / num_channels_;
  copy_channels<double>(part.local_, 0, local_, first, num_sums);
  copy_channels<double>(part.merged_, 0, merged_, first, num_sums);
}

// Columns repeat the channels group by group.
void FastGradientSums::add(const Record& record, const TensorView& output_gradient,
                           AfterSample after_sample) {
  take_columns(record, output_gradient, after_sample);
  std::ranges::fill(local_, 0.0);
  const std::size_t num_columns = record.moments.count.size();
  for (std::size_t i = 0; i < columns_.size(); ++i)
    local_[i / num_columns * num_channels_ + i % num_columns % num_channels_] += columns_[i];
}

void FastGradientSums::write(const Record&, Exchange& exchange) {
  std::ranges::copy(local_, exchange.payload().begin());
}

void FastGradientSums::take(Record&, const TensorView&, Exchange& exchange) {
  std::ranges::copy(exchange.payload().first(merged_.size()), merged_.begin());
}

}  // namespace lockstep
