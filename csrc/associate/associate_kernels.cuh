// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "associate/associate.h"
#include "common/device.h"

namespace mirage {
namespace {

constexpr int kAssociateThreads = 128;

__device__ __forceinline__ bool is_observed_by(const AssociateJob& job, int64_t f, const Vec3& point, float footprint) {
  const Pinhole k = load_pinhole(job.intrinsics + 9 * f);
  const Projection p = project(load_rigid(job.world2cam + 12 * f), k, point.x, point.y, point.z);
  const int32_t cell = cell_of(p, job.h, job.w);
  return cell >= 0 && is_as_near(p.z, k.fx, footprint, job.rule) &&
         is_on_surface(job.past[f * job.cells() + cell], p.z, job.rule);
}

// A thread compares one point. Those that past frames may have observed are few: a warp takes one after the other, with
// a frame for each lane.
__global__ void __launch_bounds__(kAssociateThreads) associate_points_kernel(AssociateJob job) {
  const int64_t n = static_cast<int64_t>(blockIdx.x) * kAssociateThreads + threadIdx.x;
  const int lane = threadIdx.x % kWarp;
  const bool valid = n < job.n && job.is_valid(n), hole = n < job.n && job.is_hole(n);
  Compared compared{false, false};
  if (valid && !hole) {
    compared = compare_depths(job.depth[n], job.footprint[n], job.rendered[n], job.footprints[job.index[n]], job.rule);
  }
  bool observed = false;
  for (unsigned left = __ballot_sync(kAllLanes, compared.in_front || compared.closer); left; left &= left - 1) {
    const int leader = __ffs(static_cast<int>(left)) - 1;
    const int64_t at = __shfl_sync(kAllLanes, n, leader);
    const Vec3 point{job.xyz[3 * at], job.xyz[3 * at + 1], job.xyz[3 * at + 2]};
    bool any = false;
    for (int64_t first = 0; first < job.frames && !any; first += kWarp) {
      const int64_t f = first + lane;
      any = __any_sync(kAllLanes, f < job.frames && is_observed_by(job, f, point, job.footprint[at]));
    }
    if (lane == leader) observed = any;
  }
  if (n >= job.n) return;
  const bool compares = valid && !hole;
  job.out[n] = compares ? settle(compared, observed, job.depth[n], job.rendered[n], job.rule) : valid ? kNew : kKnown;
}

}  // namespace
}  // namespace mirage
