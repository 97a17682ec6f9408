// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/float16.h"
#include "voxel_cache/voxel_cache_commit_kernels.cuh"

// Features of points (N, C) into rows (R, C): copied, added up, or quantized. K points in S segments.
namespace mirage {
namespace {

constexpr int kFeatureThreads = 256;
constexpr int kSegmentsOfBlock = 128;
constexpr int kLoadBatch = 4;  // loads of a thread before the first one is used

struct WriteTargets {  // of features
  Segments plan;
  int64_t points, limit;  // N and R
  uint32_t pieces;        // of a row; a thread takes one
};

// For all pieces of the segments of this block, kLoadBatch at a time: calls load(piece of a point), and then
// store(piece of a row, what was loaded).
template <class Held, class Load, class Store>
__device__ __forceinline__ void for_each_piece(const WriteTargets& g, const Load& load, const Store& store) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kSegmentsOfBlock;
  const uint32_t items = static_cast<uint32_t>(min(g.plan.count - first, int64_t{kSegmentsOfBlock})) * g.pieces;
#pragma unroll 1
  for (uint32_t begin = threadIdx.x; begin < items; begin += kFeatureThreads * kLoadBatch) {
    Held held[kLoadBatch];
    int64_t to[kLoadBatch];
#pragma unroll
    for (int k = 0; k < kLoadBatch; ++k) {
      const uint32_t item = begin + k * kFeatureThreads, segment = item / g.pieces, piece = item - segment * g.pieces;
      const WriteTarget target(g.plan, item < items ? first + segment : g.plan.count, g.limit, g.points);
      to[k] = -1;
      if (!target.inside || target.point < 0) continue;
      to[k] = static_cast<int64_t>(target.row) * g.pieces + piece;
      held[k] = load(static_cast<int64_t>(target.point) * g.pieces + piece);
    }
#pragma unroll
    for (int k = 0; k < kLoadBatch; ++k)
      if (to[k] >= 0) store(to[k], held[k]);
  }
}

template <class Piece>
__global__ void __launch_bounds__(kFeatureThreads)
    voxel_cache_copy_kernel(WriteTargets g, const Piece* from, Piece* rows) {
  for_each_piece<Piece>(
      g, [&](int64_t at) { return __ldcs(from + at); }, [&](int64_t at, const Piece& piece) { rows[at] = piece; });
}

template <class T, int kWords>
struct alignas(kWords * sizeof(T)) PieceOf {
  T at[kWords];
};

template <class T, int kWords>
__device__ __forceinline__ PieceOf<T, kWords> load_piece(const PieceOf<T, kWords>* at) {
  if constexpr (sizeof(PieceOf<T, kWords>) == sizeof(uint4)) {
    PieceOf<T, kWords> piece;
    *reinterpret_cast<uint4*>(&piece) = __ldcs(reinterpret_cast<const uint4*>(at));
    return piece;
  } else {
    return *at;
  }
}

// One thread per piece of a segment: adds the segment's points to the row, in order. A new row begins with the first.
// `counts` are those of the rows before.
template <class T, int kWords>
__global__ void __launch_bounds__(kFeatureThreads)
    voxel_cache_sum_kernel(WriteTargets g, int64_t used, const int32_t* counts, const PieceOf<T, kWords>* from,
                           float* rows) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kSegmentsOfBlock;
  const uint32_t items = static_cast<uint32_t>(min(g.plan.count - first, int64_t{kSegmentsOfBlock})) * g.pieces;
#pragma unroll 1
  for (uint32_t item = threadIdx.x; item < items; item += kFeatureThreads) {
    const uint32_t segment = item / g.pieces, piece = item - segment * g.pieces;
    const int64_t s = first + segment;
    const WriteTarget target(g.plan, s, g.limit, g.points);
    if (!target.inside) continue;
    // Positions and counts of 32 bits: with 64, the widest pieces need more registers than a thread has.
    const int32_t begin = max(__ldg(g.plan.starts + s), 0);
    const int32_t end = static_cast<int32_t>(min(static_cast<int64_t>(__ldg(g.plan.starts + s + 1)), g.plan.kept));
    float* sums = rows + (static_cast<int64_t>(target.row) * g.pieces + piece) * kWords;
    PieceOf<float, kWords> sum{};
    if (target.row < used) sum = *reinterpret_cast<PieceOf<float, kWords>*>(sums);
    bool any = target.row < used;
    int32_t count = any ? counts[target.row] : 0;
#pragma unroll 1
    for (int32_t at = begin, last; at < end; at = last) {
      last = at + min(end - at, static_cast<int32_t>(min(int64_t{kLoadBatch}, until_halved(count))));
      PieceOf<T, kWords> held[kLoadBatch];
      bool in_bounds[kLoadBatch];
#pragma unroll
      for (int k = 0; k < kLoadBatch; ++k) {
        const int64_t point = k < last - at ? __ldg(g.plan.order + at + k) : -1;
        in_bounds[k] = point >= 0 && point < g.points;
        if (in_bounds[k]) held[k] = load_piece(from + point * g.pieces + piece);
      }
#pragma unroll
      for (int k = 0; k < kLoadBatch; ++k) {
        if (!in_bounds[k]) continue;
#pragma unroll
        for (int c = 0; c < kWords; ++c) {
          const float x = to_float(held[k].at[c]);
          sum.at[c] = any ? sum.at[c] + x : x;
        }
        any = true;
      }
      const bool halved = last - at >= until_halved(count);
      count = static_cast<int32_t>((static_cast<uint32_t>(count) + (last - at)) >> static_cast<int>(halved));
      if (halved) {
#pragma unroll
        for (int c = 0; c < kWords; ++c) sum.at[c] *= 0.5f;
      }
    }
    *reinterpret_cast<PieceOf<float, kWords>*>(sums) = sum;
  }
}

// One warp per segment.
template <class T>
__global__ void __launch_bounds__(kFeatureThreads)
    voxel_cache_quantize_kernel(WriteTargets g, int64_t channels, const T* from, int8_t* rows, float* scales) {
  const int lane = threadIdx.x % kWarp;
  const int64_t s = static_cast<int64_t>(blockIdx.x) * (kFeatureThreads / kWarp) + threadIdx.x / kWarp;
  const WriteTarget target(g.plan, s, g.limit, g.points);
  if (!target.inside || target.point < 0) return;
  const T* point = from + target.point * channels;
  unsigned largest = 0;  // magnitudes sort as integers
  for (int64_t c = lane; c < channels; c += kWarp) largest = max(largest, float_bits(to_float(point[c])) & 0x7fffffffu);
  const float scale = int8_scale(bits_float(__reduce_max_sync(kAllLanes, largest)));
  for (int64_t c = lane; c < channels; c += kWarp)
    rows[target.row * channels + c] = static_cast<int8_t>(int8_steps(to_float(point[c]), scale));
  if (lane == 0) scales[target.row] = scale;
}

}  // namespace
}  // namespace mirage
