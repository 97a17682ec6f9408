// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/device.h"
#include "project/project.h"

namespace mirage {
namespace {

constexpr int kProjectThreads = 256;

// A thread projects one point; each view has `blocks` blocks. All along x, because the other axes are short.
__global__ void __launch_bounds__(kProjectThreads) project_points_kernel(ProjectJob job, int64_t blocks) {
  const int64_t v = blockIdx.x / blocks, n = blockIdx.x % blocks * kProjectThreads + threadIdx.x;
  if (n >= job.n) return;
  const float* point = job.points_of(v) + 3 * n;
  const Projection p = project(job.pose(v), job.pinhole(v), point[0], point[1], point[2]);
  const int64_t at = v * job.n + n;
  reinterpret_cast<float2*>(job.uv)[at] = make_float2(p.u, p.v);
  job.depth[at] = p.z;
  job.inside[at] = inside(p, job.h, job.w);
}

}  // namespace
}  // namespace mirage
