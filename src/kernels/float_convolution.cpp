#include "kernels/float_convolution.hpp"

#include <spdlog/fmt/fmt.h>
#include <algorithm>

#include <optional>
#include <string>
#include <string_view>

#include "kernels/onednn.hpp"
#include "kernels/recently_used.hpp"

namespace lockstep {
namespace {

using Descriptor = dnnl::memory::desc;
using Dimensions = dnnl::memory::dims;
using Format = dnnl::memory::format_tag;
using onednn::Plan;
using onednn::Role;

enum class Task : std::uint8_t {
  forward,
  biased_forward,
  kernel_gradient,
  added_kernel_gradient,
  image_gradient
};

constexpr std::string_view name_of(Task task) {
  switch (task) {
    case Task::forward:
    case Task::biased_forward:
      return "the convolution";
    case Task::kernel_gradient:
    case Task::added_kernel_gradient:
      return "the kernel's gradient of the convolution";
    case Task::image_gradient:
      break;
  }
  return "the images' gradient of the convolution";
}

struct Key {
  Task task;
  Convolution convolution;
  int num_threads;

  friend bool operator==(const Key&, const Key&) = default;
};

// How images and results lie inside of a primitive.
enum class Inside : std::uint8_t { plain, chosen };

Descriptor descriptor(const Dimensions& dimensions, Format format) {
  return {dimensions, dnnl::memory::data_type::f32, format};
}

// Behind the input; what the window does not reach there is no padding.
std::int64_t padding_behind(const WindowAxis& axis) {
  return std::max<std::int64_t>(
      (axis.output - 1) * axis.stride + axis.size - axis.input - axis.padding, 0);
}

// A convolution in the terms of oneDNN.
struct Problem {
  explicit Problem(const Convolution& convolution)
      : vertical(convolution.patches.window.vertical),
        horizontal(convolution.patches.window.horizontal),
        plain(convolution.patches.order == ChannelOrder::last ? Format::nhwc : Format::nchw),
        image_dimensions{convolution.num_images, convolution.patches.channels, vertical.input,
                         horizontal.input},
        kernel_dimensions{convolution.num_filters, convolution.patches.channels, vertical.size,
                          horizontal.size},
        result_dimensions{convolution.num_images, convolution.num_filters, vertical.output,
                          horizontal.output},
        images(descriptor(image_dimensions, plain)),
        kernel(descriptor(kernel_dimensions, Format::hwio)),
        bias(descriptor({convolution.num_filters}, Format::x)),
        results(descriptor(result_dimensions, plain)) {}

  // Arguments of the descriptions of all three primitives, whose formats are `inside`.
  template <class Description, class... First>
  [[nodiscard]] Description description(Inside inside, bool has_bias, First... first) const {
    const Format format = inside == Inside::plain ? plain : Format::any;
    const Descriptor inner_images = descriptor(image_dimensions, format);
    const Descriptor inner_kernel = descriptor(kernel_dimensions, Format::any);
    const Descriptor inner_results = descriptor(result_dimensions, format);
    const Dimensions strides{vertical.stride, horizontal.stride};
    const Dimensions before{vertical.padding, horizontal.padding};
    const Dimensions behind{padding_behind(vertical), padding_behind(horizontal)};
    constexpr auto algorithm = dnnl::algorithm::convolution_direct;
    if constexpr (sizeof...(First) > 0)
      if (has_bias)
        return {first...,      algorithm, inner_images, inner_kernel, bias,
                inner_results, strides,   before,       behind};
    return {first...,      algorithm, inner_images, inner_kernel,
            inner_results, strides,   before,       behind};
  }

