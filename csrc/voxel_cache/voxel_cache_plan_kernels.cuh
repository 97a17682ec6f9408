// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "voxel_cache/voxel_cache_sort_kernels.cuh"

// N points, K of them kept, by Morton code and then index; S segments, of one voxel each. A block takes a tile of them.
namespace mirage {
namespace {

constexpr int kTileWarps = 8;
constexpr int kRounds = 4;  // of a warp's width
static_assert(kTile == kTileWarps * kRounds * kWarp);
constexpr int kShortSegment = 16;  // points that one lane ranks by itself

// What is found at a sorted point: the row of its voxel, or one of these.
constexpr int32_t kNewVoxel = -1, kSameVoxel = -2;

struct Tiles {  // T of them
  Word64* counts;  // (T,): how many segments begin in it, times 2^32, and how many of these are new; then, before it
  Word64* lowest;  // (T,), where all of a tile is one voxel: its lowest rank
};

__device__ __forceinline__ Word64 load_rank(const float* footprint, uint32_t point) {
  return point_rank(__ldg(footprint + point), point);
}

__device__ __forceinline__ Word64 min_of_warp(Word64 x) {
  const unsigned high = __reduce_min_sync(kAllLanes, static_cast<unsigned>(x >> 32));
  const bool first = static_cast<unsigned>(x >> 32) == high;
  const unsigned low = __reduce_min_sync(kAllLanes, first ? static_cast<unsigned>(x) : ~0u);
  return static_cast<Word64>(high) << 32 | low;
}

// The sum over the threads of a block of as many warps as kTileWarps, up to and without this one.
__device__ __forceinline__ Word64 sum_before(Word64 x, Word64 (&of_warps)[kTileWarps], Word64* total) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  Word64 sum = x;
  for (int step = 1; step < kWarp; step *= 2) {
    const Word64 other = __shfl_up_sync(kAllLanes, sum, step);
    sum += lane >= step ? other : 0;
  }
  if (lane == kWarp - 1) of_warps[warp] = sum;
  __syncthreads();
  Word64 before = 0, all = 0;
  for (int w = 0; w < kTileWarps; ++w) {
    before += w < warp ? of_warps[w] : 0;
    all += of_warps[w];
  }
  *total = all;
  return before + sum - x;
}

struct PlanCounts {  // as the host reads them
  Word64 kept, segments, added, rejected;
};

// By the block that is done last: turns every tile's counts into those of the tiles before it, and adds all up.
__device__ __forceinline__ void add_up_tiles(Word64* tiles, const Word64* points_of_tiles, int64_t num_tiles,
                                             Word64 (&of_warps)[kTileWarps], PlanCounts* counts) {
  const int64_t each = (num_tiles + kTileWarps * kWarp - 1) / (kTileWarps * kWarp);
  const int64_t first = min(num_tiles, each * threadIdx.x), last = min(num_tiles, first + each);
  const auto own_sum = [&](const Word64* words) {
    Word64 sum = 0;
#pragma unroll 4
    for (int64_t t = first; t < last; ++t) sum += __ldcg(words + t);
    return sum;
  };
  Word64 total, total_points;
  sum_before(own_sum(points_of_tiles), of_warps, &total_points);
  __syncthreads();
  Word64 before = sum_before(own_sum(tiles), of_warps, &total);
#pragma unroll 1
  for (int64_t t = first; t < last; ++t) {
    const Word64 count = __ldcg(tiles + t);
    tiles[t] = before;
    before += count;
  }
  if (threadIdx.x == 0) *counts = {total_points >> 32, total >> 32, total & 0xffffffffu, total_points & 0xffffffffu};
}

// The lowest rank of a tile that is all one voxel; used by long segments only.
__device__ __forceinline__ void rank_tile(const SortedPoints& p, int64_t first, const float* footprint,
                                          Word64 (&of_warps)[kTileWarps], Word64* lowest) {
  Word64 own = ~Word64{0};
  for (int64_t i = first + threadIdx.x; i < first + kTile; i += kTileWarps * kWarp)
    own = min(own, load_rank(footprint, p.order[i]));
  own = min_of_warp(own);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = own;
  __syncthreads();
  for (int w = 0; w < kTileWarps; ++w) own = min(own, of_warps[w]);
  if (threadIdx.x == 0) *lowest = own;
}

__device__ __forceinline__ bool is_one_voxel(const SortedPoints& p, int64_t first) {
  return first + kTile <= p.n && p.codes[first] != kDropped && p.codes[first] == p.codes[first + kTile - 1];
}

// Finds where voxels begin and which rows hold them, and counts both; `counts` lies in memory of the host. `footprint`
// is null where ranks are not needed.
__global__ void __launch_bounds__(kTileWarps* kWarp)
    voxel_cache_mark_kernel(SortedPoints p, HeldRows held, const float* footprint, int32_t* found, Tiles tiles,
                            CountsOfTiles of_tiles, PlanCounts* counts) {
  __shared__ Word64 of_warps[kTileWarps];
  __shared__ bool last;
  const int lane = threadIdx.x % kWarp;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTile;
  Word64 begun = 0;
  for (int round = 0; round < kRounds; ++round) {
    const int64_t i = first + (threadIdx.x / kWarp * kRounds + round) * kWarp + lane;
    const Word64 code = i < p.n ? p.codes[i] : kDropped;
    const bool begins = code != kDropped && (i == 0 || p.codes[i - 1] != code);
    int32_t row = kSameVoxel;
    if (begins) {
      const VoxelAxes axes = axes_of_morton(code);
      row = held.rows == 0
                ? kNewVoxel
                : find_row(held.table, held.slots, held.keys, held.rows, voxel_key(axes), home_slot(axes, held.slots));
    }
    if (i < p.n) found[i] = row;
    begun += static_cast<Word64>(begins) << 32 | (row == kNewVoxel);
  }
  Word64 total;
  sum_before(begun, of_warps, &total);
  __syncthreads();
  if (footprint && is_one_voxel(p, first)) rank_tile(p, first, footprint, of_warps, tiles.lowest + blockIdx.x);
  if (threadIdx.x == 0) {
    tiles.counts[blockIdx.x] = total;
    __threadfence();
    last = atomicAdd(of_tiles.done, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  add_up_tiles(tiles.counts, of_tiles.of_tiles, gridDim.x, of_warps, counts);
}

// The lowest rank of points begin, begin + 1, ... of K as long as they have this code; by a whole warp.
__device__ __forceinline__ Word64 rank_rest(const SortedPoints& p, int64_t kept, int64_t begin, Word64 code,
                                            const float* footprint, const Word64* lowest_of_tile) {
  Word64 lowest = ~Word64{0};
  bool more = true;
  for (int64_t at = begin - begin % kWarp; more;) {
    if (at % kTile == 0 && at < kept && p.codes[at] == code && is_one_voxel(p, at)) {
      lowest = min(lowest, lowest_of_tile[at / kTile]);
      at += kTile;
      continue;
    }
    const int64_t i = at + threadIdx.x % kWarp;
    const bool same = i < begin || (i < kept && p.codes[i] == code);
    if (same && i >= begin) lowest = min(lowest, load_rank(footprint, p.order[i]));
    more = __all_sync(kAllLanes, same);
    at += kWarp;
  }
  return min_of_warp(lowest);
}

// The winner among a segment's points, in the lane where it begins. All lanes of the warp call it.
__device__ __forceinline__ int32_t pick_winner(const SortedPoints& p, int64_t kept, int64_t i, bool begins,
                                               const float* footprint, const Word64* lowest_of_tile) {
  const Word64 code = begins ? p.codes[i] : kDropped;
  Word64 lowest = begins ? load_rank(footprint, p.order[i]) : 0;
  int64_t next = i + 1;
  bool more = begins && next < kept && p.codes[next] == code;
  for (; more && next < i + kShortSegment; more = next < kept && p.codes[next] == code)
    lowest = min(lowest, load_rank(footprint, p.order[next++]));
  for (unsigned left = __ballot_sync(kAllLanes, more); left; left &= left - 1) {
    const int lane = __ffs(static_cast<int>(left)) - 1;
    const Word64 rest = rank_rest(p, kept, __shfl_sync(kAllLanes, next, lane), __shfl_sync(kAllLanes, code, lane),
                                  footprint, lowest_of_tile);
    if (static_cast<int>(threadIdx.x % kWarp) == lane) lowest = min(lowest, rest);
  }
  return static_cast<int32_t>(lowest);
}

__global__ void __launch_bounds__(kTileWarps* kWarp)
    voxel_cache_plan_kernel(SortedPoints p, int64_t kept, int64_t segments, CachePoints points, Fusion fusion,
                            HeldRows held, const int32_t* found, Tiles tiles, PlanArrays out) {
  __shared__ Word64 of_warps[kTileWarps];
  const int lane = threadIdx.x % kWarp;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTile + threadIdx.x / kWarp * kRounds * kWarp;
  const bool latest = fusion == Fusion::kLatest;
  Word64 of_warp = 0;  // how many segments begin, times 2^32, and how many are new
  for (int round = 0; round < kRounds; ++round) {
    const int64_t i = first + round * kWarp + lane;
    const int32_t row = i < kept ? found[i] : kSameVoxel;
    of_warp += static_cast<Word64>(__popc(__ballot_sync(kAllLanes, row != kSameVoxel))) << 32 |
               __popc(__ballot_sync(kAllLanes, row == kNewVoxel));
  }
  if (lane == 0) of_warps[threadIdx.x / kWarp] = of_warp;
  __syncthreads();
  Word64 before = tiles.counts[blockIdx.x];
  for (int w = 0; w < static_cast<int>(threadIdx.x / kWarp); ++w) before += of_warps[w];
  if (blockIdx.x == 0 && threadIdx.x == 0) close_plan(out, kept, segments);
  for (int round = 0; round < kRounds; ++round) {
    const int64_t i = first + round * kWarp + lane;
    const int32_t at = i < kept ? found[i] : kSameVoxel;
    const bool begins = at != kSameVoxel;
    const unsigned begun = __ballot_sync(kAllLanes, begins), is_new = __ballot_sync(kAllLanes, at == kNewVoxel);
    const unsigned below = (1u << lane) - 1;
    const int64_t s = static_cast<int64_t>(before >> 32) + __popc(begun & below);
    int32_t row = at;
    if (begins) {
      if (at == kNewVoxel)
        row = static_cast<int32_t>(held.rows + static_cast<int64_t>(before & 0xffffffffu) + __popc(is_new & below));
      out.starts[s] = static_cast<int32_t>(i);
      out.key[s] = voxel_key(axes_of_morton(p.codes[i]));
      out.row[s] = row;
    }
    const int32_t point = i < kept ? static_cast<int32_t>(p.order[i]) : -1;
    if (i < kept) out.order[i] = point;
    if (latest) {  // the last point of a segment
      if (i < kept && (i + 1 == kept || p.codes[i + 1] != p.codes[i])) out.winner[s - (begins ? 0 : 1)] = point;
    } else {
      int32_t winner = point;
      if (points.footprint) winner = pick_winner(p, kept, i, begins, points.footprint, tiles.lowest);
      if (begins && at >= 0) {
        const float size = points.footprint ? __ldg(points.footprint + winner) : points.default_footprint;
        winner = winner_over_row(winner, size, held.footprint[row]);
      }
      if (begins) out.winner[s] = winner;
    }
    before += static_cast<Word64>(__popc(begun)) << 32 | __popc(is_new);
  }
}

}  // namespace
}  // namespace mirage
