// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/points_of_warp.cuh"
#include "common/views_of_block.cuh"
#include "overlap/overlap.h"

namespace mirage {
namespace {

// ---- visible: a warp holds 64 points, as many as a word has bits, and projects them into all views

constexpr int kMarkWarps = 4;
constexpr int kMarkThreads = kMarkWarps * kWarp;

struct PointsInViews : GroupedPoints {
  PreparedViews prepared;
  int64_t views, words;
  int h, w;
  Word64* bits;  // (V, W), all 0 where there are groups
};

__device__ __forceinline__ void set_group(const PointsInViews& p, int64_t view, int64_t group) {
  const GroupBit at = bit_of_group(group, p.num_groups);
  Word64* word = p.bits + view * p.words + at.word;
  if (at.bit & ~__ldcg(word)) atomicOr(word, static_cast<Word64>(at.bit));  // an old value only costs an atomic
}

template <bool kGrouped>
__global__ void __launch_bounds__(kMarkThreads) overlap_mark_visible_kernel(PointsInViews p) {
  __shared__ ViewsOfBlock<kViewBatch, kMarkThreads> views;
  const auto count_from = [&](int64_t first) {
    return static_cast<int>(max(min(p.views - first, int64_t{kViewBatch}), int64_t{0}));
  };
  int64_t first = static_cast<int64_t>(blockIdx.y) * kViewBatch;
  views.start_load(p.prepared.from(first), 0, count_from(first));
  const int lane = threadIdx.x % kWarp;
  const int64_t word = static_cast<int64_t>(blockIdx.x) * kMarkWarps + threadIdx.x / kWarp;
  float points[3][kPerLane];
  int64_t groups[kPerLane];
  for (int k = 0; k < kPerLane; ++k) {
    const int64_t n = 64 * word + kWarp * k + lane;
    const bool valid = n < p.n && (!p.valid || p.valid[n] != 0);
    for (int axis = 0; axis < 3; ++axis)
      points[axis][k] = valid ? __ldg(p.xyz + 3 * n + axis) : bits_float(0x7fc00000u);
    groups[k] = kGrouped && valid ? __ldg(p.groups + n) : -1;
  }
  const BoxSpan span = span_of(box_of_warp(points), 0.0f);
  while (first < p.views) {
    const int count = count_from(first);
    views.wait();
    for (int next = 0; next < count && 64 * word < p.n; next += kWarp) {
      const unsigned maybe = views.visible_views_32(span, next, count);
      Word64* row = p.bits + (first + next) * p.words + word;
      if (!kGrouped && next + lane < count && !(maybe >> lane & 1)) row[lane * p.words] = 0;
      for (unsigned left = maybe; left; left &= left - 1) {
        const int v = __ffs(static_cast<int>(left)) - 1;
        const CameraOfView camera = views.cameras[next + v];
        Word64 seen = 0;
        for (int k = 0; k < kPerLane; ++k) {
          const bool in = is_visible(camera.world2cam, camera.pinhole, points[0][k], points[1][k], points[2][k], p.h,
                                     p.w);
          if (!kGrouped)
            seen |= static_cast<Word64>(__ballot_sync(kAllLanes, in)) << (kWarp * k);
          else if (in)
            set_group(p, first + next + v, groups[k]);
        }
        if (!kGrouped && lane == 0) row[v * p.words] = seen;
      }
    }
    first += static_cast<int64_t>(gridDim.y) * kViewBatch;
    __syncthreads();
    views.start_load(p.prepared.from(first), 0, count_from(first));
  }
}

// ---- overlap: a warp holds a piece of two sets of b in registers, and compares all sets of a with it

constexpr int kPieces = 8;                      // of four 32-bit words, of a set and lane
constexpr int kChunk = kPieces * 2 * kWarp;     // 64-bit words that a warp holds of a set
constexpr int kSetsOfWarp = 2;
constexpr int kOverlapWarps = 8;
constexpr int kSetsOfBlock = kSetsOfWarp * kOverlapWarps;
constexpr int kSetBatch = 8;  // of a, in shared memory

struct SetsOfBits {
  const Word64 *a, *b;
  int64_t num_a, num_b, words;
  int classes;     // sets b, b + classes, ... begin alike: on a multiple of 16 bytes, or beside one
  Word64* counts;  // (A + 1, B): what sets of a and b have in common; the last row, what those of b have. All 0.
};

// One column of full adders: a + b + c = sum + 2 carry, in all 32 bit positions.
__device__ __forceinline__ uint32_t add_bits(uint32_t& sum, uint32_t b, uint32_t c) {
  const uint32_t a = sum;
  sum = a ^ b ^ c;
  return (a & b) | (a & c) | (b & c);
}

struct BitCounter {  // counts up to seven in binary, one counter a bit position
  uint32_t ones = 0, twos = 0, fours = 0;

