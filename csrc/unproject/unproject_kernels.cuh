// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/device.h"
#include "common/feature_tile.cuh"
#include "unproject/unproject.h"

namespace mirage {
namespace {

constexpr int kHeld = 8;  // pixels of a cell that a lane holds: 16 x 16 in all; it comes back for those beyond

// The pixels of one cell in the lanes of a warp, in row-major order: lane l has l, l + 32, ... For select_rank.
struct CellOfWarp {
  const DepthMap& map;
  PixelRange rows, columns;
  int32_t pixels, masked;
  uint32_t held[kHeld];  // what lies beyond the last pixel is kUnusable

  __device__ __forceinline__ CellOfWarp(const DepthMap& map_, PixelRange rows_, PixelRange columns_)
      : map(map_), rows(rows_), columns(columns_) {
    const int32_t n = columns.last - columns.first, lane = threadIdx.x % kWarp;
    pixels = (rows.last - rows.first) * n;
    const bool any = pixels > 0;
    const int32_t down = any ? kWarp / n : 0, across = any ? kWarp % n : 0;
    int32_t r = any ? lane / n : 0, c = any ? lane % n : 0;
    unsigned out = 0;
#pragma unroll
    for (int k = 0; k < kHeld;
         ++k) {  // a step of a warp's width is `down` rows and `across` columns, without a division
      held[k] = kUnusable;
      if (kWarp * k + lane < pixels) {
        const int64_t at = (rows.first + r) * map.width + columns.first + c;
        held[k] = sortable(float_bits(__ldg(map.depth + at)));
        if (map.mask && map.mask[at] != 0) {
          held[k] = kUnusable;
          ++out;
        }
      }
      r += down;
      c += across;
      if (c >= n) {
        c -= n;
        ++r;
      }
    }
    if (map.mask) {
#pragma unroll 1
      for (int32_t k = kHeld * kWarp + lane; k < pixels; k += kWarp) out += map.mask[at(k)] != 0;
    }
    masked = static_cast<int32_t>(__reduce_add_sync(kAllLanes, out));
  }

  __device__ __forceinline__ int64_t at(int32_t k) const {  // in the map
    const int32_t n = columns.last - columns.first;
    return (rows.first + k / n) * map.width + columns.first + k % n;
  }

  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
    const int32_t lane = threadIdx.x % kWarp;
#pragma unroll
    for (int k = 0; k < kHeld; ++k) visit(held[k], kWarp * k + lane);
#pragma unroll 1
    for (int32_t k = kHeld * kWarp + lane; k < pixels; k += kWarp) visit(pixel_at(map, at(k)), k);
  }

