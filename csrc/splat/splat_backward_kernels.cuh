// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat_cells.cuh"
#include "splat/splat_rows.cuh"

// Sums over the cells of each point. n = V h w cells, sorted by point and then by number; each sum runs in that order.
namespace mirage {
namespace {

// One warp per point, where its cells begin. rows (n, C) -> out (num_points, C), which is all 0.
template <class T>
__global__ void __launch_bounds__(kRowThreads)
    splat_sum_features_kernel(CellsOfPoints list, const T* rows, int64_t channels, T* out) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  if (begin >= list.n || !list.begins(begin)) return;
  const uint32_t point = list.points[begin];
  for (int64_t c = 0; c < channels; c += kChannelBatch) {
    SumOfRows sum(channels - c);
    for (int64_t first = begin; first < list.n; first += kWarp) {
      const int64_t at = first + threadIdx.x % kWarp;
      const bool same = at < list.n && list.points[at] == point;
      const uint32_t cell = same ? list.cells[at] : 0;
      const int count = __popc(__ballot_sync(kAllLanes, same));
#pragma unroll 4
      for (int k = 0; k < count; ++k)
        sum.add(rows + static_cast<int64_t>(__shfl_sync(kAllLanes, cell, k)) * channels + c);
      if (count < kWarp) break;
    }
    sum.round(out + static_cast<int64_t>(point) * channels + c);
  }
}

// One thread per point. grad (n,) of depth, world2cam (V, 3, 4) -> out (num_points, 3), which is all 0.
__global__ void __launch_bounds__(kListThreads)
    splat_sum_depths_kernel(CellsOfPoints list, const float* grad, const float* world2cam, int64_t cells_of_view,
                            float* out) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kListThreads + threadIdx.x;
  if (begin >= list.n || !list.begins(begin)) return;
  const uint32_t point = list.points[begin];
  float sum[3] = {};
  for (int64_t at = begin; at < list.n && list.points[at] == point; ++at) {
    const uint32_t cell = list.cells[at];
    const float* row = world2cam + 12 * (cell / cells_of_view) + 8;
    for (int a = 0; a < 3; ++a) sum[a] += grad[cell] * row[a];
  }
  for (int a = 0; a < 3; ++a) out[3 * static_cast<int64_t>(point) + a] = sum[a];
}

}  // namespace
}  // namespace mirage
