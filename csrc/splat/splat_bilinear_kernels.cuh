// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/prepared_views.h"
#include "splat/splat.h"
#include "splat/splat_cloud.h"
#include "splat/splat_rows.cuh"

// Mode "bilinear". A point has up to four taps, in cells (i, j) .. (i + 1, j + 1). Points are sorted by the first of
// these, their base, which may lie one beside the grid: (h + 1) (w + 1) bases per view. The points of a base stay in
// order, so those with a tap in a cell are four sorted lists, to be merged.
namespace mirage {
namespace {

constexpr int kBaseThreads = 256;

struct BasesOfViews {  // of some views
  const CameraOfView* views;
  int count, h, w;

  MIRAGE_HD uint32_t of_view() const { return (static_cast<uint32_t>(h) + 1) * (static_cast<uint32_t>(w) + 1); }
  __device__ __forceinline__ uint32_t at(uint32_t view, int i, int j) const {
    return (view * (static_cast<uint32_t>(h) + 1) + static_cast<uint32_t>(i + 1)) * (static_cast<uint32_t>(w) + 1) +
           static_cast<uint32_t>(j + 1);
  }
};

__device__ __forceinline__ bool is_valid(const Cloud& cloud, int64_t n) {
  return n < cloud.n && (!cloud.valid || __ldg(cloud.valid + n) != 0);
}

__device__ __forceinline__ Projection project_point(const Cloud& cloud, const CameraOfView& view, int64_t n) {
  const float* at = cloud.xyz + 3 * n;
  return project(view.world2cam, view.pinhole, __ldg(at), __ldg(at + 1), __ldg(at + 2));
}

// (view, point) -> base, or one more than there are; and the point.
__global__ void __launch_bounds__(kBaseThreads)
    splat_bilinear_find_bases_kernel(Cloud cloud, BasesOfViews bases, uint32_t* keys, uint32_t* points) {
  const int64_t n = static_cast<int64_t>(blockIdx.x) * kBaseThreads + threadIdx.x;
  if (n >= cloud.n) return;
  const bool valid = is_valid(cloud, n);
  for (int v = 0; v < bases.count; ++v) {
    const Corners c = corners_of(project_point(cloud, bases.views[v], n), bases.h, bases.w, cloud.near);
    const bool some = valid && c.i > -2;
    keys[v * cloud.n + n] = some ? bases.at(v, c.i, c.j) : bases.count * bases.of_view();
    points[v * cloud.n + n] = static_cast<uint32_t>(n);
  }
}

// begins[b]: how many of the sorted keys (n,) lie below b, 0 <= b <= the number of bases.
__global__ void __launch_bounds__(kBaseThreads)
    splat_bilinear_find_lists_kernel(const uint32_t* keys, int64_t n, int64_t num_bases, uint32_t* begins) {
  const int64_t base = static_cast<int64_t>(blockIdx.x) * kBaseThreads + threadIdx.x;
  if (base > num_bases) return;
  int64_t first = 0;
  for (int64_t left = n; left > 0;) {
    const int64_t half = left / 2;
    const bool below = __ldg(keys + first + half) < base;
    first += below ? half + 1 : 0;
    left = below ? left - half - 1 : half;
  }
  begins[base] = static_cast<uint32_t>(first);
}

struct PointsByBase {
  const uint32_t *points, *begins;
};

constexpr uint32_t kNoPoint = ~0u;

// By a warp: the next points of four ascending lists, the smallest 32 of them in ascending order.
struct Merger {
  struct Shared {
    uint32_t ahead[4][kWarp];
    uint32_t merged[kWarp];
    int32_t corner[kWarp];
  };
  const PointsByBase& by_base;
  Shared& shared;
  uint32_t begin[4], end[4];

  // List q holds the points whose corner q is cell (i, j).
  __device__ __forceinline__ Merger(const PointsByBase& by_base_, const BasesOfViews& bases, uint32_t view, int i,
                                    int j, Shared& shared_)
      : by_base(by_base_), shared(shared_) {
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const uint32_t base = bases.at(view, i - q / 2, j - q % 2);
      begin[q] = __ldg(by_base.begins + base);
      end[q] = __ldg(by_base.begins + base + 1);
    }
  }

  __device__ __forceinline__ int below(int q, uint32_t point) const {  // how many of list q's next 32
    const uint32_t* ahead = shared.ahead[q];
    int count = 0;
#pragma unroll
    for (int step = kWarp / 2; step > 0; step /= 2)
      if (ahead[count + step - 1] < point) count += step;
    return count + (ahead[count] < point);
  }

