// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/float16.h"
#include "common/points_of_warp.cuh"
#include "common/views_of_block.cuh"
#include "voxel_cache/voxel_cache.h"

namespace mirage {
namespace {

// ---- carve: a warp takes a leaf of 64 rows, tests which views its box may be in, and projects into those alone

constexpr int kCarveWarps = 8;
constexpr int kCarveThreads = kCarveWarps * kWarp;

// Clears `keep` of the leaf's rows that one of the views, whose bits are set, sees through.
__device__ __forceinline__ void carve_leaf(const CarvedRows& job, int64_t leaf, unsigned views, int64_t first_view,
                                           const CameraOfView* cameras) {
  const int64_t first = kFanout * leaf + threadIdx.x % kWarp;
  bool in_bounds[kPerLane], carved[kPerLane];
  Vec3 at[kPerLane];
  for (int k = 0; k < kPerLane; ++k) {
    const float* xyz = job.xyz + 3 * (first + kWarp * k);
    in_bounds[k] = first + kWarp * k < job.rows;
    carved[k] = false;
    if (in_bounds[k]) at[k] = {__ldg(xyz), __ldg(xyz + 1), __ldg(xyz + 2)};
  }
  const int64_t cells = static_cast<int64_t>(job.h) * job.w;
  for (; views; views &= views - 1) {
    const int v = __ffs(static_cast<int>(views)) - 1;
    const CameraOfView camera = cameras[v];
    for (int k = 0; k < kPerLane; ++k) {
      if (!in_bounds[k]) continue;
      const Projection p = project(camera.world2cam, camera.pinhole, at[k].x, at[k].y, at[k].z);
      const int32_t cell = cell_of(p, job.h, job.w);
      const float* map = job.depth + (first_view + v) * cells;
      if (cell >= 0 && seen_through(__ldg(map + cell), p.z, job.factor)) carved[k] = true;
    }
  }
  for (int k = 0; k < kPerLane; ++k)
    if (carved[k]) job.keep[first + kWarp * k] = 0;
}

__global__ void __launch_bounds__(kCarveThreads)
    voxel_cache_carve_kernel(CarvedRows job, PreparedViews prepared) {  // `keep` is all 1
  __shared__ ViewsOfBlock<kWarp, kCarveThreads> views;
  const int64_t leaves = (job.rows + kFanout - 1) / kFanout, warps = static_cast<int64_t>(gridDim.x) * kCarveWarps;
  for (int64_t first = 0; first < job.views; first += kWarp) {
    const int count = static_cast<int>(min(job.views - first, int64_t{kWarp}));
    __syncthreads();
    views.start_load(prepared.from(first), 0, count);
    views.wait();
    for (int64_t leaf = static_cast<int64_t>(blockIdx.x) * kCarveWarps + threadIdx.x / kWarp; leaf < leaves;
         leaf += warps) {
      const unsigned some = views.visible_views_32(span_of(job.boxes.level0[leaf].box, 0.0f), 0, count);
      if (some != 0) carve_leaf(job, leaf, some, first, views.cameras);
    }
  }
}

// ---- decode: a block takes 64 cells of a view, and turns rows into maps through shared memory

constexpr int kDecodeThreads = 256;
constexpr int kDecodeCells = 64;
constexpr int kDecodeDepth = 64;  // channels at a time
constexpr int kDecodeGroups = kDecodeThreads / kDecodeCells;

struct DecodedCells {
  const int64_t* index;  // (V, cells)
  int64_t cells;
  bool aligned;  // whether every run of cells in the output begins on a multiple of 16 bytes
};

__device__ __forceinline__ float to_number(int8_t x) { return static_cast<float>(x); }
__device__ __forceinline__ float to_number(float x) { return x; }
__device__ __forceinline__ float to_number(BFloat16 x) { return to_float(x); }
__device__ __forceinline__ float to_number(Float16 x) { return to_float(x); }

struct DecodeTile {
  float at[kDecodeDepth][kDecodeCells + 4];  // more than 64 cells per channel, so that they begin in different banks
};

// One cell's channels channel .. channel + depth - 1 into the tile, by kDecodeGroups threads. No row: zeros.
template <class From>
__device__ __forceinline__ void row_to_tile(const StoredRows& in, bool aligned, int64_t row, const RowScale& scale,
                                            int64_t channel, int depth, int cell, int group, DecodeTile& tile) {
  constexpr int along = 16 / sizeof(From);
  const From* from = static_cast<const From*>(in.features) + (row < 0 ? 0 : row) * in.channels + channel;
  const bool vectorized = aligned && row >= 0;
#pragma unroll 1
  for (int c = group * along; c < depth; c += kDecodeGroups * along) {
    struct alignas(16) {
      From at[along];
    } held;
    if (vectorized) {
      *reinterpret_cast<uint4*>(&held) = __ldg(reinterpret_cast<const uint4*>(from + c));
    } else {
#pragma unroll
      for (int k = 0; k < along; ++k)
        if (row >= 0 && c + k < depth) held.at[k] = from[c + k];
    }
#pragma unroll
    for (int k = 0; k < along; ++k) {
      if (c + k >= depth) continue;
      tile.at[c + k][cell] = row < 0 ? 0.0f : decode_value(to_number(held.at[k]), scale);
    }
  }
}

template <class To>
__device__ __forceinline__ To number_to_write(const DecodeTile& tile, int c, int cell) {
  To out;
  from_float(tile.at[c][cell], &out);
  return out;
}

template <class To>
__device__ __forceinline__ void tile_to_cells(const DecodeTile& tile, int depth, int count, int64_t cells, bool aligned,
                                              To* out) {
  constexpr int along = 16 / sizeof(To), runs = kDecodeCells / along;
  if (aligned && count == kDecodeCells) {
#pragma unroll 1
    for (int i = threadIdx.x; i < depth * runs; i += kDecodeThreads) {
      const int c = i / runs, cell = i % runs * along;
      struct alignas(16) {
        To at[along];
      } held;
#pragma unroll
      for (int k = 0; k < along; ++k) held.at[k] = number_to_write<To>(tile, c, cell + k);
      __stcs(reinterpret_cast<uint4*>(out + c * cells + cell), *reinterpret_cast<const uint4*>(&held));
    }
  } else {
#pragma unroll 1
    for (int i = threadIdx.x; i < depth * count; i += kDecodeThreads) {
      const int c = i / count, cell = i % count;
      out[c * cells + cell] = number_to_write<To>(tile, c, cell);
    }
  }
}

template <class To>
__global__ void __launch_bounds__(kDecodeThreads, 4)
    voxel_cache_decode_kernel(StoredRows in, bool aligned, DecodedCells at, To* out) {
  __shared__ DecodeTile tile;
  const int64_t groups = (at.cells + kDecodeCells - 1) / kDecodeCells;
  const int64_t view = blockIdx.x / groups, first = blockIdx.x % groups * kDecodeCells;
  const int count = static_cast<int>(min(at.cells - first, int64_t{kDecodeCells}));
  const int cell = threadIdx.x % kDecodeCells, group = threadIdx.x / kDecodeCells;
  int64_t row = cell < count ? __ldg(at.index + view * at.cells + first + cell) : -1;
  if (row >= in.rows) row = -1;
  const RowScale scale = row < 0 ? RowScale{} : load_scale(in, row);
  for (int64_t channel = 0; channel < in.channels; channel += kDecodeDepth) {
    const int depth = static_cast<int>(min(in.channels - channel, int64_t{kDecodeDepth}));
    __syncthreads();
    switch (in.element) {
      case Element::kInt8: row_to_tile<int8_t>(in, aligned, row, scale, channel, depth, cell, group, tile); break;
      case Element::kBFloat16: row_to_tile<BFloat16>(in, aligned, row, scale, channel, depth, cell, group, tile); break;
      case Element::kFloat16: row_to_tile<Float16>(in, aligned, row, scale, channel, depth, cell, group, tile); break;
      default: row_to_tile<float>(in, aligned, row, scale, channel, depth, cell, group, tile);
    }
    __syncthreads();
    tile_to_cells(tile, depth, count, at.cells, at.aligned, out + (view * in.channels + channel) * at.cells + first);
  }
}

}  // namespace
}  // namespace mirage
