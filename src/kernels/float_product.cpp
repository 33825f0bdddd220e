#include "kernels/float_product.hpp"

#include <spdlog/fmt/fmt.h>

#include <string>

#include "kernels/onednn.hpp"
#include "kernels/recently_used.hpp"

namespace lockstep {
namespace {

using Descriptor = dnnl::memory::desc;
using Format = dnnl::memory::format_tag;

struct Extents {
  std::int64_t rows;
  std::int64_t columns;
  bool is_transposed;

  friend bool operator==(const Extents&, const Extents&) = default;
};

// After transposition.
Extents extents_of(const MatrixView<float>& matrix) {
  if (matrix.is_transposed) return {matrix.columns, matrix.rows, true};
  return {matrix.rows, matrix.columns, false};
}

struct Key {
  Extents a;
  Extents b;
  bool has_bias;
  Result mode;
  int num_threads;

  friend bool operator==(const Key&, const Key&) = default;
};

Descriptor descriptor_of(const Extents& extents) {
  return {{extents.rows, extents.columns},
          dnnl::memory::data_type::f32,
          extents.is_transposed ? Format::ba : Format::ab};
}

onednn::Plan plan_of(const Key& key) {
  const std::string what = fmt::format("the product [{}, {}] [{}, {}]", key.a.rows, key.a.columns,
                                       key.b.rows, key.b.columns);
  return onednn::translate_errors(what, [&] {
    const Descriptor a = descriptor_of(key.a);
    const Descriptor b = descriptor_of(key.b);
    const Descriptor result = descriptor_of({key.a.rows, key.b.columns, false});
    const Descriptor bias = descriptor_of({1, key.b.columns, false});
    const auto description =
        key.has_bias ? dnnl::matmul::desc(a, b, bias, result) : dnnl::matmul::desc(a, b, result);
    const dnnl::matmul::primitive_desc primitive(
        description, onednn::attributes(key.mode == Result::accumulate), onednn::engine());
    const Descriptor scratchpad = primitive.scratchpad_desc();
    const onednn::Operand left{DNNL_ARG_SRC, a, a};
    const onednn::Operand right{DNNL_ARG_WEIGHTS, b, b};
    const onednn::Operand target{DNNL_ARG_DST, result, result, onednn::Role::output};
    if (!key.has_bias)
      return onednn::Plan(what, dnnl::matmul(primitive), scratchpad, {left, right, target});
    return onednn::Plan(what, dnnl::matmul(primitive), scratchpad,
                        {left, right, target, {DNNL_ARG_BIAS, bias, bias}});
  });
}

}  // namespace

struct FloatProduct::Plans {
  RecentlyUsed<Key, onednn::Plan, 24> recent;
};

FloatProduct::FloatProduct() = default;
FloatProduct::~FloatProduct() = default;
FloatProduct::FloatProduct(FloatProduct&&) noexcept = default;
FloatProduct& FloatProduct::operator=(FloatProduct&&) noexcept = default;

bool FloatProduct::multiply(const MatrixView<float>& a, const MatrixView<float>& b,
                            const float* bias, float* result, Result mode) {
  if (a.rows == 0 || a.columns == 0 || b.rows == 0 || b.columns == 0) return false;
  const onednn::ThreadLimit limit;
  if (plans_ == nullptr) plans_ = std::make_unique<Plans>();
  const Key key{extents_of(a), extents_of(b), bias != nullptr, mode,
                onednn::ThreadLimit::num_threads()};
  onednn::Plan& plan = plans_->recent.get(key, [&] { return plan_of(key); });
  if (bias == nullptr)
    plan.run({a.data, b.data, result});
  else
    plan.run({a.data, b.data, result, bias});
  return true;
}

}  // namespace lockstep
