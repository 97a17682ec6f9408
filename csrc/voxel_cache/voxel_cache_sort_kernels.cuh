// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/device.h"
#include "common/float16.h"
#include "voxel_cache/voxel_cache.h"

// N points by Morton code and then index. A few are sorted here, in two launches: tiles in shared memory, then the
// rank of every point in all other tiles. That is quadratic; CUB sorts many.
namespace mirage {
namespace {

constexpr int kTile = 1024;  // points
constexpr int kRankThreads = 128;
constexpr int kSearches = 4;  // of a thread at a time

struct CountsOfTiles {
  Word64* of_tiles;  // (T,): how many points of a tile are kept, times 2^32, and how many are rejected
  unsigned* done;    // tiles that voxel_cache_mark_kernel has finished
};

struct SortedPoints {
  const Word64* codes;    // (N,), kDropped from K on
  const uint32_t* order;  // (N,)
  int64_t n;
};

template <class T>
__device__ __forceinline__ bool are_in_range(const T* features, const CachePoints& p, int64_t point, bool wanted) {
  const int lane = threadIdx.x % kWarp;
  const unsigned all_wanted = __ballot_sync(kAllLanes, wanted);
  unsigned rejected = 0;  // bit k: the point of lane k
#pragma unroll 4
  for (int k = 0; k < kWarp; ++k) {
    if (!(all_wanted >> k & 1)) continue;
    const T* row = features + (point - lane + k) * p.channels;
    for (int64_t c = lane; c < p.channels; c += kWarp)
      rejected |= static_cast<unsigned>(magnitude_bits(to_float(row[c])) >= p.rejected_from) << k;
  }
  return (__reduce_or_sync(kAllLanes, rejected) >> lane & 1) == 0;
}

// Whether no feature of the points of a warp's lanes is too large, or not finite; a warp reads one row after the other. The lanes take
// consecutive points, and all of them call it. Only points that are `wanted` are read.
__device__ __forceinline__ bool has_features_in_range(const CachePoints& p, int64_t point, bool wanted) {
  switch (p.element) {
    case Element::kBFloat16: return are_in_range(static_cast<const BFloat16*>(p.features), p, point, wanted);
    case Element::kFloat16: return are_in_range(static_cast<const Float16*>(p.features), p, point, wanted);
    default: return are_in_range(static_cast<const float*>(p.features), p, point, wanted);
  }
}

// The Morton code of a thread's point, kDropped where it is not kept or beyond the last. A block takes a tile.
__device__ __forceinline__ Word64 encode_point(const CachePoints& p, int64_t i, int64_t n,
                                               const CountsOfTiles& counts) {
  bool valid = false;
  Word64 code = kDropped;
  if (i < n) {
    const float* xyz = p.xyz + 3 * i;
    const VoxelAxes axes{voxel_axis(__ldg(xyz), p.inverse_size), voxel_axis(__ldg(xyz + 1), p.inverse_size),
                         voxel_axis(__ldg(xyz + 2), p.inverse_size)};
    valid = !p.valid || p.valid[i] != 0;
    const float footprint = p.footprint ? __ldg(p.footprint + i) : p.default_footprint;
    if (valid && is_kept(axes, footprint)) code = morton(axes);
  }
  if (!has_features_in_range(p, i, code != kDropped)) code = kDropped;
  const int kept = __syncthreads_count(code != kDropped);
  const int rejected = __syncthreads_count(valid && code == kDropped);
  if (threadIdx.x == 0) counts.of_tiles[blockIdx.x] = static_cast<Word64>(kept) << 32 | static_cast<unsigned>(rejected);
  if (threadIdx.x == 0 && blockIdx.x == 0) *counts.done = 0;
  return code;
}

__global__ void __launch_bounds__(kTile)
    voxel_cache_encode_kernel(CachePoints p, int64_t n, Word64* codes, uint32_t* order, CountsOfTiles counts) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kTile + threadIdx.x;
  const Word64 code = encode_point(p, i, n, counts);
  if (i >= n) return;
  codes[i] = code;
  order[i] = static_cast<uint32_t>(i);
}

// Whether `other` comes before `code`; ties: whether it is `earlier`.
__device__ __forceinline__ bool comes_before(Word64 other, Word64 code, bool earlier) {
  return earlier ? other <= code : other < code;
}

// Sorts a tile's codes and the indices of its points by merging runs of 1, 2, 4, ... Every thread finds the position of
// its point, behind those of the other run that come before it. T tiles; beyond the last point the tile is filled up.
__global__ void __launch_bounds__(kTile)
    voxel_cache_sort_tiles_kernel(CachePoints p, int64_t n, Word64* codes, uint32_t* order, CountsOfTiles counts) {
  __shared__ Word64 merged[2][kTile];
  __shared__ uint16_t origins[2][kTile];
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTile;
  const int at = threadIdx.x;
  Word64 code = encode_point(p, first + at, n, counts);
  int origin = at;
  merged[0][at] = code;
  __syncthreads();
  for (int run = 1, now = 0; run < kTile; run *= 2, now ^= 1) {
    const bool later = at & run;
    const Word64* other = &merged[now][(at & ~(2 * run - 1)) + (later ? 0 : run)];
    int before = 0;
    for (int step = run / 2; step > 0; step /= 2)
      before += comes_before(other[before + step - 1], code, later) ? step : 0;
    before += comes_before(other[before], code, later);
    const int to = (at & ~(2 * run - 1)) + (at & (run - 1)) + before;
    merged[now ^ 1][to] = code;
    origins[now ^ 1][to] = static_cast<uint16_t>(origin);
    __syncthreads();
    code = merged[now ^ 1][at];
    origin = origins[now ^ 1][at];
  }
  codes[first + at] = code;
  order[first + at] = static_cast<uint32_t>(first + origin);
}

// Tiles (T, kTile) as voxel_cache_sort_tiles_kernel leaves them, into one order.
__global__ void __launch_bounds__(kRankThreads)
    voxel_cache_merge_tiles_kernel(const Word64* tiles, const uint32_t* order_of_tiles, int num_tiles, int64_t n,
                                   Word64* codes, uint32_t* order) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kRankThreads + threadIdx.x;
  const int tile = static_cast<int>(i / kTile);
  const Word64 code = tiles[i];
  int64_t rank = i % kTile;
  for (int first = 0; first < num_tiles; first += kSearches) {
    int before[kSearches] = {};
    const auto goes_past = [&](int k, int at) {
      const int other = min(first + k, num_tiles - 1);
      return comes_before(__ldg(tiles + other * kTile + at), code, other < tile);
    };
#pragma unroll
    for (int step = kTile / 2; step > 0; step /= 2) {
#pragma unroll
      for (int k = 0; k < kSearches; ++k) before[k] += goes_past(k, before[k] + step - 1) ? step : 0;
    }
#pragma unroll
    for (int k = 0; k < kSearches; ++k) {
      before[k] += goes_past(k, before[k]);
      rank += first + k < num_tiles && first + k != tile ? before[k] : 0;
    }
  }
  const uint32_t point = order_of_tiles[i];
  if (point >= n) return;
  codes[rank] = code;
  order[rank] = point;
}

}  // namespace
}  // namespace mirage
