// Vectors of elements from memory and back, for the target that HWY_TARGET names.

#pragma once

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "lockstep/base/float16.hpp"

// Unrolls the next loop; its bound is a small constant.
#if defined(__clang__)
#define LOCKSTEP_UNROLL _Pragma("unroll")
#else
#define LOCKSTEP_UNROLL _Pragma("GCC unroll 8")
#endif

HWY_BEFORE_NAMESPACE();
namespace lockstep::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// What elements of type T are computed in, and what Highway takes them for in memory.
template <class T>
using WideOf = std::conditional_t<std::is_same_v<T, double>, double, float>;
template <class T>
using LaneOf = std::conditional_t<sizeof(T) == 2, std::uint16_t, T>;

// Tags D are of WideOf<T>; this one has as many elements in memory.
template <class T, class D>
using StorageTag = hn::Rebind<LaneOf<T>, D>;

template <class T>
HWY_INLINE const LaneOf<T>* lanes_of(const T* values) {
  return reinterpret_cast<const LaneOf<T>*>(values);
}
template <class T>
HWY_INLINE LaneOf<T>* lanes_of(T* values) {
  return reinterpret_cast<LaneOf<T>*>(values);
}

template <class T, class D>
HWY_INLINE hn::Vec<D> widened(D d, hn::Vec<StorageTag<T, D>> stored) {
  if constexpr (sizeof(T) > 2) {
    return stored;
  } else {
    const hn::Rebind<std::uint32_t, D> bits_tag;
    const auto bits = hn::PromoteTo(bits_tag, stored);
    if constexpr (std::is_same_v<T, BFloat16>) {
      return hn::BitCast(d, hn::ShiftLeft<16>(bits));
    } else {
      const hn::Rebind<std::int32_t, D> number_tag;
      const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(bits_tag, 0x8000U)));
      const auto magnitude = hn::And(bits, hn::Set(bits_tag, 0x7fffU));
      const auto shifted = hn::ShiftLeft<13>(magnitude);
      const auto normal = hn::Add(shifted, hn::Set(bits_tag, 112U << 23));
      const auto special = hn::Or(shifted, hn::Set(bits_tag, 0x7f800000U));
      const auto subnormal =
          hn::Mul(hn::ConvertTo(d, hn::BitCast(number_tag, magnitude)), hn::Set(d, 0x1p-24F));
      auto result = hn::IfThenElse(hn::Gt(magnitude, hn::Set(bits_tag, 0x7bffU)), special, normal);
      result = hn::IfThenElse(hn::Gt(hn::Set(bits_tag, 0x400U), magnitude),
                              hn::BitCast(bits_tag, subnormal), result);
      return hn::BitCast(d, hn::Or(result, sign));
    }
  }
}

// To nearest, ties to even, as ShortFloat does it; Highway's own conversions depend on the target.
template <class T, class D>
HWY_INLINE hn::Vec<StorageTag<T, D>> narrowed(D d, hn::Vec<D> wide) {
  if constexpr (sizeof(T) > 2) {
    return wide;
  } else {
    constexpr bool is_half = std::is_same_v<T, Float16>;
    constexpr int shift = is_half ? 13 : 16;
    constexpr std::uint32_t infinity = is_half ? 0x7c00U : 0x7f80U;
    constexpr std::uint32_t quiet = is_half ? 0x200U : 0x40U;
    const hn::Rebind<std::uint32_t, D> bits_tag;
    const hn::Rebind<std::int32_t, D> number_tag;
    const auto bits = hn::BitCast(bits_tag, wide);
    const auto magnitude = hn::And(bits, hn::Set(bits_tag, 0x7fffffffU));
    const auto sign = hn::ShiftRight<16>(hn::Xor(bits, magnitude));
    const auto exact = is_half ? hn::Sub(magnitude, hn::Set(bits_tag, 112U << 23)) : magnitude;
    const auto odd = hn::And(hn::ShiftRight<shift>(exact), hn::Set(bits_tag, 1U));
    const auto half = hn::Add(odd, hn::Set(bits_tag, (1U << (shift - 1)) - 1U));
    auto result = hn::Min(hn::ShiftRight<shift>(hn::Add(exact, half)), hn::Set(bits_tag, infinity));
    if constexpr (is_half) {
      const auto sum = hn::Add(hn::BitCast(d, magnitude), hn::Set(d, 0.5F));
      const auto subnormal = hn::Sub(hn::BitCast(bits_tag, sum), hn::Set(bits_tag, 0x3f000000U));
      result = hn::IfThenElse(hn::Gt(hn::Set(bits_tag, 113U << 23), magnitude), subnormal, result);
    }
    const auto payload =
        hn::And(hn::ShiftRight<shift>(magnitude), hn::Set(bits_tag, (1U << (23 - shift)) - 1U));
    const auto nan = hn::Or(payload, hn::Set(bits_tag, infinity | quiet));
    result = hn::IfThenElse(hn::Gt(magnitude, hn::Set(bits_tag, 0x7f800000U)), nan, result);
    return hn::DemoteTo(StorageTag<T, D>(), hn::BitCast(number_tag, hn::Or(result, sign)));
  }
}

