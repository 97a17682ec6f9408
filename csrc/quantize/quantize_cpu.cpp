// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "quantize/quantize_isa.h"
#include "quantize/quantize_operands.h"
#include "torch/parallel.h"

namespace mirage {
namespace {

constexpr int64_t kMinValuesPerThread = 32768;

struct QuantizeOnCpu : CpuDevice {
  template <class T>
  static void quantize(const QuantizeOperands& in) {
    const QuantizeKernels& kernels = MIRAGE_KERNELS(quantize_kernels);
    parallel_for(0, in.job.n, std::max<int64_t>(1, kMinValuesPerThread / (in.job.m + 1)),
                 [&](int64_t first, int64_t last) { kernels.run(T{}, in.job, first, last); });
  }
};

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) { mirage::register_quantize<mirage::QuantizeOnCpu>(m); }
