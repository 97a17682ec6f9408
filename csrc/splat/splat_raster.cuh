// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/points_of_warp.cuh"
#include "common/views_of_block.cuh"
#include "splat/splat.h"
#include "splat/splat_cloud.h"

// The cells that the points of a warp cover, for z-buffers with one key in a cell or several.
namespace mirage {
namespace {

constexpr int kRasterWarps = 4;
constexpr int kRasterThreads = kRasterWarps * kWarp;

using RasterViews = ViewsOfBlock<kViewBatch, kRasterThreads>;

// Most points do not win: the cell has a nearer one. A key read too early is only larger, and costs an atomic in vain.
__device__ __forceinline__ void atomic_min_key(Word64* cell, Word64 key) {
  if (key < __ldcg(cell)) atomicMin(cell, key);
}

template <int kEach>  // points of a lane
struct PointsOfWarp {
  float at[3][kEach];  // NaN where there is no point, which no view sees
  float extent[kEach];  // of discs the radius
  uint32_t index[kEach];
  float largest_extent;  // of the lane's
};

template <Shape kShape, int kEach>
__device__ __forceinline__ PointsOfWarp<kEach> load_points(const Cloud& cloud, int64_t first) {
  PointsOfWarp<kEach> points;
  points.largest_extent = 0.0f;
  const int64_t lane = first + threadIdx.x % kWarp;  // the number of the lane's first point
  const float* xyz = cloud.xyz + 3 * lane;
  const unsigned n = static_cast<unsigned>(cloud.n);  // less than 2^32
  const int64_t left = int64_t{n} - lane;
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const bool valid = left > kWarp * k && (!cloud.valid || __ldg(cloud.valid + lane + kWarp * k) != 0);
    for (int axis = 0; axis < 3; ++axis)
      points.at[axis][k] = valid ? __ldg(xyz + 3 * kWarp * k + axis) : bits_float(0x7fc00000u);
    points.index[k] = static_cast<uint32_t>(lane) + kWarp * k;
    if (kShape == Shape::kSquare) {
      points.extent[k] = cloud.extent;
      if (cloud.extents)
        points.extent[k] = valid
                               ? scaled_extent(cloud.extent, __ldg(cloud.extents + lane + kWarp * k), cloud.min_extent)
                               : 0.0f;
      points.largest_extent = larger(points.extent[k], points.largest_extent);  // a NaN counts for nothing
    } else if (kShape == Shape::kDisc) {
      points.extent[k] = cloud.radius;
      if (cloud.extents && valid)
        points.extent[k] = limited_radius(__ldg(cloud.extents + lane + kWarp * k), cloud.radius);
    }
  }
  return points;
}

constexpr int kMaxCellsOfLane = 8;  // where a point covers more, its warp divides them

template <class Visit>
__device__ __forceinline__ void for_each_cell(const CellRange& range, int from, int step, const Visit& visit) {
  const unsigned width = range.j1 - range.j0 + 1, cells = (range.i1 - range.i0 + 1) * width;
#pragma unroll 1
  for (unsigned c = from; c < cells; c += step) {
    visit(range.i0 + static_cast<int>(c / width), range.j0 + static_cast<int>(c % width));
  }
}

struct alignas(16) SharedRange {  // of a lane whose point covers many cells
  CellRange range;
  float u, v, radius;
  Word64 key;
};

// Every lane has a point with the cells of `range`, if any; calls visit(i, j, u, v, radius, key) for those cells. All
// lanes of a warp call it, with its `shared_ranges` (32,) in shared memory.
template <class Visit>
__device__ __forceinline__ void for_each_cell_of_warp(const CellRange& range, const Projection& p, float radius,
                                                      Word64 key, SharedRange* shared_ranges, const Visit& visit) {
  const int lane = threadIdx.x % kWarp;
  const int cells = range.i1 < range.i0 ? 0 : (range.i1 - range.i0 + 1) * (range.j1 - range.j0 + 1);
  if (cells > 0 && cells <= kMaxCellsOfLane)
    for_each_cell(range, 0, 1, [&](int i, int j) { visit(i, j, p.u, p.v, radius, key); });
  unsigned left = __ballot_sync(kAllLanes, cells > kMaxCellsOfLane);
  if (!left) return;
  shared_ranges[lane] = {range, p.u, p.v, radius, key};
  __syncwarp();
  for (; left; left &= left - 1) {
    const SharedRange shared = shared_ranges[__ffs(static_cast<int>(left)) - 1];
    for_each_cell(shared.range, lane, kWarp,
                  [&](int i, int j) { visit(i, j, shared.u, shared.v, shared.radius, shared.key); });
  }
  __syncwarp();
}

// Adds points to the cells that they cover: buffer.add(cell, key).
template <Shape kShape, int kEach, class Buffer>
__device__ __forceinline__ void rasterize_in_ranges(const PointsOfWarp<kEach>& points, const CameraOfView& camera,
                                                    float near, int h, int w, const Buffer& buffer,
                                                    SharedRange* shared_ranges) {
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const Projection p = project(camera.world2cam, camera.pinhole, points.at[0][k], points.at[1][k], points.at[2][k]);
    const Word64 key = depth_key(p.z, points.index[k]);
    if (kShape == Shape::kSquare) {
      const CellRange range = covered_cells(p, camera.pinhole, points.extent[k], h, w, near);
      for_each_cell_of_warp(range, p, 0.0f, key, shared_ranges, [&](int i, int j, float, float, float, Word64 own) {
        buffer.add(static_cast<int64_t>(i) * w + j, own);
      });
    } else if (kShape == Shape::kDisc) {
      const int32_t own = cell_of(p, h, w, near);
      if (own >= 0) buffer.add(own, key);
      for_each_cell_of_warp(cells_around(p, points.extent[k], h, w, near), p, points.extent[k], key, shared_ranges,
                            [&](int i, int j, float u, float v, float radius, Word64 own_key) {
                              if (disc_covers(u, v, radius, i, j)) buffer.add(static_cast<int64_t>(i) * w + j, own_key);
                            });
    } else if (kShape == Shape::kPoint) {
      const int32_t own = cell_of(p, h, w, near);
      if (own >= 0) buffer.add(own, key);
    } else {
      each_tap(corners_of(p, h, w, near), h, w, [&](int, const BilinearTap& tap) {
        if (tap.cell >= 0) buffer.add(tap.cell, key);
      });
    }
  }
}

}  // namespace
}  // namespace mirage
