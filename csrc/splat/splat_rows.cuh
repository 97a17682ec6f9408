// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>

#include "common/feature_tile.cuh"
#include "common/float16.h"
#include "splat/splat.h"

// Sums of rows of features (R, C) in float32, in a stated order, by the lanes of a warp.
namespace mirage {
namespace {

// An unsigned word of the size of one feature.
template <class T>
using WordOf = std::conditional_t<sizeof(T) == sizeof(uint32_t), uint32_t, uint16_t>;

constexpr int kSumsOfLane = 4;
constexpr int kChannelBatch = kSumsOfLane * kWarp;

struct SumOfRows {  // lane l: channels l, l + 32, ... of `count`
  int count;
  float of[kSumsOfLane] = {};

  __device__ __forceinline__ explicit SumOfRows(int64_t channels)
      : count(static_cast<int>(min(channels, int64_t{kChannelBatch}))) {}

  // Calls visit(channel, sum).
  template <class Visit>
  __device__ __forceinline__ void each(const Visit& visit) {
#pragma unroll
    for (int k = 0; k < kSumsOfLane; ++k) {
      const int c = kWarp * k + threadIdx.x % kWarp;
      if (c < count) visit(c, of[k]);
    }
  }
  template <class T>
  __device__ __forceinline__ void add(const T* row) {
    each([&](int c, float& sum) { sum += to_float(row[c]); });
  }
  template <class T>
  __device__ __forceinline__ void add(float weight, const T* row) {
    each([&](int c, float& sum) { sum += weight * to_float(row[c]); });
  }
  template <class T>
  __device__ __forceinline__ void round(T* row) {
    each([&](int c, float& sum) { from_float(sum, row + c); });
  }
};

static_assert(2 * kSumLanes == kWarp);

// The lanes of sum_in_order: those of either half of a warp, which has a sum of its own.
struct HalfWarp {
  float sum = 0.0f;

  template <class Term>
  __device__ __forceinline__ void add(int64_t first, const Term& term) {
    sum += term(first + threadIdx.x % kSumLanes);
  }
  __device__ __forceinline__ float at(int lane) const { return __shfl_sync(kAllLanes, sum, lane, kSumLanes); }
};

constexpr int kRowWarps = 8;
constexpr int kRowThreads = kRowWarps * kWarp;

// maps (V, C, cells) -> rows (V cells, C), so that what belongs to a cell lies together.
template <class Word>
__global__ void __launch_bounds__(kTileThreads)
    splat_transpose_kernel(Features f, int64_t cells, const Word* maps, Word* rows) {
  MIRAGE_DYNAMIC_SHARED(Word, tile);
  const TileLocation<kTileCells> location(cells);
  for (int64_t c = 0; c < f.channels; c += f.depth) {
    const TileOfFeatures t = tile_of(f, location, cells, c);
    maps_to_tile(t, maps + location.b * f.channels * cells, ~uint64_t{0}, tile);
    __syncthreads();
    tile_to_rows(t, tile, rows + (location.b * cells + location.first) * f.channels);
    __syncthreads();
  }
}

}  // namespace
}  // namespace mirage
