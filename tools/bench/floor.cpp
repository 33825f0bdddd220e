// Compiled once per instruction set: this file includes itself through foreach_target.h.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/floor.cpp"
#include <hwy/foreach_target.h>
// The order matters: highway.h follows foreach_target.h.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstdint>
#include <numeric>

#include "bench/floor.hpp"

HWY_BEFORE_NAMESPACE();
namespace bench_floor::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<std::uint32_t>;
using Vector = hn::Vec<Tag>;
constexpr std::size_t unroll = 4;

const std::uint32_t* words(const std::byte* memory) {
  return reinterpret_cast<const std::uint32_t*>(memory);
}
std::uint32_t* words(std::byte* memory) { return reinterpret_cast<std::uint32_t*>(memory); }

// Calls body(first word) for every group of `unroll` vectors.
template <class Body>
HWY_INLINE void for_each_group(std::size_t size, const Body& body) {
  const std::size_t step = unroll * hn::Lanes(Tag());
  for (std::size_t i = 0; i + step <= size / sizeof(std::uint32_t); i += step) body(i);
}

template <bool is_streaming>
HWY_INLINE void put(Vector value, std::uint32_t* to) {
  if constexpr (is_streaming)
    hn::Stream(value, Tag(), to);
  else
    hn::Store(value, Tag(), to);
}

// One sum per vector of a group, so that no addition waits for the one before.
template <class Load>
HWY_INLINE std::uint32_t sum_of(std::size_t size, const Load& load) {
  const std::size_t lanes = hn::Lanes(Tag());
  Vector s0 = hn::Zero(Tag()), s1 = s0, s2 = s0, s3 = s0;
  for_each_group(size, [&](std::size_t i) HWY_ATTR {
    s0 = hn::Add(s0, load(i));
    s1 = hn::Add(s1, load(i + lanes));
    s2 = hn::Add(s2, load(i + 2 * lanes));
    s3 = hn::Add(s3, load(i + 3 * lanes));
  });
  // Not SumOfLanes: with AVX-512 that is a sum of signed integers, whose overflow is undefined.
  HWY_ALIGN std::uint32_t sums[hn::MaxLanes(Tag())];
  hn::Store(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), Tag(), sums);
  return std::accumulate(sums, sums + lanes, std::uint32_t{0});
}

template <bool is_streaming, class Load>
HWY_INLINE void write(std::size_t size, const Load& load, std::uint32_t* to,
                      std::uint32_t* also_to) {
  const std::size_t lanes = hn::Lanes(Tag());
  for_each_group(size, [&](std::size_t first) HWY_ATTR {
    for (std::size_t i = first; i < first + unroll * lanes; i += lanes) {
      const Vector value = load(i);
      put<is_streaming>(value, to + i);
      if (also_to != nullptr) put<is_streaming>(value, also_to + i);
    }
  });
  if constexpr (is_streaming) hwy::FlushStream();
}

std::uint32_t read(const std::byte* a, const std::byte* b, std::size_t size) {
  const std::uint32_t* from = words(a);
  if (b == nullptr)
    return sum_of(size, [=](std::size_t i) HWY_ATTR { return hn::Load(Tag(), from + i); });
  const std::uint32_t* and_from = words(b);
  return sum_of(size, [=](std::size_t i) HWY_ATTR {
    return hn::Xor(hn::Load(Tag(), from + i), hn::Load(Tag(), and_from + i));
  });
}

template <bool is_streaming>
void write_from(const std::byte* a, const std::byte* b, std::byte* to, std::byte* also_to,
                std::size_t size) {
  const std::uint32_t* from = words(a);
  std::uint32_t* second = also_to == nullptr ? nullptr : words(also_to);
  const Vector one = hn::Set(Tag(), 1);
  const auto load = [=](std::size_t i) HWY_ATTR { return hn::Add(hn::Load(Tag(), from + i), one); };
  if (b == nullptr) return write<is_streaming>(size, load, words(to), second);
  const std::uint32_t* and_from = words(b);
  const auto load_both = [=](std::size_t i)
                             HWY_ATTR { return hn::Add(load(i), hn::Load(Tag(), and_from + i)); };
  write<is_streaming>(size, load_both, words(to), second);
}

void write_regular(const std::byte* a, const std::byte* b, std::byte* to, std::byte* also_to,
                   std::size_t size) {
  write_from<false>(a, b, to, also_to, size);
}
void write_streaming(const std::byte* a, const std::byte* b, std::byte* to, std::byte* also_to,
                     std::size_t size) {
  write_from<true>(a, b, to, also_to, size);
}

std::string_view target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace bench_floor::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bench_floor {
HWY_EXPORT(read);
HWY_EXPORT(write_regular);
HWY_EXPORT(write_streaming);
HWY_EXPORT(target_name);
}  // namespace bench_floor

namespace {

volatile std::uint32_t sink;  // what is read must be of use

void write_any(const std::byte* a, const std::byte* b, std::byte* to, std::byte* also_to,
               std::size_t size, Stores stores) {
  using namespace bench_floor;
  if (stores == Stores::streaming)
    HWY_DYNAMIC_DISPATCH(write_streaming)(a, b, to, also_to, size);
  else
    HWY_DYNAMIC_DISPATCH(write_regular)(a, b, to, also_to, size);
}

}  // namespace

void read_pass(const std::byte* a, std::size_t size) { read_pass(a, nullptr, size); }

void read_pass(const std::byte* a, const std::byte* b, std::size_t size) {
  using namespace bench_floor;
  sink = HWY_DYNAMIC_DISPATCH(read)(a, b, size);
}

void write_pass(const std::byte* a, std::byte* to, std::size_t size, Stores stores) {
  write_any(a, nullptr, to, nullptr, size, stores);
}

void write_pass(const std::byte* a, const std::byte* b, std::byte* to, std::size_t size,
                Stores stores) {
  write_any(a, b, to, nullptr, size, stores);
}

void write_pass(const std::byte* a, const std::byte* b, std::byte* to, std::byte* also_to,
                std::size_t size, Stores stores) {
  write_any(a, b, to, also_to, size, stores);
}

std::string_view floor_instruction_set() {
  using namespace bench_floor;
  return HWY_DYNAMIC_DISPATCH(target_name)();
}
#endif  // HWY_ONCE
