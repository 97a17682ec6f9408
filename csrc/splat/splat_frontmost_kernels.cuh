// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/device.h"
#include "splat/splat_frontmost.h"

namespace mirage {
namespace {

constexpr int kFrontThreads = 256;

struct PointOfView {
  int64_t at;    // in (V, N), negative where the thread has no point
  int32_t cell;  // of the view, or -1
  float depth;
};

// One thread per point of a view; each view has `blocks` blocks. All along x, because the other axes are short.
__device__ __forceinline__ PointOfView point_of_thread(const FrontmostJob& job, int64_t blocks, int64_t* view) {
  *view = blockIdx.x / blocks;
  const int64_t n = blockIdx.x % blocks * kFrontThreads + threadIdx.x;
  if (n >= job.n) return {-1, -1, 0.0f};
  const float* point = job.xyz + 3 * n;
  const Projection p = project(job.pose(*view), job.pinhole(*view), point[0], point[1], point[2]);
  const bool ignored = job.valid && job.valid[n] == 0;
  const int32_t cell = ignored ? -1 : front_cell(p, job.h, job.w, {job.near, job.far}, job.border);
  return {*view * job.n + n, cell, p.z};
}

// nearest (V, h w): bits of depths, filled with the largest.
__global__ void __launch_bounds__(kFrontThreads)
    splat_enter_depths_kernel(FrontmostJob job, int64_t blocks, uint32_t* nearest) {
  int64_t view;
  const PointOfView point = point_of_thread(job, blocks, &view);
  if (point.cell >= 0) atomicMin(nearest + view * job.cells() + point.cell, float_bits(point.depth));
}

__global__ void __launch_bounds__(kFrontThreads)
    splat_test_depths_kernel(FrontmostJob job, int64_t blocks, const uint32_t* nearest) {
  int64_t view;
  const PointOfView point = point_of_thread(job, blocks, &view);
  if (point.at < 0) return;
  job.out[point.at] = point.cell >= 0 &&
                      is_frontmost(point.depth, nearest[view * job.cells() + point.cell], job.tolerance);
}

}  // namespace
}  // namespace mirage