  // Returns how many there are; lane k has the k-th, and the corner of it that is the cell.
  __device__ __forceinline__ int next(uint32_t& point, int& corner) {
    const int lane = threadIdx.x % kWarp;
    __syncwarp();
#pragma unroll
    for (int q = 0; q < 4; ++q)
      shared.ahead[q][lane] = begin[q] + lane < end[q] ? __ldg(by_base.points + begin[q] + lane) : kNoPoint;
    __syncwarp();
    int total = 0;
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const uint32_t own = shared.ahead[q][lane];
      int rank = lane;
#pragma unroll
      for (int other = 0; other < 4; ++other)
        if (other != q) rank += below(other, own);
      const bool taken = own != kNoPoint && rank < kWarp;
      if (taken) {
        shared.merged[rank] = own;
        shared.corner[rank] = q;
      }
      const int count = __popc(__ballot_sync(kAllLanes, taken));
      begin[q] += count;
      total += count;
    }
    __syncwarp();
    point = lane < total ? shared.merged[lane] : kNoPoint;
    corner = lane < total ? shared.corner[lane] : 0;
    return total;
  }
};

struct BlendedCells {  // (V, h w) each
  uint64_t* index;  // in: keys
  float *depth, *weight;
  float band;
};

// The sums of a cell: of weights, and of weight times feature. Rows begin at the channel wanted.
template <class T>
__device__ __forceinline__ float blend_cell(const Cloud& cloud, const CameraOfView& view, Merger merger, int h, int w,
                                            float limit, const T* rows, int64_t channels, SumOfRows& sum) {
  float weights = 0.0f;
  uint32_t point;
  int corner;
  while (merger.next(point, corner) > 0) {
    float weight = 0.0f;
    bool blends = point != kNoPoint;
    if (blends) {
      const Projection p = project_point(cloud, view, point);
      const BilinearTap tap = bilinear_tap(corners_of(p, h, w, cloud.near), corner, h, w);
      weight = tap.weight;
      blends = tap.cell >= 0 && p.z <= limit;
    }
#pragma unroll 2
    for (unsigned left = __ballot_sync(kAllLanes, blends); left; left &= left - 1) {
      const int k = __ffs(static_cast<int>(left)) - 1;
      const float of_point = __shfl_sync(kAllLanes, weight, k);
      weights += of_point;
      sum.add(of_point, rows + static_cast<int64_t>(__shfl_sync(kAllLanes, point, k)) * channels);
    }
  }
  return weights;
}

// A warp blends one cell after the other into the block's tile, once for every batch of channels.
template <class T>
__global__ void __launch_bounds__(kTileThreads, 3)
    splat_bilinear_blend_kernel(Cloud cloud, BasesOfViews bases, PointsByBase by_base, Features f, const T* rows,
                                BlendedCells out, T* maps) {
  MIRAGE_DYNAMIC_SHARED(T, tile);
  __shared__ Merger::Shared shared[kTileWarps];
  __shared__ float nearest[kTileCells], weights[kTileCells];
  __shared__ unsigned ballots[2];
  const int64_t cells = static_cast<int64_t>(bases.h) * bases.w;
  const TileLocation<kTileCells> location(cells);
  const int64_t at = location.b * cells + location.first + threadIdx.x;
  const bool in_bounds = static_cast<int>(threadIdx.x) < location.count;
  const NearestPoint point = decode_key(in_bounds ? out.index[at] : kEmptyKey);
  if (threadIdx.x < kTileCells) nearest[threadIdx.x] = point.depth;
  __syncthreads();
  for (int64_t c = 0; c == 0 || c < f.channels; c += kChannelBatch) {
    const TileOfFeatures t = tile_of(f, location, cells, c);
    for (int k = threadIdx.x / kWarp; k < location.count; k += kTileWarps) {
      const int cell = location.first + k;
      const float limit = blend_limit(nearest[k], out.band);
      SumOfRows sum(f.channels - c);
      float total = 0.0f;
      if (limit > 0.0f) {
        const Merger merger(by_base, bases, static_cast<uint32_t>(location.b), cell / bases.w, cell % bases.w,
                            shared[threadIdx.x / kWarp]);
        total = blend_cell(cloud, bases.views[location.b], merger, bases.h, bases.w, limit, rows + c, f.channels, sum);
      }
      sum.each([&](int channel, float& of) { from_float(of / total, tile + k * t.depth + channel); });
      if (threadIdx.x % kWarp == 0) weights[k] = total;
    }
    __syncthreads();
    const bool covered = in_bounds && is_covered(weights[threadIdx.x]);
    if (c == 0 && in_bounds) {
      const BlendedCell cell = finish_cell(point.index, point.depth, weights[threadIdx.x]);
      out.index[at] = static_cast<uint64_t>(cell.index);
      out.depth[at] = cell.depth;
      out.weight[at] = cell.weight;
    }
    const uint64_t all_covered = broadcast_valid(covered, ballots);
    tile_to_maps(t, tile, all_covered, maps + location.b * f.channels * cells);
    __syncthreads();
  }
}

}  // namespace
}  // namespace mirage
