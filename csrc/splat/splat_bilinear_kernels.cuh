// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/prepared_views.h"
#include "splat/splat_cloud.h"
#include "splat/splat_rows.cuh"

// mode "bilinear". A point touches up to four cells (i, j) .. (i + 1, j + 1). Points are sorted by the first of these,
// their base, which may lie one beside the grid: (h + 1) (w + 1) bases a view. Within a base they stay in their order,
// so what touches a cell is the merger of four lists.
namespace mirage {
namespace {

constexpr int kBaseThreads = 256;

struct BasesOfViews {  // of some views
  const CameraOfView* views;
  int count, h, w;

  MIRAGE_HD uint32_t of_view() const {
    return (static_cast<uint32_t>(h) + 1) * (static_cast<uint32_t>(w) + 1);
  }
  __device__ __forceinline__ uint32_t at(uint32_t view, int i, int j) const {
    return (view * (static_cast<uint32_t>(h) + 1) + static_cast<uint32_t>(i + 1)) * (static_cast<uint32_t>(w) + 1) +
           static_cast<uint32_t>(j + 1);
  }
};

__device__ __forceinline__ bool is_drawn(const Cloud& cloud, int64_t n) {
  return n < cloud.n && (!cloud.valid || __ldg(cloud.valid + n) != 0);
}

__device__ __forceinline__ Projection project_point(const Cloud& cloud, const CameraOfView& view, int64_t n) {
  const float* at = cloud.xyz + 3 * n;
  return project(view.world2cam, view.pinhole, __ldg(at), __ldg(at + 1), __ldg(at + 2));
}

// (view, point) -> base, or one more than there are; and the point.
__global__ void __launch_bounds__(kBaseThreads)
    find_bases(Cloud cloud, BasesOfViews bases, uint32_t* keys, uint32_t* points) {
  const int64_t n = static_cast<int64_t>(blockIdx.x) * kBaseThreads + threadIdx.x;
  if (n >= cloud.n) return;
  const bool drawn = is_drawn(cloud, n);
  for (int v = 0; v < bases.count; ++v) {
    const Corners c = corners_of(project_point(cloud, bases.views[v], n), bases.h, bases.w);
    const bool some = drawn && c.i > -2;
    keys[v * cloud.n + n] = some ? bases.at(v, c.i, c.j) : bases.count * bases.of_view();
    points[v * cloud.n + n] = static_cast<uint32_t>(n);
  }
}

// begins[b]: how many of the sorted keys (n,) lie below b, 0 <= b <= the number of bases.
__global__ void __launch_bounds__(kBaseThreads)
    find_lists(const uint32_t* keys, int64_t n, int64_t num_bases, uint32_t* begins) {
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

constexpr uint32_t kNobody = ~0u;

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

  // List q holds the points that touch cell (i, j) with their corner q.
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

  // How many there are; lane k has the k-th, and the corner with which it touches the cell.
  __device__ __forceinline__ int next(uint32_t& point, int& corner) {
    const int lane = threadIdx.x % kWarp;
    __syncwarp();
#pragma unroll
    for (int q = 0; q < 4; ++q)
      shared.ahead[q][lane] = begin[q] + lane < end[q] ? __ldg(by_base.points + begin[q] + lane) : kNobody;
    __syncwarp();
    int total = 0;
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const uint32_t mine = shared.ahead[q][lane];
      int rank = lane;
#pragma unroll
      for (int other = 0; other < 4; ++other)
        if (other != q) rank += below(other, mine);
      const bool taken = mine != kNobody && rank < kWarp;
      if (taken) {
        shared.merged[rank] = mine;
        shared.corner[rank] = q;
      }
      const int count = __popc(__ballot_sync(kAllLanes, taken));
      begin[q] += count;
      total += count;
    }
    __syncwarp();
    point = lane < total ? shared.merged[lane] : kNobody;
    corner = lane < total ? shared.corner[lane] : 0;
    return total;
  }
};

struct MixedCells {  // (V, h w) each
  int64_t* index;    // in: keys
  float *depth, *weight;
  float band;
};

// The sums of a cell: of weights, and of weight times feature. Rows begin at the channel wanted.
template <class T>
__device__ __forceinline__ float mix_cell(const Cloud& cloud, const CameraOfView& view, Merger merger, int h, int w,
                                          float limit, const T* rows, int64_t channels, SumOfRows& sum) {
  float weights = 0.0f;
  uint32_t point;
  int corner;
  while (merger.next(point, corner) > 0) {
    float weight = 0.0f;
    bool mixes = point != kNobody;
    if (mixes) {
      const Projection p = project_point(cloud, view, point);
      const Touch t = touch(corners_of(p, h, w), corner, h, w);
      weight = t.weight;
      mixes = t.cell >= 0 && p.z <= limit;
    }
#pragma unroll 2
    for (unsigned left = __ballot_sync(kAllLanes, mixes); left; left &= left - 1) {
      const int k = __ffs(static_cast<int>(left)) - 1;
      const float share = __shfl_sync(kAllLanes, weight, k);
      weights += share;
      sum.add(share, rows + static_cast<int64_t>(__shfl_sync(kAllLanes, point, k)) * channels);
    }
  }
  return weights;
}

// A warp mixes one cell after the other into the block's tile, as often as there are channels for.
template <class T>
__global__ void __launch_bounds__(kTileThreads, 3)
    mix(Cloud cloud, BasesOfViews bases, PointsByBase by_base, Features f, const T* rows, MixedCells out, T* maps) {
  MIRAGE_DYNAMIC_SHARED(T, tile);
  __shared__ Merger::Shared shared[kTileWarps];
  __shared__ float nearest[kTileCells], weights[kTileCells];
  __shared__ unsigned ballots[2];
  const int64_t cells = static_cast<int64_t>(bases.h) * bases.w;
  const Place<kTileCells> place(cells);
  const int64_t at = place.b * cells + place.first + threadIdx.x;
  const bool mine = static_cast<int>(threadIdx.x) < place.count;
  const int64_t key = mine ? out.index[at] : -1;
  if (threadIdx.x < kTileCells) nearest[threadIdx.x] = key >= 0 ? key_depth(key) : bits_float(0x7f800000u);
  __syncthreads();
  for (int64_t c = 0; c == 0 || c < f.channels; c += kChannelsAtOnce) {
    const TileOfFeatures t = tile_of(f, place, cells, c);
    for (int k = threadIdx.x / kWarp; k < place.count; k += kTileWarps) {
      const int cell = place.first + k;
      const float limit = blend_limit(nearest[k], out.band);
      SumOfRows sum(f.channels - c);
      float total = 0.0f;
      if (limit > 0.0f) {
        const Merger merger(by_base, bases, static_cast<uint32_t>(place.b), cell / bases.w, cell % bases.w,
                            shared[threadIdx.x / kWarp]);
        total = mix_cell(cloud, bases.views[place.b], merger, bases.h, bases.w, limit, rows + c, f.channels, sum);
      }
      sum.each([&](int channel, float& of) { from_float(of / total, tile + k * t.depth + channel); });
      if (threadIdx.x % kWarp == 0) weights[k] = total;
    }
    __syncthreads();
    const bool known = mine && weights[threadIdx.x] > kLeastWeight;
    if (c == 0 && mine) {
      out.index[at] = known ? key_index(key) : -1;
      out.depth[at] = known ? nearest[threadIdx.x] : bits_float(0x7f800000u);
      out.weight[at] = known ? weights[threadIdx.x] : 0.0f;
    }
    const uint64_t all_known = share_valid(known, ballots);
    tile_to_maps(t, tile, all_known, maps + place.b * f.channels * cells);
    __syncthreads();
  }
}

}  // namespace
}  // namespace mirage
