// Passes that write: y from x, and gradients from gradients.

#pragma once

#include "kernels/vector_activation_inl.hpp"
#include "kernels/vector_coefficients_inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace lockstep::HWY_NAMESPACE {

// A "map" object, from elements of type Map::Element: Constant and Spread, its coefficients;
// at(lanes, offset, coefficients) reads, computes and writes a vector of elements; is_streamed, and
// then `streamed`, the outputs' first element, and prefetch(offset).

template <class T>
inline constexpr auto wide_lanes =
    static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<WideOf<T>>()));
inline constexpr std::int64_t vectors_per_step = 4;
inline constexpr std::int64_t min_row_of_maps = 256;

// Elements before the next one that Stream() takes.
template <class T>
HWY_INLINE std::int64_t misfit_of(const T* first) {
  constexpr auto bytes = static_cast<std::uintptr_t>(wide_lanes<T>) * sizeof(T);
  const auto address = reinterpret_cast<std::uintptr_t>(first);
  return static_cast<std::int64_t>((bytes - address % bytes) % bytes / sizeof(T));
}

template <class Map, class Coefficients>
HWY_INLINE void map_some(const Map& map, const Coefficients& coefficients, std::int64_t offset,
                         std::int64_t j, std::int64_t count) {
  map.at(FirstLanes{static_cast<std::size_t>(count)}, offset + j, coefficients.at(j));
}

// Elements [offset, offset + width), which have the coefficients 0 to width - 1.
template <class Lanes, class Map, class Coefficients>
HWY_INLINE void map_row(const Map& map, const Coefficients& coefficients, std::int64_t offset,
                        std::int64_t width, std::int64_t ahead) {
  using T = typename Map::Element;
  constexpr std::int64_t lanes = wide_lanes<T>;
  std::int64_t j = 0;
  if (std::is_same_v<Lanes, StreamedLanes>) {
    j = std::min(misfit_of(map.streamed + offset), width);
    if (j > 0) map_some(map, coefficients, offset, 0, j);
  }
  for (; j + vectors_per_step * lanes <= width; j += vectors_per_step * lanes) {
    map.prefetch(offset + j + ahead, vectors_per_step * lanes);
    LOCKSTEP_UNROLL
    for (std::int64_t v = 0; v < vectors_per_step; ++v)
      map.at(Lanes(), offset + j + v * lanes, coefficients.at(j + v * lanes));
  }
  for (; j + lanes <= width; j += lanes) map.at(Lanes(), offset + j, coefficients.at(j));
  if (j < width) map_some(map, coefficients, offset, j, width - j);
}

template <class Lanes, class Map>
void map_strip(const Map& map, const Columns& columns, const Strip& strip) {
  typename Map::Spread coefficients;
  map.set(columns, strip, coefficients);
  const std::int64_t ahead =
      strip.stride * ((min_row_of_maps * 2 + strip.stride - 1) / strip.stride);
  for (std::int64_t row = 0; row < strip.num_rows; ++row)
    map_row<Lanes>(map, coefficients, strip.first + row * strip.stride, strip.width, ahead);
}

template <class Lanes, class Map>
void map_all(const Map& map, const Columns& columns) {
  constexpr std::int64_t ahead = 2048 / sizeof(typename Map::Element);
  if (columns.inner <= max_inner_of_strips) {
    for_each_strip(columns, wide_lanes<typename Map::Element>, min_row_of_maps,
                   [&](const Strip& strip) { map_strip<Lanes>(map, columns, strip); });
    return;
  }
  std::int64_t offset = 0;
  for (std::int64_t outer = 0; outer < columns.outer; ++outer)
    for (std::int64_t c = 0; c < columns.channels; ++c, offset += columns.inner)
      map_row<Lanes>(map, map.constant(c), offset, columns.inner, ahead);
}

template <class T, class Map>
void map_batch(const Map& map, const VectorBatch<T>& batch) {
  if (map.streamed == nullptr) return map_all<AllLanes>(map, batch.columns);
  map_all<StreamedLanes>(map, batch.columns);
  if (!batch.is_streamed) hwy::FlushStream();
}

template <class T>
bool is_worth_streaming(const VectorBatch<T>& batch) {
  const auto& [outer, channels, inner] = batch.columns;
  return batch.is_streamed ||
         outer * channels * inner >= min_streamed_bytes / static_cast<std::int64_t>(sizeof(T));
}

// y = activation((x - center) * scale + shift + residual).
template <class T, Branches branches, bool has_residual>
struct OutputMap {
  using Element = T;
  using Tag = hn::ScalableTag<WideOf<T>>;

  struct Constant {
    AffineVectors<Tag> vectors;
    HWY_INLINE const AffineVectors<Tag>& at(std::int64_t) const { return vectors; }
  };
  struct Spread {
    SpreadAffine<WideOf<T>> affine;
    HWY_INLINE AffineVectors<Tag> at(std::int64_t j) const { return affine.at(Tag(), j); }
  };

  const T* x;
  const T* residual;
  T* y;
  const T* streamed;
  std::uint8_t* gates;
  RoundedAffine<WideOf<T>> affine;
  ActivationVectors<Tag> activation;

  Constant constant(std::int64_t c) const { return {constant_affine(Tag(), affine, c)}; }
  void set(const Columns& columns, const Strip& strip, Spread& target) const {
    target.affine.set(columns, strip, affine);
  }
  HWY_INLINE void prefetch(std::int64_t offset, std::int64_t count) const {
    HWY_NAMESPACE::prefetch(x + offset, count);
  }
  template <class Lanes>
  HWY_INLINE void at(Lanes lanes, std::int64_t offset, const AffineVectors<Tag>& vectors) const {
    const Tag tag;
    auto z = vectors.value(hn::Sub(lanes.load(tag, x + offset), vectors.center));
    if constexpr (has_residual) z = hn::Add(z, lanes.load(tag, residual + offset));
    if constexpr (has_residual && (branches == Branches::relu || branches == Branches::piecewise))
      if (gates != nullptr) store_gates(tag, lanes, activation.gates(z), gates, offset);
    lanes.store(tag, activation.template value<branches>(lanes, z), y + offset);
  }
};

template <class T, Branches branches>
void apply_branches(const VectorBatch<T>& batch, const AffineView& output, T* y,
                    std::uint8_t* gates) {
  const auto run = [&]<bool has_residual>(std::bool_constant<has_residual>) {
    const bool is_streamed = y != batch.x && y != batch.residual && is_worth_streaming(batch);
    map_batch(
        OutputMap<T, branches, has_residual>{batch.x,
                                             batch.residual,
                                             y,
                                             is_streamed ? y : nullptr,
                                             gates,
                                             {output},
                                             {hn::ScalableTag<WideOf<T>>(), batch.activation}},
        batch);
  };
  if (batch.residual == nullptr)
    run(std::false_type());
  else
    run(std::true_type());
}

template <class T>
void apply(const VectorBatch<T>& batch, const AffineView& output, T* y, std::uint8_t* gates) {
  switch (branches_of(batch.activation)) {
    case Branches::linear:
      return apply_branches<T, Branches::linear>(batch, output, y, gates);
    case Branches::relu:
      return apply_branches<T, Branches::relu>(batch, output, y, gates);
    case Branches::piecewise:
      return apply_branches<T, Branches::piecewise>(batch, output, y, gates);
    case Branches::other:
      return apply_branches<T, Branches::other>(batch, output, y, gates);
  }
}

}  // namespace lockstep::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
