// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat_cells.cuh"
#include "splat/splat_sum.h"

namespace mirage {
namespace {

constexpr int kTapThreads = 256;

// One thread per point: the cells (N, 4) of its taps, -1 for none, and what its features count there.
__global__ void __launch_bounds__(kTapThreads)
    splat_place_points_kernel(PlacedPoints points, int64_t* cells, float* scales) {
  const int64_t point = static_cast<int64_t>(blockIdx.x) * kTapThreads + threadIdx.x;
  if (point >= points.n) return;
  each_scale(points.corners(point), points.weight(point), points.h, points.w,
             [&](int corner, int32_t cell, float scale) {
               cells[4 * point + corner] = cell;
               scales[4 * point + corner] = scale;
             });
}

constexpr int kSumWarps = 8;
constexpr int kSumThreads = kSumWarps * kWarp;

// One warp per cell, where its taps begin; a lane sums a channel. out (C + 1, cells), which is all 0.
__global__ void __launch_bounds__(kSumThreads)
    splat_sum_taps_kernel(CellsOfPoints taps, PlacedPoints points, const float* scales, float* out) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kSumWarps + threadIdx.x / kWarp;
  if (begin >= taps.n || !taps.begins(begin)) return;
  const uint32_t cell = taps.points[begin];
  for (int64_t c = threadIdx.x % kWarp; c <= points.channels; c += kWarp) {
    const float* plane = points.features + c * points.n;
    float sum = 0.0f;
    for (int64_t at = begin; at < taps.n && taps.points[at] == cell; ++at) {
      const uint32_t tap = taps.cells[at];
      sum += scales[tap] * (c < points.channels ? plane[tap / 4] : 1.0f);
    }
    out[c * taps.num_points + cell] = sum;
  }
}

}  // namespace
}  // namespace mirage
