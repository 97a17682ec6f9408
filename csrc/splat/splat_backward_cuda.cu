// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_backward_kernels.cuh"
#include "splat/splat_rows_cuda.h"
#include "torch/cub.h"

// V views, C channels, grid (h, w).
namespace mirage {
namespace {

// The cells of index (V, h, w), sorted by the points that they show.
struct SortedCells {
  Tensor words;  // (4, V h w)
  CellsOfPoints list;

  SortedCells(const Tensor& index, int64_t num_points, cudaStream_t stream) {
    const int64_t n = index.numel();
    guard(n <= UINT32_MAX, "splat: more than 2^32 - 1 cells");
    guard(num_points <= UINT32_MAX, "splat: more than 2^32 - 1 points");
    words = empty_like(index, {4, n}, ScalarType::Int);
    uint32_t* at = mutable_data<uint32_t>(words);
    const KeyedValues<uint32_t> pairs{at, at + n}, spare{at + 2 * n, at + 3 * n};
    launch(list_cells, blocks_of(n, kListThreads), kListThreads, 0, stream, data<int64_t>(index), n, num_points,
           pairs.keys, pairs.values);
    const auto sorted = sort_pairs(index, pairs, spare, n, bits_of(num_points), stream);
    list = {sorted.keys, sorted.values, n, num_points};
  }
};

Tensor splat_backward_features(const Tensor& grad_features, const Tensor& index, int64_t num_points) {
  const int64_t v = index.size(0), h = index.size(1), w = index.size(2), c = grad_features.size(1);
  const ScalarType dtype = grad_features.scalar_type();
  guard_device(grad_features, {&index});
  const Tensor grad = expect(grad_features, dtype, {v, c, h, w}, "splat: grad_features must be (V, C, h, w)");
  const Tensor at = expect(index, ScalarType::Long, {v, h, w}, "splat: index must be int64 (V, h, w)");
  const Tensor out = empty_like(grad, {num_points, c}, dtype);
  if (out.numel() == 0) return out;
  const OnDevice on(grad);
  fill_bytes(out.mutable_data_ptr(), 0, out.numel() * out.element_size(), on.stream);
  if (at.numel() == 0) return out;
  const SortedCells cells(at, num_points, on.stream);
  const Tensor rows = rows_of(grad, on.stream);
  with_type(dtype, "splat: grad_features must be float32, bfloat16 or float16", [&](auto type) {
    using T = decltype(type);
    launch(sum_cells<T>, blocks_of(at.numel(), kRowWarps), kRowThreads, 0, on.stream, cells.list, data<T>(rows), c,
           mutable_data<T>(out));
  });
  return out;
}

// depth = Z = r20 x + r21 y + r22 z + t2, so a cell hands its gradient to its point along the view's third row.
Tensor splat_backward_xyz(const Tensor& grad_depth, const Tensor& index, const Tensor& world2cam, int64_t num_points) {
  const int64_t v = index.size(0), h = index.size(1), w = index.size(2);
  guard_device(grad_depth, {&index, &world2cam});
  const Tensor grad = expect(grad_depth, ScalarType::Float, {v, h, w}, "splat: grad_depth must be float32 (V, h, w)");
  const Tensor at = expect(index, ScalarType::Long, {v, h, w}, "splat: index must be int64 (V, h, w)");
  const Tensor m = expect(world2cam, ScalarType::Float, {v, 3, 4}, "splat: world2cam must be float32 (V, 3, 4)");
  const Tensor out = empty_like(grad, {num_points, 3}, ScalarType::Float);
  if (num_points == 0) return out;
  const OnDevice on(grad);
  fill_bytes(out.mutable_data_ptr(), 0, out.numel() * sizeof(float), on.stream);
  if (at.numel() == 0) return out;
  const SortedCells cells(at, num_points, on.stream);
  launch(sum_depths, blocks_of(at.numel(), kListThreads), kListThreads, 0, on.stream, cells.list, data<float>(grad),
         data<float>(m), h * w, mutable_data<float>(out));
  return out;
}

}  // namespace
}  // namespace mirage

MIRAGE_REGISTER_CUDA(m) {
  m.impl("splat_backward_features", TORCH_BOX(&mirage::splat_backward_features));
  m.impl("splat_backward_xyz", TORCH_BOX(&mirage::splat_backward_xyz));
}
