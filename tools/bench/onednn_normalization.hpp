// oneDNN's own batch normalization of what the layer normalizes, for a comparison.

#pragma once

#include <cstdint>
#include <dnnl.hpp>
#include <vector>

#include "bench/buffers.hpp"
#include "bench/workload.hpp"

/// Where x, y, dy and dx are.
enum class OneDnnMemory : std::uint8_t {
  shared,   ///< in the buffers, in the layout of the workload; N, C is nhwc with planes of 1 x 1
  blocked,  ///< in memory of its own as nChw16c, 16 channels beside each other
};

/// With gamma and beta, without activation, on one thread. Local.
class OneDnnNormalization {
 public:
  /// `buffers` must outlive it. The type is float32; blocked memory asks for whole blocks of 16
  /// channels. Throws dnnl::error, and MemoryError.
  OneDnnNormalization(const Workload& workload, Buffers& buffers, OneDnnMemory memory);

  /// In training mode: x to y, mean and variance.
  void forward();
  /// x, dy and what forward has computed to dx and the gradients of gamma and beta.
  void backward();

  /// Writes y and dx to the buffers, which have them already unless memory is blocked.
  void export_results();

 private:
  void run(const dnnl::primitive& primitive, const std::vector<dnnl_exec_arg_t>& arguments);
  void copy(const dnnl::memory& from, const dnnl::memory& to);

  dnnl::engine engine_;
  dnnl::stream stream_;
  std::vector<Buffer> blocks_;  // of blocked memory
  dnnl::memory outer_y_, outer_dx_;
  dnnl::memory x_, y_, dy_, dx_;
  dnnl::memory mean_, variance_, gamma_beta_, gamma_beta_gradient_;
  dnnl::batch_normalization_forward forward_;
  dnnl::batch_normalization_backward backward_;
  std::vector<dnnl_exec_arg_t> forward_arguments_, backward_arguments_;
};
