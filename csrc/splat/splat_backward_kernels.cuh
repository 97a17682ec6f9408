// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat_rows.cuh"

// Sums over the cells of each point. n = V h w cells, sorted by point and then by number; each sum runs in that order.
namespace mirage {
namespace {

struct CellsOfPoints {  // (n,) each
  const uint32_t *points, *cells;
  int64_t n, num_points;

  __device__ __forceinline__ bool begins(int64_t at) const {
    return points[at] < num_points && (at == 0 || points[at - 1] != points[at]);
  }
};

constexpr int kListThreads = 256;

// Holes, and indices of points that do not exist, become point num_points.
__global__ void __launch_bounds__(kListThreads)
    splat_list_cells_kernel(const int64_t* index, int64_t n, int64_t num_points, uint32_t* points, uint32_t* cells) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kListThreads + threadIdx.x;
  if (at >= n) return;
  const int64_t point = index[at];
  points[at] = static_cast<uint32_t>(point >= 0 && point < num_points ? point : num_points);
  cells[at] = static_cast<uint32_t>(at);
}

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