  // Here kUnusable also stands for lanes without a pixel, so the bound must lie below it, as select_rank's do.
  __device__ __forceinline__ int32_t count_up_to(uint32_t bound) const {
    unsigned count = 0;
    each([&](uint32_t value, int32_t) { count += value <= bound; });
    return static_cast<int32_t>(__reduce_add_sync(kAllLanes, count));
  }
  __device__ __forceinline__ uint32_t max_up_to(uint32_t bound) const {
    uint32_t best = 0;
    each([&](uint32_t value, int32_t) { best = value <= bound && value > best ? value : best; });
    return __reduce_max_sync(kAllLanes, best);
  }
  __device__ __forceinline__ uint32_t min_above(uint32_t bound) const {
    uint32_t best = kUnusable;
    each([&](uint32_t value, int32_t) { best = value > bound && value < best ? value : best; });
    return __reduce_min_sync(kAllLanes, best);
  }
  __device__ __forceinline__ Split split(uint32_t bound, int32_t rank) const {
    const int32_t up_to = count_up_to(bound);
    return {up_to, up_to > rank ? max_up_to(bound) : min_above(bound)};
  }
  __device__ __forceinline__ int64_t first_pixel_equal(uint32_t wanted) const {  // in the map
    uint32_t first = kUnusable;
    each([&](uint32_t value, int32_t k) {
      if (value == wanted && static_cast<uint32_t>(k) < first) first = static_cast<uint32_t>(k);
    });
    return at(static_cast<int32_t>(__reduce_min_sync(kAllLanes, first)));
  }
};

struct PooledCell {
  float depth;    // 0 where the cell has none
  int64_t pixel;  // that the depth was read from, in the map; -1 where none, or several
};

// By a whole warp; every lane has the result. `pixel` is only searched for with kPixel.
template <bool kPixel>
__device__ __forceinline__ PooledCell pool_cell(const DepthMaps& in, int64_t b, int32_t of_map) {
  const DepthMap map = in.map(b);
  const int32_t i = of_map / static_cast<int32_t>(in.grid.w), j = of_map % static_cast<int32_t>(in.grid.w);
  // Lanes 0 to 3 divide once each: rows from and to, columns from and to.
  const int32_t lane = threadIdx.x % kWarp;
  const int32_t bound = lane < 2 ? first_pixel_of(i + lane, in.grid.h, map.height)
                                 : first_pixel_of(j + lane % 2, in.grid.w, map.width);
  const auto bound_of = [&](int from) { return __shfl_sync(kAllLanes, bound, from); };
  const PixelRange rows{bound_of(0), bound_of(1)}, columns{bound_of(2), bound_of(3)};
  const CellOfWarp cell(map, rows, columns);
  const int32_t valid = cell.count_up_to(kLargest);
  PooledCell pooled{0.0f, -1};
  if (!enough(valid, cell.masked, cell.pixels, in.rule.min_valid, in.rule.max_masked)) return pooled;
  if (in.rule.pooling == Pooling::kBilinear) {
    pooled.depth = interpolate_depth(map, taps_of(i, in.grid.h, map.height), taps_of(j, in.grid.w, map.width));
  } else if (in.rule.pooling == Pooling::kNearest) {
    const int64_t at = pixel_under_cell(map, in.grid, i, j);
    const uint32_t value = pixel_at(map, at);
    if (value != kUnusable) pooled = {bits_float(value), at};
  } else {
    const uint32_t lowest = cell.min_above(0);
    const uint32_t value = in.rule.pooling == Pooling::kMin
                               ? lowest
                               : select_rank<0>(lowest, cell.max_up_to(kLargest), (valid - 1) / 2, valid, cell);
    pooled.depth = bits_float(value);
    if (kPixel) pooled.pixel = cell.first_pixel_equal(value);
  }
  return pooled;
}

struct LiftedCells {
  float* xyz;        // (N, 3)
  uint8_t* valid;    // (N,)
  float* footprint;  // (N,)
};

// A warp pools one cell after the other, a thread lifts one cell, and all threads move the features.
template <class Word>
__global__ void __launch_bounds__(kTileThreads)
    unproject_lift_kernel(DepthMaps in, Features f, const Word* features, LiftedCells out, Word* rows) {
  MIRAGE_DYNAMIC_SHARED(Word, tile);
  __shared__ float depth[kTileCells];
  __shared__ unsigned ballots[2];
  const TileLocation<kTileCells> location(in.cells());
#pragma unroll 1
  for (int k = threadIdx.x / kWarp; k < location.count; k += kTileWarps) {
    const PooledCell pooled = pool_cell<false>(in, location.b, location.first + k);
    if (threadIdx.x % kWarp == 0) depth[k] = pooled.depth;
  }
  __syncthreads();
  const int64_t n = location.b * in.cells() + location.first;
  bool valid = false;
  if (static_cast<int>(threadIdx.x) < location.count) {
    const int32_t cell = location.first + static_cast<int32_t>(threadIdx.x), w = static_cast<int32_t>(in.grid.w);
    const int64_t at = n + threadIdx.x;
    const LiftedCell lifted = lift_cell(in.pose(location.b), in.pinhole(location.b), cell / w, cell % w,
                                        depth[threadIdx.x]);
    out.xyz[3 * at] = lifted.x;
    out.xyz[3 * at + 1] = lifted.y;
    out.xyz[3 * at + 2] = lifted.z;
    out.footprint[at] = lifted.footprint;
    out.valid[at] = lifted.valid;
    valid = lifted.valid;
  }
  const uint64_t all_valid = broadcast_valid(valid, ballots);
  for (int64_t c = 0; c < f.channels; c += f.depth) {
    const TileOfFeatures t = tile_of(f, location, in.cells(), c);
    maps_to_tile(t, features + location.b * f.channels * in.cells(), all_valid, tile);
    __syncthreads();
    tile_to_rows(t, tile, rows + n * f.channels);
    __syncthreads();
  }
}

template <class Word>
__global__ void __launch_bounds__(kTileThreads)
    unproject_backward_features_kernel(Features f, int64_t cells, const Word* grad, const uint8_t* valid, Word* out) {
  MIRAGE_DYNAMIC_SHARED(Word, tile);
  __shared__ unsigned ballots[2];
  const TileLocation<kTileCells> location(cells);
  const int64_t n = location.b * cells + location.first;
  const bool own = static_cast<int>(threadIdx.x) < location.count && valid[n + threadIdx.x] != 0;
  const uint64_t all_valid = broadcast_valid(own, ballots);
  for (int64_t c = 0; c < f.channels; c += f.depth) {
    const TileOfFeatures t = tile_of(f, location, cells, c);
    rows_to_tile(t, grad + n * f.channels, tile);
    __syncthreads();
    tile_to_maps(t, tile, all_valid, out + location.b * f.channels * cells);
    __syncthreads();
  }
}

struct GradientOfCells {
  const float *xyz, *footprint;  // (N, 3), (N,)
  const uint8_t* valid;          // (N,)
};

__device__ __forceinline__ float depth_backward(const DepthMaps& in, const GradientOfCells& g, int64_t b,
                                                int32_t of_map) {
  const int32_t w = static_cast<int32_t>(in.grid.w);
  const int64_t n = b * in.cells() + of_map;
  return lift_cell_backward(in.pose(b), in.pinhole(b), of_map / w, of_map % w, g.xyz[3 * n], g.xyz[3 * n + 1],
                            g.xyz[3 * n + 2], g.footprint[n]);
}

// One warp per cell. A pixel is that of one valid cell at most: the one it belongs to. `out` is all 0.
__global__ void __launch_bounds__(kTileThreads)
    unproject_backward_depth_kernel(DepthMaps in, GradientOfCells g, float* out) {
  const TileLocation<kTileWarps> location(in.cells());
  const int32_t warp = threadIdx.x / kWarp, of_map = location.first + warp;
  if (warp >= location.count || g.valid[location.b * in.cells() + of_map] == 0) return;
  const PooledCell pooled = pool_cell<true>(in, location.b, of_map);
  if (threadIdx.x % kWarp == 0 && pooled.pixel >= 0)
    out[location.b * in.height * in.width + pooled.pixel] = 0.0f + depth_backward(in, g, location.b, of_map);
}

__global__ void __launch_bounds__(kTileThreads)
    unproject_backward_cells_kernel(DepthMaps in, GradientOfCells g, float* dz) {
  const TileLocation<kTileThreads> location(in.cells());
  const int32_t thread = threadIdx.x, of_map = location.first + thread;
  if (thread < location.count) dz[location.b * in.cells() + of_map] = depth_backward(in, g, location.b, of_map);
}

struct CellRun {
  int32_t first, last;  // first .. last - 1
};

// The cells that may have a tap in pixel r: those whose center is within a pixel of its own, and two more either side.
__device__ __forceinline__ CellRun cells_near(int64_t r, int64_t cells, int64_t pixels) {
  const int64_t before = (2 * r - 1) * cells / pixels / 2 - 2, after = (2 * r + 3) * cells / pixels / 2 + 2;
  return {static_cast<int32_t>(r == 0 || before < 0 ? 0 : before),
          static_cast<int32_t>(r == pixels - 1 || after > cells ? cells : after)};
}

// One thread per pixel: the sum over cells in their order, and over the taps of each in theirs.
__global__ void __launch_bounds__(kTileThreads)
    unproject_gather_taps_kernel(DepthMaps in, const float* dz, const uint8_t* valid, float* out) {
  const TileLocation<kTileThreads> location(in.height * in.width);
  if (static_cast<int32_t>(threadIdx.x) >= location.count) return;
  const int32_t pixel = location.first + static_cast<int32_t>(threadIdx.x), width = static_cast<int32_t>(in.width);
  const int32_t r = pixel / width, c = pixel % width;
  const CellRun near_rows = cells_near(r, in.grid.h, in.height), near_columns = cells_near(c, in.grid.w, in.width);
  float sum = 0.0f;
  for (int32_t i = near_rows.first; i < near_rows.last; ++i) {
    const Taps down = taps_of(i, in.grid.h, in.height);
    if (down.first != r && down.second != r) continue;
    for (int32_t j = near_columns.first; j < near_columns.last; ++j) {
      const int64_t cell = location.b * in.cells() + i * in.grid.w + j;
      const Taps across = taps_of(j, in.grid.w, in.width);
      if (valid[cell] == 0 || (across.first != c && across.second != c)) continue;
      for_each_tap(down, across, [&](int32_t row, int32_t column, float along_row, float along_column) {
        if (row == r && column == c) sum += dz[cell] * (along_row * along_column);
      });
    }
  }
  out[location.b * in.height * in.width + pixel] = sum;
}

}  // namespace
}  // namespace mirage
