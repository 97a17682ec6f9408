// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/device.h"
#include "splat/splat_blend.h"

namespace mirage {
namespace {

constexpr int kBlendThreads = 256;
constexpr int kBlendChannels = 16;  // of a block

// A thread takes a cell of all views.
__global__ void __launch_bounds__(kBlendThreads) splat_offsets_kernel(OffsetsJob job) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kBlendThreads + threadIdx.x, cells = job.cells();
  if (at >= job.views * cells) return;
  const int64_t v = at / cells;
  const int cell = static_cast<int>(at % cells);
  const Offset offset = offset_in_cell(job, load_rigid(job.world2cam + 12 * v), load_pinhole(job.intrinsics + 9 * v),
                                       job.index[at], cell / job.w, cell % job.w);
  float* out = job.out + 2 * v * cells + cell;
  out[0] = offset.x;
  out[cells] = offset.y;
}

// Blocks (cells of all views, channels); a thread takes a cell and kBlendChannels channels of it.
template <class T>
__global__ void __launch_bounds__(kBlendThreads) splat_blend_kernel(BlendJob job) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kBlendThreads + threadIdx.x, cells = job.cells();
  if (at >= job.views * cells) return;
  const int64_t v = at / cells;
  const int cell = static_cast<int>(at % cells), i = cell / job.w, j = cell % job.w;
  const float* offsets = job.offsets + 2 * v * cells;
  const float* depths = job.depth + v * cells;
  float weights[kNeighbors], total = 0.0f;
#pragma unroll
  for (int n = 0; n < kNeighbors; ++n) {
    const int down = n / 3 - 1, across = n % 3 - 1;
    const bool on_grid = i + down >= 0 && i + down < job.h && j + across >= 0 && j + across < job.w;
    const int other = on_grid ? cell + down * job.w + across : cell;
    const float weight = neighbor_weight({offsets[other], offsets[cells + other], depths[other]}, depths[cell], down,
                                         across, job.band);
    weights[n] = on_grid ? weight : 0.0f;
    total += weights[n];
  }
  const float inverse = inverse_weight(total);
  const int64_t first = static_cast<int64_t>(blockIdx.y) * kBlendChannels;
  const int64_t last = min(first + kBlendChannels, job.channels);
  for (int64_t c = first; c < last; ++c) {
    const int64_t map = (v * job.channels + c) * cells;
    const T* features = static_cast<const T*>(job.features) + map + cell;
    float sum = 0.0f;
#pragma unroll
    for (int n = 0; n < kNeighbors; ++n) {
      const float feature = weights[n] > 0.0f ? to_float(features[(n / 3 - 1) * job.w + n % 3 - 1]) : 0.0f;
      sum = weighted_sum(sum, weights[n], feature);
    }
    from_float(blended(sum, inverse, to_float(*features)), static_cast<T*>(job.out) + map + cell);
  }
}

}  // namespace
}  // namespace mirage
