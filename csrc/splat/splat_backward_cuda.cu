// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_backward_kernels.cuh"
#include "splat/splat_cells_cuda.h"
#include "splat/splat_operands.h"
#include "splat/splat_rows_cuda.h"

namespace mirage {
namespace {

struct SplatBackwardOnCuda : CudaDevice {
  static void backward_features(const SplatGradient& in) {
    if (in.out.numel() == 0) return;
    const OnDevice on(in.grad);
    fill_bytes(in.out.mutable_data_ptr(), 0, in.out.numel() * in.out.element_size(), on.stream);
    if (in.index.numel() == 0) return;
    const SortedCells cells(in.index, in.num_points, on.stream);
    const Tensor rows = rows_of(in.grad, on.stream);
    with_type(in.grad.scalar_type(), [&](auto type) {
      using T = decltype(type);
      launch(splat_sum_features_kernel<T>, blocks_of(in.index.numel(), kRowWarps), kRowThreads, 0, on.stream,
             cells.list, data<T>(rows), in.channels, mutable_data<T>(in.out));
    });
  }

  static void backward_xyz(const SplatGradient& in, const Tensor& world2cam) {
    if (in.num_points == 0) return;
    const OnDevice on(in.grad);
    fill_bytes(in.out.mutable_data_ptr(), 0, in.out.numel() * sizeof(float), on.stream);
    if (in.index.numel() == 0) return;
    const SortedCells cells(in.index, in.num_points, on.stream);
    launch(splat_sum_depths_kernel, blocks_of(in.index.numel(), kListThreads), kListThreads, 0, on.stream, cells.list,
           data<float>(in.grad), data<float>(world2cam), in.cells, mutable_data<float>(in.out));
  }
};

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) { mirage::register_splat_backward<mirage::SplatBackwardOnCuda>(m); }
