// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/prepared_views.h"
#include "splat/splat.h"
#include "splat/splat_cloud.h"
#include "splat/splat_rows.cuh"

// The gradients of mode "bilinear". A warp takes one point after the other; each lane projects it into a view, and then
// all lanes divide the channels of one cell after the other, in (view, cell) order.
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
  int32_t cell[4];  // negative: does not blend it
  float weight[4];
  float s, t;

  __device__ __forceinline__ bool any() const { return (cell[0] & cell[1] & cell[2] & cell[3]) >= 0; }
};

__device__ __forceinline__ CornersInView corners_in(const BlendedViews& blended, int64_t view, const float* xyz,
                                                    float near) {
  const Rigid m = blended.views[view].world2cam;
  const Projection p = project(m, blended.views[view].pinhole, __ldg(xyz), __ldg(xyz + 1), __ldg(xyz + 2));
  const Corners c = corners_of(p, blended.h, blended.w, near);
  CornersInView corners;
  corners.s = c.s;
  corners.t = c.t;
#pragma unroll
  for (int corner = 0; corner < 4; ++corner) {
    const BilinearTap tap = bilinear_tap(c, corner, blended.h, blended.w);
    corners.weight[corner] = tap.weight;
    corners.cell[corner] = tap.cell;
    if (tap.cell >= 0 && !(p.z <= blend_limit(__ldg(blended.depth + view * blended.cells() + tap.cell), blended.band)))
      corners.cell[corner] = -1;
  }
  return corners;
}

// Calls visit(view, corners of the lane's view, lane that has those of the view) for the views of which a cell blends
// the point, in order.
template <class Visit>
__device__ __forceinline__ void for_each_view(const Cloud& cloud, const BlendedViews& blended, int64_t n,
                                              const Visit& visit) {
  if (cloud.valid && __ldg(cloud.valid + n) == 0) return;
#pragma unroll 1
  for (int64_t first = 0; first < blended.count; first += kWarp) {
    const int64_t own = first + threadIdx.x % kWarp;
    CornersInView corners{{-1, -1, -1, -1}};
    if (own < blended.count) corners = corners_in(blended, own, cloud.xyz + 3 * n, cloud.near);
#pragma unroll 1
    for (unsigned left = __ballot_sync(kAllLanes, corners.any()); left; left &= left - 1) {
      const int from = __ffs(static_cast<int>(left)) - 1;
      visit(first + from, corners, from);
    }
  }
}

// Calls visit(n) for the points of the warp, with all lanes.
template <class Visit>
__device__ __forceinline__ void for_each_point(const Cloud& cloud, const Visit& visit) {
#pragma unroll 1
  for (int64_t n = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp; n < cloud.n;
       n += static_cast<int64_t>(gridDim.x) * kRowWarps)
    visit(n);
}

// A cell passes its gradient, rows (V h w, C), to the points that it blends, by their weights; out (N, C).
template <class T>
__global__ void __launch_bounds__(kRowThreads)
    splat_bilinear_backward_features_kernel(Cloud cloud, BlendedViews blended, const T* rows, int64_t channels,
                                            T* out) {
  for_each_point(cloud, [&](int64_t n) {
#pragma unroll 1
    for (int64_t c = 0; c < channels; c += kChannelBatch) {
      SumOfRows sum(channels - c);
      for_each_view(cloud, blended, n, [&](int64_t view, const CornersInView& corners, int from) {
#pragma unroll
        for (int corner = 0; corner < 4; ++corner) {
          const int32_t cell = __shfl_sync(kAllLanes, corners.cell[corner], from);
          if (cell < 0) continue;
          const int64_t at = view * blended.cells() + cell;
          const float weight = __shfl_sync(kAllLanes, corners.weight[corner], from) / __ldg(blended.weight + at);
          sum.add(weight, rows + at * channels + c);
        }
      });
      sum.round(out + n * channels + c);
    }
  });
}

template <class T>
struct BlendedRows {
  const T *grad, *blended;  // (V h w, C)
  const T* features;  // (N, C)
  int64_t channels;
};

// The gradient of the points through their weights; out (N, 3).
template <class T>
__global__ void __launch_bounds__(kRowThreads)
    splat_bilinear_backward_xyz_kernel(Cloud cloud, BlendedViews blended, BlendedRows<T> rows, float* out) {
  const int lane = threadIdx.x % kWarp;
  const bool second = lane >= kSumLanes;
  for_each_point(cloud, [&](int64_t n) {
    const float* at_point = cloud.xyz + 3 * n;
    float sum[3] = {};
    for_each_view(cloud, blended, n, [&](int64_t view, const CornersInView& corners, int from) {
      const float s = __shfl_sync(kAllLanes, corners.s, from), t = __shfl_sync(kAllLanes, corners.t, from);
      PositionGradient position;
#pragma unroll
      for (int pair = 0; pair < 2; ++pair) {  // corners (i + pair, j) and (i + pair, j + 1), half a warp each
        const int32_t cells[2] = {__shfl_sync(kAllLanes, corners.cell[2 * pair], from),
                                  __shfl_sync(kAllLanes, corners.cell[2 * pair + 1], from)};
        const int32_t cell = second ? cells[1] : cells[0];
        const int64_t at = view * blended.cells() + (cell < 0 ? 0 : cell), row = at * rows.channels;
        const T *grad = rows.grad + row, *of_cell = rows.blended + row, *feature = rows.features + n * rows.channels;
        const float sum = sum_in_order(cell < 0 ? 0 : rows.channels, HalfWarp{}, [&](int64_t i) {
          return weight_gradient(to_float(grad[i]), to_float(feature[i]), to_float(of_cell[i]));
        });
        const float of_half = sum / __ldg(blended.weight + at);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float of_corner = __shfl_sync(kAllLanes, of_half, half * kSumLanes);
          if (cells[half] >= 0) position.add(2 * pair + half, s, t, of_corner);
        }
      }
      const Rigid m = blended.views[view].world2cam;
      const Vec3 g = project_backward(m, blended.views[view].pinhole, __ldg(at_point), __ldg(at_point + 1),
                                      __ldg(at_point + 2), position.u, position.v);
      sum[0] += g.x;
      sum[1] += g.y;
      sum[2] += g.z;
    });
    if (lane < 3) out[3 * n + lane] = lane == 0 ? sum[0] : lane == 1 ? sum[1] : sum[2];
  });
}

}  // namespace
}  // namespace mirage
