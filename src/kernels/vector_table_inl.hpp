// The kernels of one target, for all types of elements.

#pragma once

#include "kernels/vector_exact_inl.hpp"
#include "kernels/vector_gradients_inl.hpp"
#include "kernels/vector_terms_inl.hpp"

namespace lockstep::HWY_NAMESPACE {

template <class T>
inline constexpr VectorKernels<T> kernels{add_sums<T, double>,
                                          add_sums<T, WideOf<T>>,
                                          apply<T>,
                                          add_gradient_sums<T, double>,
                                          add_gradient_sums<T, WideOf<T>>,
                                          apply_input_gradient<T>,
                                          add_moment_terms<T>,
                                          add_gradient_terms<T>};

inline constexpr VectorKernelTable table{add_terms_on_grid, kernels<float>, kernels<double>,
                                         kernels<Float16>, kernels<BFloat16>};

}  // namespace lockstep::HWY_NAMESPACE
