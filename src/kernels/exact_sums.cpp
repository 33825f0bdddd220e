#include "kernels/exact_sums.hpp"

#include "kernels/vector_choice.hpp"

namespace lockstep {
namespace {

// The samples as rows of one element per channel, if vector kernels can take them.
template <class T>
std::optional<VectorBatch<T>> rows_of(const NormalizationBatch<T>& batch, const Samples& samples) {
  const std::int64_t num_columns = batch.layout.num_columns;
  if (samples.num_elements != num_columns || vector_kernels_for<T>() == nullptr)
    return std::nullopt;
  std::optional<VectorBatch<T>> rows = vector_batch(batch);
  if (rows) rows->columns = {samples.count, num_columns, 1};
  return rows;
}

// Calls visit(rows, first element) for as many rows at a time as fit into the words of sums.
template <class T, class Visit>
void for_each_piece(const VectorBatch<T>& rows, Visit&& visit) {
  VectorBatch<T> piece = rows;
  const std::int64_t num_rows = rows.columns.outer;
  for (std::int64_t row = 0; row < num_rows; row += max_terms_in_words) {
    const std::int64_t first = row * rows.columns.channels;
    piece.columns.outer = std::min(max_terms_in_words, num_rows - row);
    piece.x = rows.x + first;
    if (rows.residual != nullptr) piece.residual = rows.residual + first;
    piece.gates.first = rows.gates.first + first;
    visit(piece, first);
  }
}

}  // namespace

Samples samples_of(const ColumnLayout& layout, std::int64_t count) noexcept {
  Samples samples{.count = count};
  samples.layout.num_columns = layout.num_columns;
  bool is_first = true;
  for (const auto& [extent, column_stride] : layout.used()) {
    const bool holds_samples = is_first && count > 1;
    samples.layout.append(holds_samples ? extent / count : extent, column_stride);
    is_first = false;
  }
  samples.num_elements = samples.stride = samples.layout.num_elements();
  return samples;
}

Samples channels_of(const Samples& samples, std::int64_t first, std::int64_t count) noexcept {
  const std::int64_t inner = samples.num_elements / samples.layout.num_columns;
  Samples part{.count = samples.count,
               .num_elements = count * inner,
               .first = samples.first + first * inner,
               .stride = samples.stride};
  part.layout.num_columns = count;
  part.layout.append(count, 1);
  part.layout.append(inner, 0);
  return part;
}

template <class T>
bool add_single_moments(const NormalizationBatch<T>& batch, const Samples& samples,
                        const double* center, FixedPointSums& sum, FixedPointSums& sum_squares) {
  const auto rows = rows_of(batch, samples);
  if (!rows) return false;
  for_each_piece(*rows, [&](const VectorBatch<T>& piece, std::int64_t) {
    const std::int64_t num_terms = piece.columns.outer;
    sum.note(vector_kernels_for<T>()->add_moment_terms(piece, center, sum.row(num_terms),
                                                       sum_squares.row(num_terms)));
  });
  return true;
}

template <class T>
bool add_single_gradients(const NormalizationBatch<T>& batch, const Samples& samples,
                          const AffineView& output, const AffineView& normalization, const T* dy,
                          FixedPointSums& sum, FixedPointSums& sum_products) {
  const auto rows = rows_of(batch, samples);
  const std::int64_t num_columns = batch.layout.num_columns;
  if (!rows || !fit<T>(output, num_columns) || !fit<T>(normalization, num_columns)) return false;
  for_each_piece(*rows, [&](const VectorBatch<T>& piece, std::int64_t first) {
    const std::int64_t num_terms = piece.columns.outer;
    sum.note(vector_kernels_for<T>()->add_gradient_terms(
        piece, output, normalization, dy + first, sum.row(num_terms), sum_products.row(num_terms)));
  });
  return true;
}

#define LOCKSTEP_INSTANTIATE(T)                                                                 \
  template bool add_single_moments(const NormalizationBatch<T>&, const Samples&, const double*, \
                                   FixedPointSums&, FixedPointSums&);                           \
  template bool add_single_gradients(const NormalizationBatch<T>&, const Samples&,              \
                                     const AffineView&, const AffineView&, const T*,            \
                                     FixedPointSums&, FixedPointSums&)

LOCKSTEP_INSTANTIATE(float);
LOCKSTEP_INSTANTIATE(double);
LOCKSTEP_INSTANTIATE(Float16);
LOCKSTEP_INSTANTIATE(BFloat16);
#undef LOCKSTEP_INSTANTIATE

}  // namespace lockstep
