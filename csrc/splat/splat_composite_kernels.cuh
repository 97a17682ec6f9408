// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat_cells.cuh"
#include "splat/splat_composite.h"
#include "splat/splat_rows.cuh"

// composite and its gradients. N points, V views, k layers, C channels, grid (h, w).
namespace mirage {
namespace {

// A warp blends the rows of features (N, C) in one cell after the other; maps (V, C, cells).
template <class T>
__global__ void __launch_bounds__(kTileThreads, 4)
    splat_composite_kernel(Features f, CompositeLayers in, const T* rows, WordOf<T>* maps) {
  MIRAGE_DYNAMIC_SHARED(WordOf<T>, tile);
  const TileLocation<kTileCells> location(in.cells);
  for (int64_t c0 = 0; c0 < f.channels; c0 += f.depth) {
    const TileOfFeatures t = tile_of(f, location, in.cells, c0);
    for (int cell = threadIdx.x / kWarp; cell < t.count; cell += kTileWarps) {
      const CellLayers layers = in.of(location.b * in.cells + location.first + cell);
      for (int c = threadIdx.x % kWarp; c < t.depth; c += kWarp) {
        float sum = 0.0f;
        const T* channel = rows + (c0 + c);
        const LayerTotals totals = layers.each(
            [&](int64_t, int64_t point, float scale) { sum += scale * to_float(channel[point * f.channels]); });
        if (layers.is_divided()) sum = sum / totals.divisor();
        T value;
        from_float(sum, &value);
        __builtin_memcpy(tile + cell * t.depth + c, &value, sizeof(value));
      }
    }
    __syncthreads();
    tile_to_maps(t, tile, ~uint64_t{0}, maps + location.b * f.channels * in.cells);
    __syncthreads();
  }
}

constexpr int kCellThreads = 128;

// One thread per cell (V, h w). What the features of every layer count in the end: scales (V, k, h w).
__global__ void __launch_bounds__(kCellThreads)
    splat_composite_scales_kernel(CompositeLayers in, int64_t all_cells, float* scales) {
  const int64_t cell = static_cast<int64_t>(blockIdx.x) * kCellThreads + threadIdx.x;
  if (cell < all_cells) in.of(cell).final_scales(scales + in.first_of(cell));
}

// One warp per point, where its entries begin. grad (V h w, C) -> out (N, C), which is all 0.
template <class T>
__global__ void __launch_bounds__(kRowThreads)
    splat_composite_sum_features_kernel(CellsOfPoints list, CompositeLayers in, const float* scales, const T* grad,
                                        int64_t channels, T* out) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  if (begin >= list.n || !list.begins(begin)) return;
  const uint32_t point = list.points[begin];
  for (int64_t c = 0; c < channels; c += kChannelBatch) {
    SumOfRows sum(channels - c);
    for (int64_t at = begin; at < list.n && list.points[at] == point; ++at) {
      const int64_t entry = list.cells[at];
      sum.add(scales[entry], grad + in.cell_of_entry(entry) * channels + c);
    }
    sum.round(out + static_cast<int64_t>(point) * channels + c);
  }
}

// A warp takes a cell, and each half of it every second layer: the products of grad (V h w, C) with features (N, C).
template <class T>
__global__ void __launch_bounds__(kRowThreads)
    splat_composite_products_kernel(CompositeLayers in, int64_t all_cells, const T* grad, const T* features,
                                    int64_t channels, float* products) {
  const int64_t cell = static_cast<int64_t>(blockIdx.x) * kRowWarps + threadIdx.x / kWarp;
  if (cell >= all_cells) return;
  const int lane = threadIdx.x % kWarp;
  for (int64_t l = lane / kSumLanes; l - lane / kSumLanes < in.layers; l += 2) {
    const int64_t entry = in.first_of(cell) + l * in.cells;
    const bool hit = l < in.layers && in.has_point(entry);
    const T* row = features + (hit ? in.index[entry] * channels : 0);
    const float sum = sum_in_order(channels, HalfWarp{}, [&](int64_t c) {
      return hit ? to_float(grad[cell * channels + c]) * to_float(row[c]) : 0.0f;
    });
    if (lane % kSumLanes == 0 && l < in.layers) products[entry] = sum;
  }
}

// One thread per cell (V, h w); out (V, k, h w) holds the products.
__global__ void __launch_bounds__(kCellThreads)
    splat_composite_backward_weights_kernel(CompositeLayers in, int64_t all_cells, float* out) {
  const int64_t cell = static_cast<int64_t>(blockIdx.x) * kCellThreads + threadIdx.x;
  if (cell < all_cells) in.of(cell).backward_weights(out + in.first_of(cell));
}

}  // namespace
}  // namespace mirage
