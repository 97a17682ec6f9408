// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_backward_kernels.cuh"
#include "splat/splat_operands.h"
#include "splat/splat_rows_cuda.h"
#include "torch/cub.h"

namespace mirage {
namespace {

// The cells of index (V, h, w), sorted by their points.
struct SortedCells {
  Tensor words;  // (4, V h w)
  CellsOfPoints list;

  SortedCells(const Tensor& index, int64_t num_points, cudaStream_t stream) {
    const int64_t n = index.numel();
    guard(n <= UINT32_MAX, "splat: more than 2^32 - 1 cells");
    guard(num_points <= UINT32_MAX, "splat: num_points must be less than 2^32");
    words = new_empty(index, {4, n}, ScalarType::Int);
    uint32_t* at = mutable_data<uint32_t>(words);
    const KeyedValues<uint32_t> pairs{at, at + n}, spare{at + 2 * n, at + 3 * n};
    launch(splat_list_cells_kernel, blocks_of(n, kListThreads), kListThreads, 0, stream, data<int64_t>(index), n,
           num_points, pairs.keys, pairs.values);
    const auto sorted = sort_pairs(index, pairs, spare, n, bits_of(num_points), stream);
    list = {sorted.keys, sorted.values, n, num_points};
  }
};

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
