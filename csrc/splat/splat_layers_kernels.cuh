// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat_cells.cuh"
#include "splat/splat_layers.h"
#include "splat/splat_raster.cuh"

// splat with k: layer after layer is a z-buffer that takes only keys above those of the layer in front of it. N points,
// V views, k layers, grid (h, w).
namespace mirage {
namespace {

struct LayerViews {  // at most kViewBatch
  PreparedViews views;
  Word64* keys;          // of the layer, in the first view
  const Word64* floors;  // of the layer in front of it; null in the first one
  int64_t stride;        // between views
  int count, of_column, h, w;  // of all views, and of those that share blockIdx.y
};

struct LayerBuffer {
  Word64* keys;
  const Word64* floors;

  __device__ __forceinline__ void add(int64_t cell, Word64 key) const {
    if (!floors || key > __ldg(floors + cell)) atomic_min_key(keys + cell, key);
  }
};

// With fewer registers than so many blocks leave each thread, ptxas spills three.
constexpr int kBlocksOfRaster = 9;

template <Shape kShape>
__global__ void __launch_bounds__(kRasterThreads, kBlocksOfRaster)
    splat_rasterize_layer_kernel(Cloud cloud, LayerViews some) {
  __shared__ RasterViews views;
  __shared__ SharedRange shared_ranges[kRasterWarps][kWarp];
  const int first = static_cast<int>(blockIdx.y) * some.of_column, last = min(first + some.of_column, some.count);
  views.start_load(some.views, first, last);
  views.wait();
  constexpr int kHeld = kPerLane * kWarp;
  for (int64_t run = static_cast<int64_t>(blockIdx.x) * kRasterWarps + threadIdx.x / kWarp; run * kHeld < cloud.n;
       run += static_cast<int64_t>(gridDim.x) * kRasterWarps) {
    const auto points = load_points<kShape, kPerLane>(cloud, run * kHeld);
    float reach = 0.0f;
    if (kShape == Shape::kSquare) reach = unordered(__reduce_max_sync(kAllLanes, ordered(points.largest_extent)));
    Word64 seen = views.visible_views(span_of(box_of_warp(points.at), reach), first, last);
#pragma unroll 1
    for (; seen; seen &= seen - 1) {
      const int v = __ffsll(static_cast<long long>(seen)) - 1;
      const LayerBuffer buffer{some.keys + v * some.stride, some.floors ? some.floors + v * some.stride : nullptr};
      rasterize_in_ranges<kShape>(points, views.cameras[v], cloud.near, some.h, some.w, buffer,
                                  shared_ranges[threadIdx.x / kWarp]);
    }
  }
}

constexpr int kEntryThreads = 256;

// Turns keys (V, k, h, w) into depth, squared distance and, in place, index.
__global__ void __launch_bounds__(kEntryThreads)
    splat_resolve_layers_kernel(LayerCameras cameras, int64_t entries, uint64_t* keys, float* depth, float* distance2) {
  const int64_t entry = static_cast<int64_t>(blockIdx.x) * kEntryThreads + threadIdx.x;
  if (entry >= entries) return;
  const NearestPoint point = decode_key(keys[entry]);
  const bool hit = point.index >= 0;
  keys[entry] = static_cast<uint64_t>(point.index);
  depth[entry] = point.depth;
  distance2[entry] = hit ? layer_distance2(cameras, layer_entry(cameras, entry), point.index) : bits_float(0x7f800000u);
}

// One thread per point, where its entries begin. grad (n,) of depth and of squared distance -> out (N, 3), which is
// all 0.
__global__ void __launch_bounds__(kListThreads)
    splat_sum_layers_kernel(CellsOfPoints list, LayerCameras cameras, const float* grad_depth,
                            const float* grad_distance2, float* out) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kListThreads + threadIdx.x;
  if (begin >= list.n || !list.begins(begin)) return;
  const uint32_t point = list.points[begin];
  Vec3 sum = {};
  for (int64_t at = begin; at < list.n && list.points[at] == point; ++at) {
    const uint32_t entry = list.cells[at];
    const Vec3 g = layer_backward(cameras, layer_entry(cameras, entry), point, grad_depth[entry],
                                  grad_distance2[entry]);
    sum = {sum.x + g.x, sum.y + g.y, sum.z + g.z};
  }
  float* to = out + 3 * static_cast<int64_t>(point);
  to[0] = sum.x;
  to[1] = sum.y;
  to[2] = sum.z;
}

}  // namespace
}  // namespace mirage
