// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/device.h"

// Lists of the cells of each point. n = V h w cells, or V k h w entries of layers, sorted by point and then by number.
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

}  // namespace
}  // namespace mirage
