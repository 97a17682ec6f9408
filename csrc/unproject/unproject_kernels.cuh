// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/device.h"
#include "common/feature_tile.cuh"
#include "unproject/unproject.h"

// B depth maps (H, W), features (B, C, h, w), N = B h w cells, batch-major and row-major.
namespace mirage {
namespace {

constexpr int kHeld = 8;  // pixels of a cell that a lane holds: 16 x 16 in all; it comes back for those beyond

struct MapsOfDepth {
  const float* depth;   // (B, H, W)
  const uint8_t* mask;  // (B, H, W) or null
  const float *intrinsics, *cam2world;
  int64_t height, width;
  Grid grid;
  PoolRule rule;

  __device__ __forceinline__ int64_t cells() const { return grid.h * grid.w; }
  __device__ __forceinline__ DepthMap map(int64_t b) const {
    const int64_t at = b * height * width;
    return {depth + at, mask ? mask + at : nullptr, height, width};
  }
  __device__ __forceinline__ Rigid pose(int64_t b) const { return load_rigid(cam2world + 16 * b); }
  __device__ __forceinline__ Pinhole pinhole(int64_t b) const { return load_pinhole(intrinsics + 9 * b); }
};

__device__ __forceinline__ uint32_t pixel_at(const DepthMap& map, int64_t at) {
  return map.mask && map.mask[at] != 0 ? kUnusable : sortable(float_bits(map.depth[at]));
}

// The pixels of one cell in the lanes of a warp, in row-major order: lane l has l, l + 32, ... What select_rank asks.
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
    for (int k = 0; k < kHeld; ++k) {  // a step of a warp's width is `down` rows and `across` columns, without a division
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
  __device__ __forceinline__ int32_t at_most(uint32_t bound) const {
    unsigned count = 0;
    each([&](uint32_t value, int32_t) { count += value <= bound; });
    return static_cast<int32_t>(__reduce_add_sync(kAllLanes, count));
  }
  __device__ __forceinline__ uint32_t greatest_up_to(uint32_t bound) const {
    uint32_t best = 0;
    each([&](uint32_t value, int32_t) { best = value <= bound && value > best ? value : best; });
    return __reduce_max_sync(kAllLanes, best);
  }
  __device__ __forceinline__ uint32_t least_above(uint32_t bound) const {
    uint32_t best = kUnusable;
    each([&](uint32_t value, int32_t) { best = value > bound && value < best ? value : best; });
    return __reduce_min_sync(kAllLanes, best);
  }
  __device__ __forceinline__ Split split(uint32_t bound, int32_t rank) const {
    const int32_t up_to = at_most(bound);
    return {up_to, up_to > rank ? greatest_up_to(bound) : least_above(bound)};
  }
  __device__ __forceinline__ int64_t first_that_is(uint32_t wanted) const {  // in the map
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

__device__ __forceinline__ float bilinear(const DepthMap& map, const Taps& down, const Taps& across) {
  const auto tap = [&](int64_t r, int64_t c) {
    const uint32_t value = pixel_at(map, r * map.width + c);
    return value == kUnusable ? 0.0f : bits_float(value);
  };
  const float d00 = tap(down.first, across.first), d01 = tap(down.first, across.second);
  const float d10 = tap(down.second, across.first), d11 = tap(down.second, across.second);
  const bool all = (d00 > 0.0f) & (d01 > 0.0f) & (d10 > 0.0f) & (d11 > 0.0f);
  return all ? blend(d00, d01, d10, d11, across.weight, down.weight) : 0.0f;
}

// By a whole warp; every lane has the result. `pixel` is looked for only where it is wanted.
template <bool kPixel>
__device__ __forceinline__ PooledCell pool_cell(const MapsOfDepth& in, int64_t b, int32_t of_map) {
  const DepthMap map = in.map(b);
  const int32_t i = of_map / static_cast<int32_t>(in.grid.w), j = of_map % static_cast<int32_t>(in.grid.w);
  // Lanes 0 to 3 divide once each: rows from and to, columns from and to.
  const int32_t lane = threadIdx.x % kWarp;
  const int32_t bound = lane < 2 ? first_pixel_of(i + lane, in.grid.h, map.height)
                                 : first_pixel_of(j + lane % 2, in.grid.w, map.width);
  const auto bound_of = [&](int from) { return __shfl_sync(kAllLanes, bound, from); };
  const PixelRange rows{bound_of(0), bound_of(1)}, columns{bound_of(2), bound_of(3)};
  const CellOfWarp cell(map, rows, columns);
  const int32_t valid = cell.at_most(kLargest);
  PooledCell pooled{0.0f, -1};
  if (!enough(valid, cell.masked, cell.pixels, in.rule.min_valid, in.rule.max_masked)) return pooled;
  if (in.rule.pooling == Pooling::kBilinear) {
    pooled.depth = bilinear(map, taps_of(i, in.grid.h, map.height), taps_of(j, in.grid.w, map.width));
  } else if (in.rule.pooling == Pooling::kNearest) {
    const int64_t at = static_cast<int64_t>(pixel_under(i, in.grid.h, map.height)) * map.width +
                       pixel_under(j, in.grid.w, map.width);
    const uint32_t value = pixel_at(map, at);
    if (value != kUnusable) pooled = {bits_float(value), at};
  } else {
    const uint32_t least = cell.least_above(0);
    const uint32_t value = in.rule.pooling == Pooling::kMin
                               ? least
                               : select_rank<0>(least, cell.greatest_up_to(kLargest), (valid - 1) / 2, valid, cell);
    pooled.depth = bits_float(value);
    if (kPixel) pooled.pixel = cell.first_that_is(value);
  }
  return pooled;
}

struct LiftedCells {
  float* xyz;        // (N, 3)
  uint8_t* valid;    // (N,)
  float* footprint;  // (N,)
};

// A warp pools one cell after the other, a thread lifts one cell, all of them move the features.
template <class Word>
__global__ void __launch_bounds__(kTileThreads)
    unproject_tile(MapsOfDepth in, Features f, const Word* features, LiftedCells out, Word* rows) {
  MIRAGE_DYNAMIC_SHARED(Word, tile);
  __shared__ float depth[kTileCells];
  __shared__ unsigned ballots[2];
  const Place<kTileCells> place(in.cells());
#pragma unroll 1
  for (int k = threadIdx.x / kWarp; k < place.count; k += kTileWarps) {
    const PooledCell pooled = pool_cell<false>(in, place.b, place.first + k);
    if (threadIdx.x % kWarp == 0) depth[k] = pooled.depth;
  }
  __syncthreads();
  const int64_t n = place.b * in.cells() + place.first;
  bool valid = false;
  if (static_cast<int>(threadIdx.x) < place.count) {
    const int32_t cell = place.first + static_cast<int32_t>(threadIdx.x), w = static_cast<int32_t>(in.grid.w);
    const int64_t at = n + threadIdx.x;
    const LiftedCell lifted =
        lift_cell(in.pose(place.b), in.pinhole(place.b), cell / w, cell % w, depth[threadIdx.x]);
    out.xyz[3 * at] = lifted.x;
    out.xyz[3 * at + 1] = lifted.y;
    out.xyz[3 * at + 2] = lifted.z;
    out.footprint[at] = lifted.footprint;
    out.valid[at] = lifted.valid;
    valid = lifted.valid;
  }
  const uint64_t all_valid = share_valid(valid, ballots);
  for (int64_t c = 0; c < f.channels; c += f.depth) {
    const TileOfFeatures t = tile_of(f, place, in.cells(), c);
    maps_to_tile(t, features + place.b * f.channels * in.cells(), all_valid, tile);
    __syncthreads();
    tile_to_rows(t, tile, rows + n * f.channels);
    __syncthreads();
  }
}

template <class Word>
__global__ void __launch_bounds__(kTileThreads)
    unproject_features_backward(Features f, int64_t cells, const Word* grad, const uint8_t* valid, Word* out) {
  MIRAGE_DYNAMIC_SHARED(Word, tile);
  __shared__ unsigned ballots[2];
  const Place<kTileCells> place(cells);
  const int64_t n = place.b * cells + place.first;
  const bool mine = static_cast<int>(threadIdx.x) < place.count && valid[n + threadIdx.x] != 0;
  const uint64_t all_valid = share_valid(mine, ballots);
  for (int64_t c = 0; c < f.channels; c += f.depth) {
    const TileOfFeatures t = tile_of(f, place, cells, c);
    rows_to_tile(t, grad + n * f.channels, tile);
    __syncthreads();
    tile_to_maps(t, tile, all_valid, out + place.b * f.channels * cells);
    __syncthreads();
  }
}

struct GradientOfCells {
  const float *xyz, *footprint;  // (N, 3), (N,)
  const uint8_t* valid;          // (N,)
};

__device__ __forceinline__ float depth_backward(const MapsOfDepth& in, const GradientOfCells& g, int64_t b,
                                                int32_t of_map) {
  const int32_t w = static_cast<int32_t>(in.grid.w);
  const int64_t n = b * in.cells() + of_map;
  return lift_cell_backward(in.pose(b), in.pinhole(b), of_map / w, of_map % w, g.xyz[3 * n], g.xyz[3 * n + 1],
                            g.xyz[3 * n + 2], g.footprint[n]);
}

// A warp a cell. Every pixel is that of one valid cell at most: the one it belongs to. `out` is clear.
__global__ void __launch_bounds__(kTileThreads)
    unproject_depth_backward(MapsOfDepth in, GradientOfCells g, float* out) {
  const Place<kTileWarps> place(in.cells());
  const int32_t warp = threadIdx.x / kWarp, of_map = place.first + warp;
  if (warp >= place.count || g.valid[place.b * in.cells() + of_map] == 0) return;
  const PooledCell pooled = pool_cell<true>(in, place.b, of_map);
  if (threadIdx.x % kWarp == 0 && pooled.pixel >= 0)
    out[place.b * in.height * in.width + pooled.pixel] = 0.0f + depth_backward(in, g, place.b, of_map);
}

__global__ void __launch_bounds__(kTileThreads)
    unproject_cells_backward(MapsOfDepth in, GradientOfCells g, float* dz) {
  const Place<kTileThreads> place(in.cells());
  const int32_t thread = threadIdx.x, of_map = place.first + thread;
  if (thread < place.count) dz[place.b * in.cells() + of_map] = depth_backward(in, g, place.b, of_map);
}

struct CellRun {
  int32_t first, last;  // first .. last - 1
};

// The cells that may have a tap in pixel r: those whose centre lies within a pixel of its own, and two more either side.
__device__ __forceinline__ CellRun cells_near(int64_t r, int64_t cells, int64_t pixels) {
  const int64_t before = (2 * r - 1) * cells / pixels / 2 - 2, after = (2 * r + 3) * cells / pixels / 2 + 2;
  return {static_cast<int32_t>(r == 0 || before < 0 ? 0 : before),
          static_cast<int32_t>(r == pixels - 1 || after > cells ? cells : after)};
}

// A thread a pixel: the sum over cells in their order, and over the taps of each in theirs.
__global__ void __launch_bounds__(kTileThreads)
    unproject_bilinear_backward(MapsOfDepth in, const float* dz, const uint8_t* valid, float* out) {
  const Place<kTileThreads> place(in.height * in.width);
  if (static_cast<int32_t>(threadIdx.x) >= place.count) return;
  const int32_t pixel = place.first + static_cast<int32_t>(threadIdx.x), width = static_cast<int32_t>(in.width);
  const int32_t r = pixel / width, c = pixel % width;
  const CellRun near_rows = cells_near(r, in.grid.h, in.height), near_columns = cells_near(c, in.grid.w, in.width);
  float sum = 0.0f;
  for (int32_t i = near_rows.first; i < near_rows.last; ++i) {
    const Taps down = taps_of(i, in.grid.h, in.height);
    if (down.first != r && down.second != r) continue;
    for (int32_t j = near_columns.first; j < near_columns.last; ++j) {
      const int64_t cell = place.b * in.cells() + i * in.grid.w + j;
      const Taps across = taps_of(j, in.grid.w, in.width);
      if (valid[cell] == 0 || (across.first != c && across.second != c)) continue;
      const float left = 1.0f - across.weight, top = 1.0f - down.weight;
      if (down.first == r && across.first == c) sum += dz[cell] * (left * top);
      if (down.first == r && across.second == c) sum += dz[cell] * (across.weight * top);
      if (down.second == r && across.first == c) sum += dz[cell] * (left * down.weight);
      if (down.second == r && across.second == c) sum += dz[cell] * (across.weight * down.weight);
    }
  }
  out[place.b * in.height * in.width + pixel] = sum;
}

}  // namespace
}  // namespace mirage
