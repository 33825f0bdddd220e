#include "bench/onednn_normalization.hpp"

#include "bench/reference.hpp"

// Of the OpenMP that oneDNN uses, which need not be the compiler's own.
extern "C" {
int omp_get_max_threads();
void omp_set_num_threads(int num_threads);
}

namespace {

using Tag = dnnl::memory::format_tag;

class OneThread {
 public:
  OneThread() : num_threads_before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(num_threads_before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int num_threads_before_;
};

dnnl::memory::desc descriptor(const Workload& workload, Tag tag) {
  const auto& extents = workload.extents;
  const bool has_images = workload.layout != Layout::nc;
  return {{extents[0], extents[1], has_images ? extents[2] : 1, has_images ? extents[3] : 1},
          dnnl::memory::data_type::f32,
          tag};
}

Tag tag_of(Layout layout) { return layout == Layout::nchw ? Tag::nchw : Tag::nhwc; }

}  // namespace

OneDnnNormalization::OneDnnNormalization(const Workload& workload, Buffers& buffers,
                                         OneDnnMemory memory)
    : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
  const OneThread limit;
  const auto outer = descriptor(workload, tag_of(workload.layout));
  const auto at = [&](const Buffer& buffer) { return dnnl::memory(outer, engine_, buffer.data()); };
  const dnnl::memory outer_x = at(buffers.x), outer_dy = at(buffers.dy);
  outer_y_ = at(buffers.y);
  outer_dx_ = at(buffers.dx);
  const bool is_blocked = memory == OneDnnMemory::blocked;
  const auto inner = is_blocked ? descriptor(workload, Tag::nChw16c) : outer;
  const auto place = [&](const dnnl::memory& shared) {
    if (!is_blocked) return shared;
    blocks_.emplace_back(workload);
    return dnnl::memory(inner, engine_, blocks_.back().data());
  };
  x_ = place(outer_x);
  dy_ = place(outer_dy);
  y_ = place(outer_y_);
  dx_ = place(outer_dx_);
  if (is_blocked) {
    copy(outer_x, x_);
    copy(outer_dy, dy_);
  }

  using dnnl::prop_kind;
  constexpr auto flags = dnnl::normalization_flags::use_scale_shift;
  const auto epsilon = static_cast<float>(Problem{}.epsilon);
  const dnnl::batch_normalization_forward::primitive_desc forward(
      {prop_kind::forward_training, inner, epsilon, flags}, engine_);
  const dnnl::batch_normalization_backward::primitive_desc backward(
      {prop_kind::backward, inner, inner, epsilon, flags}, engine_, forward);
  mean_ = dnnl::memory(forward.mean_desc(), engine_);
  variance_ = dnnl::memory(forward.variance_desc(), engine_);
  gamma_beta_ = dnnl::memory(forward.weights_desc(), engine_);
  gamma_beta_gradient_ = dnnl::memory(backward.diff_weights_desc(), engine_);
  auto* const parameters = static_cast<float*>(gamma_beta_.get_data_handle());
  for (std::int64_t channel = 0; channel < workload.num_channels(); ++channel) {
    parameters[channel] = static_cast<float>(gamma_of(channel));
    parameters[workload.num_channels() + channel] = static_cast<float>(beta_of(channel));
  }

  forward_ = dnnl::batch_normalization_forward(forward);
  forward_arguments_ = {{DNNL_ARG_SRC, x_.get()},
                        {DNNL_ARG_SCALE_SHIFT, gamma_beta_.get()},
                        {DNNL_ARG_MEAN, mean_.get()},
                        {DNNL_ARG_VARIANCE, variance_.get()},
                        {DNNL_ARG_DST, y_.get()}};
  backward_ = dnnl::batch_normalization_backward(backward);
  backward_arguments_ = {{DNNL_ARG_SRC, x_.get()},
                         {DNNL_ARG_DIFF_DST, dy_.get()},
                         {DNNL_ARG_SCALE_SHIFT, gamma_beta_.get()},
                         {DNNL_ARG_MEAN, mean_.get()},
                         {DNNL_ARG_VARIANCE, variance_.get()},
                         {DNNL_ARG_DIFF_SRC, dx_.get()},
                         {DNNL_ARG_DIFF_SCALE_SHIFT, gamma_beta_gradient_.get()}};
}

void OneDnnNormalization::forward() { run(forward_, forward_arguments_); }

void OneDnnNormalization::backward() { run(backward_, backward_arguments_); }

void OneDnnNormalization::export_results() {
  if (blocks_.empty()) return;
  copy(y_, outer_y_);
  copy(dx_, outer_dx_);
}

void OneDnnNormalization::run(const dnnl::primitive& primitive,
                              const std::vector<dnnl_exec_arg_t>& arguments) {
  const OneThread limit;
  const auto status = dnnl_primitive_execute(primitive.get(), stream_.get(),
                                             static_cast<int>(arguments.size()), arguments.data());
  if (status != dnnl_success) throw dnnl::error(status, "oneDNN failed");
  stream_.wait();
}

void OneDnnNormalization::copy(const dnnl::memory& from, const dnnl::memory& to) {
  const OneThread limit;
  dnnl::reorder(from, to).execute(stream_, const_cast<dnnl::memory&>(from),
                                  const_cast<dnnl::memory&>(to));
  stream_.wait();
}
