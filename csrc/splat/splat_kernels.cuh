// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/feature_tile.cuh"
#include "splat/splat_raster.cuh"
#include "splat/splat_surface.h"

// The z-buffer: N points into V views, grid (h, w). Keys (V, h w) lie in global memory, where a 64-bit minimum is one
// instruction.
namespace mirage {
namespace {

struct SomeViews {  // at most kViewBatch, of one group
  PreparedViews views;         // of all groups
  Word64* keys;                // (V, h w)
  int64_t first;               // view of the group
  int count, of_column, h, w;  // of all, and of those that share blockIdx.y

  // Those from a quad on; the number of views before the first goes to `skipped`.
  __device__ __forceinline__ SomeViews of_group(int64_t view_of_group, int* skipped) const {
    const int64_t at = view_of_group + first, quad = at / kQuad * kQuad;
    *skipped = static_cast<int>(at - quad);
    return {views.from(quad), keys + quad * (static_cast<int64_t>(h) * w), 0, count, of_column, h, w};
  }
};

// Leaves of points that some of the views may see, in any order.
struct LeafList {
  uint32_t* leaves;
  Word64* views;  // bit v: of view v
  unsigned* count;
};

struct KeyBuffer {
  Word64* keys;  // (h w,)

  __device__ __forceinline__ void add(int64_t cell, Word64 key) const { atomic_min_key(keys + cell, key); }
};

// Points that cover one cell: all loads are issued before the first is needed.
template <int kEach>
__device__ __forceinline__ void rasterize_in_cells(const PointsOfWarp<kEach>& points, const CameraOfView& shared,
                                                   float near, int h, int w, Word64* keys) {
  const CameraOfView camera = shared;  // in registers, for all points
  Word64* cell[kEach];
  Word64 key[kEach], nearest[kEach];
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const Projection p = project(camera.world2cam, camera.pinhole, points.at[0][k], points.at[1][k], points.at[2][k]);
    const int32_t own = cell_of(p, h, w, near);
    cell[k] = keys + own;
    key[k] = depth_key(p.z, points.index[k]);
    nearest[k] = own >= 0 ? __ldcg(cell[k]) : 0;
  }
#pragma unroll
  for (int k = 0; k < kEach; ++k)
    if (key[k] < nearest[k]) atomicMin(cell[k], key[k]);
}

// A warp rasterizes its points into the views that may see them: those in the list; or, without a list, those that the
// warp finds among its column's. Every `blocks` in a row take one group of views and what it sees.
template <Shape kShape, bool kListed, int kEach>
__global__ void __launch_bounds__(kRasterThreads, 32 / (kEach + 2))
    splat_rasterize_kernel(Cloud all, Clouds clouds, unsigned blocks, SomeViews of_groups, LeafList list) {
  __shared__ RasterViews views;
  __shared__ SharedRange shared_ranges[kRasterWarps][kWarp];
  const int64_t view = kListed ? 0 : blockIdx.x / blocks * clouds.views_of_group();
  const unsigned block = kListed ? blockIdx.x : blockIdx.x % blocks;
  const Cloud cloud = kListed ? all : clouds.cloud_of(all, view);
  int skipped;
  const SomeViews some = of_groups.of_group(view, &skipped);
  const int of_column = static_cast<int>(blockIdx.y) * some.of_column;
  const int first = skipped + of_column, last = skipped + min(of_column + some.of_column, some.count);
  const unsigned cells = some.h * some.w;
  views.start_load(some.views, first, last, !kListed);
  constexpr int kHeld = kEach * kWarp;
  const auto runs = static_cast<unsigned>(kListed ? *list.count : (cloud.n + kHeld - 1) / kHeld);  // of 2^32 points
  bool loaded = kListed;  // the views: while they come, so does the length of the list, or do the first points
  if (kListed) views.wait();
  for (unsigned run = block * kRasterWarps + threadIdx.x / kWarp;; run += blocks * kRasterWarps) {
    if (kListed && run >= runs) break;
    const auto points = load_points<kShape, kEach>(cloud, int64_t{kHeld} * (kListed ? __ldg(list.leaves + run) : run));
    if (!loaded) views.wait();
    loaded = true;
    if (run >= runs) break;
    Word64 seen;
    if (kListed) {
      seen = __ldg(list.views + run);
    } else {
      float reach = 0.0f;
      if (kShape == Shape::kSquare) reach = unordered(__reduce_max_sync(kAllLanes, ordered(points.largest_extent)));
      seen = views.visible_views(span_of(box_of_warp(points.at), reach), first, last);
    }
#pragma unroll 1
    for (int v0 = 0; v0 < kViewBatch; v0 += 32) {
#pragma unroll 1
      for (unsigned left = static_cast<unsigned>(seen >> v0); left; left &= left - 1) {
        const unsigned v = v0 + __ffs(static_cast<int>(left)) - 1;
        Word64* keys = some.keys + uint64_t{v} * cells;
        if constexpr (kShape == Shape::kPoint)
          rasterize_in_cells(points, views.cameras[v], cloud.near, some.h, some.w, keys);
        else
          rasterize_in_ranges<kShape>(points, views.cameras[v], cloud.near, some.h, some.w, KeyBuffer{keys},
                                      shared_ranges[threadIdx.x / kWarp]);
      }
    }
  }
}

// Lists the leaves that a view may see. A warp tests 64 leaves, after their common box.
__global__ void __launch_bounds__(kRasterThreads)
    splat_list_leaves_kernel(BoxPyramid boxes, ExtentRule rule, SomeViews some, LeafList list) {
  __shared__ RasterViews views;
  views.start_load(some.views.from(some.first), 0, some.count);
  views.wait();
  const auto span_at = [&](const PyramidBox* leaf) {
    return span_of(leaf->box, scaled_extent(rule.scale, leaf->extent, rule.min));
  };
  const int lane = threadIdx.x % kWarp;
  for (int64_t box = static_cast<int64_t>(blockIdx.x) * kRasterWarps + threadIdx.x / kWarp; box < boxes.size1;
       box += static_cast<int64_t>(gridDim.x) * kRasterWarps) {
    const Word64 candidates = views.visible_views(span_at(boxes.level1 + box), 0, some.count);
    for (int64_t first = box * kFanout; candidates && first < (box + 1) * kFanout && first < boxes.size0;
         first += kWarp) {
      const int64_t leaf = first + lane;
      const bool in_bounds = leaf < boxes.size0;
      const BoxSpan span = span_at(boxes.level0 + (in_bounds ? leaf : first));
      Word64 seen = 0;
      for (Word64 left = in_bounds ? candidates : 0; left; left &= left - 1) {
        const int v = __ffsll(static_cast<long long>(left)) - 1;
        if (!is_culled(views.frusta[v], span)) seen |= Word64{1} << v;
      }
      const unsigned found = __ballot_sync(kAllLanes, seen != 0);
      if (!found) continue;
      unsigned at = lane == 0 ? atomicAdd(list.count, static_cast<unsigned>(__popc(found))) : 0;
      at = __shfl_sync(kAllLanes, at, 0) + __popc(found & ((1u << lane) - 1));
      if (seen) {
        list.leaves[at] = static_cast<uint32_t>(leaf);
        list.views[at] = seen;
      }
    }
  }
}

// Turns keys (V, cells) into depth and, in place, index; the nearest points' rows of features (N, C) go into maps
// (V, C, cells).
template <class Word>
__global__ void __launch_bounds__(kTileThreads)
    splat_resolve_kernel(Features f, int64_t cells, Clouds clouds, const Word* all_rows, uint64_t* keys, float* depth,
                         Word* maps) {
  MIRAGE_DYNAMIC_SHARED(Word, tile);
  __shared__ uint32_t winners[kTileCells];
  __shared__ unsigned ballots[2];
  const TileLocation<kTileCells> location(cells);
  bool hit = false;
  if (static_cast<int>(threadIdx.x) < location.count) {
    const int64_t at = location.b * cells + location.first + threadIdx.x;
    const NearestPoint point = decode_key(keys[at]);
    hit = point.index >= 0;
    depth[at] = point.depth;
    if (hit) keys[at] = static_cast<uint64_t>(point.index);
    winners[threadIdx.x] = static_cast<uint32_t>(point.index);
  }
  const uint64_t hits = broadcast_valid(hit, ballots);
  const Word* rows = all_rows + clouds.rows_of(location.b).first * f.channels;
  for (int64_t c = 0; c < f.channels; c += f.depth) {
    const TileOfFeatures t = tile_of(f, location, cells, c);
    gather_to_tile(t, rows, winners, hits, tile);
    __syncthreads();
    tile_to_maps(t, tile, hits, maps + location.b * f.channels * cells);
    __syncthreads();
  }
}

constexpr int kSurfaceThreads = 256;

__global__ void __launch_bounds__(kSurfaceThreads) splat_composite_surface_kernel(SurfaceJob job) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kSurfaceThreads + threadIdx.x;
  if (i < job.n) job.composite(i);
}

}  // namespace
}  // namespace mirage
