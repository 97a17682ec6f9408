// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu/pack.h"
#include "splat/splat.h"
#include "splat/splat_isa.h"

// Blocks of points in the loops of one instruction set. For splat*_isa.cpp only.
namespace mirage {
namespace MIRAGE_ISA {
namespace {

constexpr int kBlock = kPointBlock;

struct SplatBlock : PointBlock {
  alignas(64) float extent[kBlock];  // of discs the radius
  int lanes;           // the first so many may hold points; a multiple of kFanout
  float largest_extent, near;  // of squares; 0 for discs, whose radius is in the frusta
  float largest_radius;  // of discs
  uint32_t first[kLeavesPerBlock];  // index of each leaf's first point
};

// Calls visit(lane) for the first `lanes`. A leaf at a time, because a loop of a known length vectorizes better.
template <class Visit>
MIRAGE_HD void for_each_lane(int lanes, const Visit& visit) {
  for (int first = 0; first < lanes; first += static_cast<int>(kFanout)) {
#pragma GCC ivdep
    for (int k = first; k < first + static_cast<int>(kFanout); ++k) visit(k);
  }
}

MIRAGE_HD uint32_t index_of(const SplatBlock& block, int lane) {
  return block.first[lane / kFanout] + static_cast<uint32_t>(lane % kFanout);
}

// Points first, first + 1, ... into `size` lanes from lane `at`.
MIRAGE_HD void load_run(const SplatPoints& points, int64_t first, int size, SplatBlock& block, int at) {
  const int64_t left = points.n - first;
  load_points(points.xyz + 3 * first, points.valid ? points.valid + first : nullptr, left, size, block, at);
  if (points.extents) {
    const float* own = points.extents + first;
    const int count = left < size ? static_cast<int>(left) : size;
    if (points.shape == Shape::kDisc)
      for (int k = 0; k < count; ++k) block.extent[at + k] = limited_radius(own[k], points.radius);
    else
      for (int k = 0; k < count; ++k) block.extent[at + k] = scaled_extent(points.extent, own[k], points.min_extent);
    for (int k = at + count; k < at + size; ++k) block.extent[k] = 0.0f;
  }
}

// Once for all blocks: what no load changes.
inline void prepare(const SplatPoints& points, SplatBlock& block) {
  const bool discs = points.shape == Shape::kDisc;
  for (int k = 0; k < kBlock; ++k) block.extent[k] = discs ? points.radius : points.extent;
  block.largest_extent = discs ? 0.0f : points.extent;
  block.largest_radius = points.extents ? bits_float(0x7f800000u) : points.radius;
  block.near = points.near;
}

// The number of lanes is a constant where the block is full, as nearly all are: the loops over it are then unrolled.
inline void load(const SplatPoints& points, int64_t number, SplatBlock& block) {
  const int64_t first = number * kBlock, left = points.n - first;
  for (int64_t q = 0; q < kLeavesPerBlock; ++q) block.first[q] = static_cast<uint32_t>(first + q * kFanout);
  if (left >= kBlock) {
    block.lanes = kBlock;
    load_run(points, first, kBlock, block, 0);
    bound_points(block);
  } else {
    block.lanes = static_cast<int>(ceil_div(left, kFanout) * kFanout);
    load_run(points, first, block.lanes, block, 0);
    bound_points(block, block.lanes);
  }
  float unused;
  if (points.extents)
    bound_values(block.extent, block.lanes, &unused,
                 points.shape == Shape::kSquare ? &block.largest_extent : &block.largest_radius);
}

// The leaf whose first point this is into part q of the block.
inline void load_leaf(const SplatPoints& points, int64_t first, int q, SplatBlock& block) {
  load_run(points, first, kFanout, block, q * static_cast<int>(kFanout));
  block.first[q] = static_cast<uint32_t>(first);
}

// Packs those of the first lanes with cell >= 0 whose point may win. Most do not: the cell already has a nearer one.
// Where points come in ascending order an equally near one does not win either; where they do not, kTies lets it in.
template <bool kTies>
MIRAGE_HD int pack_winners(const int32_t* cell, const uint32_t* depth, int lanes, const uint64_t* keys, int32_t* hits) {
#if defined(__AVX512F__)
  int n = 0;
  for (int k = 0; k < lanes; k += kPacked) {
    const __m512i at = _mm512_load_si512(cell + k);
    __mmask16 in = static_cast<__mmask16>(marked_lanes(cell + k));
    if (in == 0) continue;  // the upper half of a key is the depth
    const __m512i nearest = _mm512_mask_i32gather_epi32(at, in, at, reinterpret_cast<const int32_t*>(keys) + 1, 8);
    const __m512i own = _mm512_load_si512(depth + k);
    in = kTies ? _mm512_mask_cmple_epu32_mask(in, own, nearest) : _mm512_mask_cmplt_epu32_mask(in, own, nearest);
    pack(kLaneNumbers.number + k, in, hits + n);
    n += __builtin_popcount(in);
  }
  return n;
#else
  (void)depth, (void)keys;  // without a gather that is worth it, the comparison waits for the store
  return pack_marked(cell, lanes, hits);
#endif
}

// Stores without a branch: which point comes nearer is a coin toss the branch predictor loses.
MIRAGE_HD void min_key(uint64_t& cell, uint64_t key) { cell = key < cell ? key : cell; }

}  // namespace
}  // namespace MIRAGE_ISA
}  // namespace mirage
