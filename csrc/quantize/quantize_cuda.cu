// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "quantize/quantize_kernels.cuh"
#include "quantize/quantize_operands.h"
#include "torch/cuda.h"

namespace mirage {
namespace {

struct QuantizeOnCuda : CudaDevice {
  template <class T>
  static void quantize(const QuantizeOperands& in) {
    const OnDevice on(in.values);
    launch(quantize_rows_kernel<T>, blocks_of(in.job.n, 1), kQuantizeThreads, 0, on.stream, in.job);
  }
};

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) { mirage::register_quantize<mirage::QuantizeOnCuda>(m); }