  WindowAxis vertical;
  WindowAxis horizontal;
  Format plain;
  Dimensions image_dimensions, kernel_dimensions, result_dimensions;
  Descriptor images, kernel, bias, results;  // as they lie in the caller's memory
};

template <class PrimitiveDescription>
bool is_fast(const PrimitiveDescription& primitive) {
  return primitive && std::string_view(primitive.impl_info_str()).substr(0, 3) != "ref";
}

using Forward = dnnl::convolution_forward;
using KernelGradient = dnnl::convolution_backward_weights;
using ImageGradient = dnnl::convolution_backward_data;

std::optional<Plan> plan_of(const Key& key, const std::string& what, Inside inside) {
  constexpr bool may_be_none = true;
  const Problem problem(key.convolution);
  const bool has_bias = key.task == Task::biased_forward;
  const dnnl::primitive_attr attributes = onednn::attributes();
  const dnnl::engine& engine = onednn::engine();
  const Forward::primitive_desc forward(
      problem.description<Forward::desc>(inside, has_bias, dnnl::prop_kind::forward_training),
      attributes, engine, may_be_none);
  if (!forward) return std::nullopt;
  if (key.task == Task::image_gradient) {
    const ImageGradient::primitive_desc gradient(
        problem.description<ImageGradient::desc>(inside, false), attributes, engine, forward,
        may_be_none);
    if (!is_fast(gradient)) return std::nullopt;
    return Plan(what, ImageGradient(gradient), gradient.scratchpad_desc(),
                {{DNNL_ARG_WEIGHTS, problem.kernel, gradient.weights_desc()},
                 {DNNL_ARG_DIFF_DST, problem.results, gradient.diff_dst_desc()},
                 {DNNL_ARG_DIFF_SRC, problem.images, gradient.diff_src_desc(), Role::output}});
  }
  if (key.task == Task::kernel_gradient || key.task == Task::added_kernel_gradient) {
    const KernelGradient::primitive_desc gradient(
        problem.description<KernelGradient::desc>(inside, false), attributes, engine, forward,
        may_be_none);
    if (!is_fast(gradient)) return std::nullopt;
    const Role role = key.task == Task::kernel_gradient ? Role::output : Role::added_output;
    return Plan(what, KernelGradient(gradient), gradient.scratchpad_desc(),
                {{DNNL_ARG_SRC, problem.images, gradient.src_desc()},
                 {DNNL_ARG_DIFF_DST, problem.results, gradient.diff_dst_desc()},
                 {DNNL_ARG_DIFF_WEIGHTS, problem.kernel, gradient.diff_weights_desc(), role}});
  }
  if (!is_fast(forward)) return std::nullopt;
  const onednn::Operand images{DNNL_ARG_SRC, problem.images, forward.src_desc()};
  const onednn::Operand kernel{DNNL_ARG_WEIGHTS, problem.kernel, forward.weights_desc()};
  const onednn::Operand results{DNNL_ARG_DST, problem.results, forward.dst_desc(), Role::output};
  if (!has_bias)
    return Plan(what, Forward(forward), forward.scratchpad_desc(), {images, kernel, results});
  return Plan(what, Forward(forward), forward.scratchpad_desc(),
              {images, kernel, results, {DNNL_ARG_BIAS, problem.bias, problem.bias}});
}

// Measured: with channels last the plain format is the fastest. With channels first oneDNN has fast
// loops for formats of its own only, and reordering to and from them costs less than they gain,
// unless the images are their own patches: then it multiplies them as they are.
std::optional<Plan> plan_of(const Key& key) {
  const PatchGeometry& geometry = key.convolution.patches;
  const WindowAxis& vertical = geometry.window.vertical;
  const WindowAxis& horizontal = geometry.window.horizontal;
  const std::string what =
      fmt::format("{} of {} images of {} x {} with {} channels by {} filters of {} x {}",
                  name_of(key.task), key.convolution.num_images, vertical.input, horizontal.input,
                  geometry.channels, key.convolution.num_filters, vertical.size, horizontal.size);
  const bool is_plain_first = geometry.order == ChannelOrder::last || geometry.are_identity();
  return onednn::translate_errors(what, [&] {
    auto plan = plan_of(key, what, is_plain_first ? Inside::plain : Inside::chosen);
    if (!plan) plan = plan_of(key, what, is_plain_first ? Inside::chosen : Inside::plain);
    return plan;
  });
}

}  // namespace

struct FloatConvolution::Plans {
  RecentlyUsed<Key, std::optional<Plan>, 24> recent;

  // False without a plan.
  bool run(Task task, const Convolution& convolution, std::initializer_list<const void*> data) {
    if (convolution.num_images == 0) return false;
    const onednn::ThreadLimit limit;
    const Key key{task, convolution, onednn::ThreadLimit::num_threads()};
    std::optional<Plan>& plan = recent.get(key, [&] { return plan_of(key); });
    if (plan) plan->run(data);
    return plan.has_value();
  }
};

FloatConvolution::FloatConvolution() = default;
FloatConvolution::~FloatConvolution() = default;
FloatConvolution::FloatConvolution(FloatConvolution&&) noexcept = default;
FloatConvolution& FloatConvolution::operator=(FloatConvolution&&) noexcept = default;

FloatConvolution::Plans& FloatConvolution::plans() {
  if (plans_ == nullptr) plans_ = std::make_unique<Plans>();
  return *plans_;
}

bool FloatConvolution::convolve(const Convolution& convolution, const float* images,
                                const float* kernel, const float* bias, float* results) {
  if (bias == nullptr) return plans().run(Task::forward, convolution, {images, kernel, results});
  return plans().run(Task::biased_forward, convolution, {images, kernel, results, bias});
}

bool FloatConvolution::kernel_gradient(const Convolution& convolution, const float* images,
                                       const float* result_gradients, float* kernel_gradient,
                                       Result mode) {
  const Task task = mode == Result::overwrite ? Task::kernel_gradient : Task::added_kernel_gradient;
  return plans().run(task, convolution, {images, result_gradients, kernel_gradient});
}

bool FloatConvolution::image_gradient(const Convolution& convolution, const float* kernel,
                                      const float* result_gradients, float* image_gradients) {
  return plans().run(Task::image_gradient, convolution,
                     {kernel, result_gradients, image_gradients});
}

}  // namespace lockstep
