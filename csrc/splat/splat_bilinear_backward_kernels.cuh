// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/prepared_views.h"
#include "splat/splat_cloud.h"
#include "splat/splat_rows.cuh"

// The gradients of mode "bilinear". A warp takes one point after the other; its lanes meet a view each, and then share
// the channels of one cell after the other, in (view, cell) order.
namespace mirage {
namespace {

struct BlendedViews {
  const CameraOfView* views;  // (V,)
  int64_t count;
  int h, w;
  const float *depth, *weight;  // (V, h w): of the nearest point, and the sum of weights
  float band;

  __device__ __forceinline__ int64_t cells() const { return static_cast<int64_t>(h) * w; }
};

struct CornersInView {  // of one point
  int32_t cell[4];      // negative: does not mix it
  float weight[4];
  float s, t;

  __device__ __forceinline__ bool any() const { return (cell[0] & cell[1] & cell[2] & cell[3]) >= 0; }
};

__device__ __forceinline__ CornersInView corners_in(const BlendedViews& blended, int64_t view, const float* xyz) {
  const Rigid m = blended.views[view].world2cam;
  const Projection p = project(m, blended.views[view].pinhole, __ldg(xyz), __ldg(xyz + 1), __ldg(xyz + 2));
  const Corners c = corners_of(p, blended.h, blended.w);
  CornersInView corners;
  corners.s = c.s;
  corners.t = c.t;
#pragma unroll
  for (int corner = 0; corner < 4; ++corner) {
    const Touch t = touch(c, corner, blended.h, blended.w);
    corners.weight[corner] = t.weight;
    corners.cell[corner] = t.cell;
    if (t.cell >= 0 && !(p.z <= blend_limit(__ldg(blended.depth + view * blended.cells() + t.cell), blended.band)))
      corners.cell[corner] = -1;
  }
  return corners;
}

// Calls visit(view, corners of the lane's view, lane that has those of the view) for the views of which a cell mixes
// the point, in order.
template <class Visit>
__device__ __forceinline__ void each_view(const Cloud& cloud, const BlendedViews& blended, int64_t n,
                                          const Visit& visit) {
  if (cloud.valid && __ldg(cloud.valid + n) == 0) return;
#pragma unroll 1
  for (int64_t first = 0; first < blended.count; first += kWarp) {
    const int64_t mine = first + threadIdx.x % kWarp;
    CornersInView corners{{-1, -1, -1, -1}};
    if (mine < blended.count) corners = corners_in(blended, mine, cloud.xyz + 3 * n);
#pragma unroll 1
    for (unsigned left = __ballot_sync(kAllLanes, corners.any()); left; left &= left - 1) {
      const int from = __ffs(static_cast<int>(left)) - 1;
      visit(first + from, corners, from);
    }
  }
}

// Calls visit(n) for the points of the warp, with all lanes.
template <class Visit>
__device__ __forceinline__ void each_point(const Cloud& cloud, const Visit& visit) {
#pragma unroll 1
  for (int64_t n = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp; n < cloud.n;
       n += static_cast<int64_t>(gridDim.x) * kRowWarps)
    visit(n);
}

// A cell hands its gradient, rows (V h w, C), to the points that it mixes by their shares; out (N, C).
template <class T>
__global__ void __launch_bounds__(kRowThreads)
    spread(Cloud cloud, BlendedViews blended, const T* rows, int64_t channels, T* out) {
  each_point(cloud, [&](int64_t n) {
#pragma unroll 1
    for (int64_t c = 0; c < channels; c += kChannelsAtOnce) {
      SumOfRows sum(channels - c);
      each_view(cloud, blended, n, [&](int64_t view, const CornersInView& corners, int from) {
#pragma unroll
        for (int corner = 0; corner < 4; ++corner) {
          const int32_t cell = __shfl_sync(kAllLanes, corners.cell[corner], from);
          if (cell < 0) continue;
          const int64_t at = view * blended.cells() + cell;
          const float share = __shfl_sync(kAllLanes, corners.weight[corner], from) / __ldg(blended.weight + at);
          sum.add(share, rows + at * channels + c);
        }
      });
      sum.round(out + n * channels + c);
    }
  });
}

constexpr int kPartsOfSum = 16;  // as on a CPU: half a warp

// sum(grad * (row - shown)), for each half of a warp its own, in the same order as on a CPU. The difference comes
// first, for it is small where the sum is divided by a small weight.
template <class T>
__device__ __forceinline__ float along(const T* grad, const T* row, const T* shown, int64_t n) {
  const auto term = [&](int64_t i) { return to_float(grad[i]) * (to_float(row[i]) - to_float(shown[i])); };
  const int64_t rounds = n / kPartsOfSum;
  float part = 0.0f, sum = 0.0f;
  for (int64_t i = 0; i < rounds; ++i) part += term(kPartsOfSum * i + threadIdx.x % kPartsOfSum);
  for (int64_t i = rounds * kPartsOfSum; i < n; ++i) sum += term(i);
#pragma unroll
  for (int l = 0; l < kPartsOfSum; ++l) sum += __shfl_sync(kAllLanes, part, l, kPartsOfSum);
  return sum;
}

template <class T>
struct BlendedRows {
  const T *grad, *shown;  // (V h w, C)
  const T* features;      // (N, C)
  int64_t channels;
};

// The gradient of the points through their weights; out (N, 3).
template <class T>
__global__ void __launch_bounds__(kRowThreads)
    pull(Cloud cloud, BlendedViews blended, BlendedRows<T> rows, float* out) {
  const int lane = threadIdx.x % kWarp;
  const bool second = lane >= kPartsOfSum;
  each_point(cloud, [&](int64_t n) {
    const float* at_point = cloud.xyz + 3 * n;
    float sum[3] = {};
    each_view(cloud, blended, n, [&](int64_t view, const CornersInView& corners, int from) {
      const float s = __shfl_sync(kAllLanes, corners.s, from), t = __shfl_sync(kAllLanes, corners.t, from);
      float grad_u = 0.0f, grad_v = 0.0f;
#pragma unroll
      for (int pair = 0; pair < 2; ++pair) {  // corners (i + pair, j) and (i + pair, j + 1), half a warp each
        const int32_t cells[2] = {__shfl_sync(kAllLanes, corners.cell[2 * pair], from),
                                  __shfl_sync(kAllLanes, corners.cell[2 * pair + 1], from)};
        const int32_t cell = second ? cells[1] : cells[0];
        const int64_t at = view * blended.cells() + (cell < 0 ? 0 : cell), row = at * rows.channels;
        const float mine = along(rows.grad + row, rows.features + n * rows.channels, rows.shown + row,
                                 cell < 0 ? 0 : rows.channels) / __ldg(blended.weight + at);
        const float down = pair ? t : 1.0f - t;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float grad = __shfl_sync(kAllLanes, mine, half * kPartsOfSum);
          if (cells[half] < 0) continue;
          const float across = half ? s : 1.0f - s;
          grad_u += (half ? grad : -grad) * down;
          grad_v += (pair ? grad : -grad) * across;
        }
      }
      const Rigid m = blended.views[view].world2cam;
      const Vec3 g = project_backward(m, blended.views[view].pinhole, __ldg(at_point), __ldg(at_point + 1),
                                      __ldg(at_point + 2), grad_u, grad_v);
      sum[0] += g.x;
      sum[1] += g.y;
      sum[2] += g.z;
    });
    if (lane < 3) out[3 * n + lane] = lane == 0 ? sum[0] : lane == 1 ? sum[1] : sum[2];
  });
}

}  // namespace
}  // namespace mirage