  // Returns the carry out of the fours, by eights.
  __device__ __forceinline__ uint32_t add(const uint4& x, const uint4& y) {
    const uint32_t two0 = add_bits(ones, x.x, x.y), two1 = add_bits(ones, x.z, x.w);
    const uint32_t two2 = add_bits(ones, y.x, y.y), two3 = add_bits(ones, y.z, y.w);
    const uint32_t four0 = add_bits(twos, two0, two1), four1 = add_bits(twos, two2, two3);
    return add_bits(fours, four0, four1);
  }
  __device__ __forceinline__ unsigned total(unsigned of_eights) const {
    return 8 * of_eights + 4 * __popc(fours) + 2 * __popc(twos) + __popc(ones);
  }
};

__device__ __forceinline__ uint4 both(const uint4& a, const uint4& b) {
  return make_uint4(a.x & b.x, a.y & b.y, a.z & b.z, a.w & b.w);
}

// Two words at word `at` of all of b, at an even address; zeros beyond its ends.
__device__ __forceinline__ uint4 load_pair(const SetsOfBits& s, int64_t at) {
  const int64_t size = s.num_b * s.words;
  if (at >= 0 && at + 1 < size) return __ldcs(reinterpret_cast<const uint4*>(s.b + at));
  const Word64 low = at >= 0 && at < size ? s.b[at] : 0, high = at + 1 == 0 ? s.b[0] : 0;
  return make_uint4(static_cast<unsigned>(low), static_cast<unsigned>(low >> 32), static_cast<unsigned>(high),
                    static_cast<unsigned>(high >> 32));
}

// Words first .. first + kChunk - 1 of sets of a into shared memory, zeros outside of the sets; after the last set, one
// of all bits.
__device__ __forceinline__ void load_sets(const SetsOfBits& s, int64_t set, int count, int64_t first, Word64* to) {
  for (int i = threadIdx.x; i < count * kChunk; i += kOverlapWarps * kWarp) {
    const int64_t row = set + i / kChunk, word = first + i % kChunk;
    const bool in_bounds = word >= 0 && word < s.words;
    to[i] = !in_bounds ? 0 : row < s.num_a ? __ldg(s.a + row * s.words + word) : ~Word64{0};
  }
}

__global__ void __launch_bounds__(kOverlapWarps* kWarp) overlap_count_kernel(SetsOfBits s) {
  MIRAGE_DYNAMIC_SHARED(Word64, sets_of_a);
  const int lane = threadIdx.x % kWarp;
  // A chunk begins where a pair of words is aligned, which may be one word before the set.
  const int64_t kind = blockIdx.x % s.classes;
  const int64_t begins = static_cast<int64_t>(reinterpret_cast<uintptr_t>(s.b) / sizeof(Word64) % 2) + kind * s.words;
  const int64_t first = static_cast<int64_t>(blockIdx.y) * kChunk - begins % 2;
  const int64_t rank = static_cast<int64_t>(blockIdx.x / s.classes) * kSetsOfBlock + threadIdx.x / kWarp * kSetsOfWarp;
  uint4 held[kSetsOfWarp][kPieces];
  for (int r = 0; r < kSetsOfWarp; ++r)
    for (int k = 0; k < kPieces; ++k)
      held[r][k] = load_pair(s, ((rank + r) * s.classes + kind) * s.words + first + 2 * (kWarp * k + lane));
  for (int64_t set = 0; set <= s.num_a; set += kSetBatch) {
    const int count = static_cast<int>(min(s.num_a + 1 - set, static_cast<int64_t>(kSetBatch)));
    __syncthreads();
    load_sets(s, set, count, first, sets_of_a);
    __syncthreads();
    for (int i = 0; i < count; ++i) {
      const uint4* other = reinterpret_cast<const uint4*>(sets_of_a + i * kChunk) + lane;
      BitCounter counter[kSetsOfWarp];
      unsigned eights[kSetsOfWarp] = {};
#pragma unroll
      for (int k = 0; k < kPieces; k += 2) {
        const uint4 x = other[kWarp * k], y = other[kWarp * (k + 1)];
        for (int r = 0; r < kSetsOfWarp; ++r)
          eights[r] += __popc(counter[r].add(both(held[r][k], x), both(held[r][k + 1], y)));
      }
      for (int r = 0; r < kSetsOfWarp; ++r) {
        const unsigned common = __reduce_add_sync(kAllLanes, counter[r].total(eights[r]));
        const int64_t column = (rank + r) * s.classes + kind;
        if (lane == r && column < s.num_b && common) atomicAdd(s.counts + (set + i) * s.num_b + column, Word64{common});
      }
    }
  }
}

constexpr int kIouThreads = 256;

__global__ void __launch_bounds__(kIouThreads)
    overlap_iou_kernel(const int64_t* counts, const int64_t* of_a, int64_t num_a, int64_t num_b, float* out) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kIouThreads + threadIdx.x;
  if (at < num_a * num_b) out[at] = iou(counts[at], of_a[at / num_b], counts[num_a * num_b + at % num_b]);
}

}  // namespace
}  // namespace mirage
