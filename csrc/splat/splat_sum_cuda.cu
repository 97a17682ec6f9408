// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_cells_cuda.h"
#include "splat/splat_sum_kernels.cuh"
#include "splat/splat_sum_operands.h"

namespace mirage {
namespace {

struct SumOnCuda : CudaDevice {
  static void splat_sum(const SumOperands& in) {
    const OnDevice on(in.uv);
    fill_bytes(in.out.mutable_data_ptr(), 0, in.out.numel() * sizeof(float), on.stream);
    const int64_t n = in.points.n;
    if (n == 0) return;
    const Tensor cells = new_empty(in.uv, {n, 4}, ScalarType::Long),
                 scales = new_empty(in.uv, {n, 4}, ScalarType::Float);
    launch(splat_place_points_kernel, blocks_of(n, kTapThreads), kTapThreads, 0, on.stream, in.points,
           mutable_data<int64_t>(cells), mutable_data<float>(scales));
    const SortedCells taps(cells, in.cells(), on.stream);
    launch(splat_sum_taps_kernel, blocks_of(4 * n, kSumWarps), kSumThreads, 0, on.stream, taps.list, in.points,
           data<float>(scales), mutable_data<float>(in.out));
  }
};

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) { mirage::register_splat_sum<mirage::SumOnCuda>(m); }