// Masked access that never touches memory outside of the mask.
template <class Lane>
inline constexpr bool has_masked_access = HWY_TARGET <= HWY_AVX3 ||
                                          (HWY_TARGET == HWY_AVX2 && sizeof(Lane) >= 4);

// All lanes of a vector.
struct AllLanes {
  template <class D>
  static constexpr std::size_t size(D d) {
    return hn::MaxLanes(d);
  }
  template <class T, class D>
  HWY_INLINE hn::Vec<D> load(D d, const T* from) const {
    return widened<T>(d, hn::LoadU(StorageTag<T, D>(), lanes_of(from)));
  }
  template <class T, class D>
  HWY_INLINE void store(D d, hn::Vec<D> wide, T* to) const {
    hn::StoreU(narrowed<T>(d, wide), StorageTag<T, D>(), lanes_of(to));
  }
  template <class D>
  HWY_INLINE hn::Vec<D> kept(D, hn::Vec<D> wide) const {
    return wide;
  }
};

// The same past the caches, where `to` is aligned to the vector in memory. Highway streams no less
// than 16 bytes, which 16-bit elements do not fill everywhere.
struct StreamedLanes : AllLanes {
  template <class T, class D>
  HWY_INLINE void store(D d, hn::Vec<D> wide, T* to) const {
    const StorageTag<T, D> tag;
    if constexpr (hn::MaxLanes(tag) * sizeof(T) >= 16)
      hn::Stream(narrowed<T>(d, wide), tag, lanes_of(to));
    else
      AllLanes::store(d, wide, to);
  }
};

// The first `count` lanes; others are read as 0.
struct FirstLanes {
  std::size_t count;

  template <class D>
  std::size_t size(D) const {
    return count;
  }
  template <class T, class D>
  HWY_INLINE hn::Vec<D> load(D d, const T* from) const {
    const StorageTag<T, D> tag;
    if constexpr (has_masked_access<LaneOf<T>>) {
      return widened<T>(d, hn::MaskedLoad(hn::FirstN(tag, count), tag, lanes_of(from)));
    } else {
      HWY_ALIGN LaneOf<T> buffer[hn::MaxLanes(tag)] = {};
      std::memcpy(buffer, from, count * sizeof(T));
      return widened<T>(d, hn::Load(tag, buffer));
    }
  }
  template <class T, class D>
  HWY_INLINE void store(D d, hn::Vec<D> wide, T* to) const {
    const StorageTag<T, D> tag;
    if constexpr (has_masked_access<LaneOf<T>>) {
      hn::BlendedStore(narrowed<T>(d, wide), hn::FirstN(tag, count), tag, lanes_of(to));
    } else {
      HWY_ALIGN LaneOf<T> buffer[hn::MaxLanes(tag)];
      hn::Store(narrowed<T>(d, wide), tag, buffer);
      std::memcpy(static_cast<void*>(to), buffer, count * sizeof(T));
    }
  }
  template <class D>
  HWY_INLINE hn::Vec<D> kept(D d, hn::Vec<D> wide) const {
    return hn::IfThenElseZero(hn::FirstN(d, count), wide);
  }
};

// Elements in the precision of sums.
template <class D>
HWY_INLINE hn::Vec<D> converted(D, hn::Vec<D> wide) {
  return wide;
}
template <class D>
requires std::is_same_v < hn::TFromD<D>,
double > HWY_INLINE hn::Vec<D> converted(D d, hn::Vec<hn::Rebind<float, D>> wide) {
  return hn::PromoteTo(d, wide);
}

template <class T>
HWY_INLINE void prefetch(const T* from, std::int64_t num_elements) {
  constexpr auto per_line = static_cast<std::int64_t>(64 / sizeof(T));
  for (std::int64_t i = 0; i < num_elements; i += per_line) hwy::Prefetch(from + i);
}

}  // namespace lockstep::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
