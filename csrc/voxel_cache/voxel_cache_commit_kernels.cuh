// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/points_of_warp.cuh"
#include "voxel_cache/voxel_cache.h"

// Rows, the table and the boxes over them. K points in S segments, R rows.
namespace mirage {
namespace {

constexpr int kRowThreads = 256;

// A segment's row and winner. Segments that do not fit the state are skipped: a kernel cannot raise.
struct WriteTarget {
  int32_t row, point;
  bool inside;  // false: there is no such row

  __device__ __forceinline__ WriteTarget(const Segments& plan, int64_t s, int64_t limit, int64_t points)
      : row(-1), point(-1), inside(false) {
    if (s >= plan.count) return;
    row = __ldg(plan.row + s);
    point = __ldg(plan.winner + s);
    inside = fits_state(row, point, limit, points);
  }
};

// Enters a row: the lower row wins a slot, and the other one tries the next slot. So the table does not depend on the
// order of threads: it is as if rows had entered in ascending order. An empty slot is the largest unsigned number.
__device__ __forceinline__ void enter_row_of_many(int32_t* table, uint64_t slots, int32_t row, uint64_t home) {
  unsigned entry = static_cast<unsigned>(row);
  uint64_t slot = home;
  for (uint64_t probe = 0; probe < slots; ++probe) {
    const unsigned before = atomicMin(reinterpret_cast<unsigned*>(table) + slot, entry);
    if (before == ~0u) return;
    entry = before > entry ? before : entry;
    slot = (slot + 1) & (slots - 1);
  }
}

// ---- boxes: min x, y, z, max x, y, z, extent

struct Growth {
  float of[kBoxFields];
};

// The same as grow() of a box with one observation. One that is not `valid` changes nothing.
__device__ __forceinline__ Growth growth_by(bool valid, const float (&xyz)[3], float footprint) {
  PyramidBox box = empty_box();
  if (valid) grow(box, xyz, footprint);
  const Box& b = box.box;
  return {{b.min[0], b.min[1], b.min[2], b.max[0], b.max[1], b.max[2], box.extent}};
}

// No field is ever -0, so floats sort as integers: the positive ones up, the negative ones down. A box only grows, so
// an old value can only cost an atomic.
__device__ __forceinline__ void grow_field(float* field, bool is_min, float x) {
  const float now = __ldcg(field);
  if (is_min ? !(x < now) : !(x > now)) return;
  const unsigned bits = float_bits(x);
  const bool negative = bits >> 31;
  if (is_min && !negative)
    atomicMin(reinterpret_cast<int*>(field), static_cast<int>(bits));
  else if (is_min)
    atomicMax(reinterpret_cast<unsigned*>(field), bits);
  else if (!negative)
    atomicMax(reinterpret_cast<int*>(field), static_cast<int>(bits));
  else
    atomicMin(reinterpret_cast<unsigned*>(field), bits);
}

// The field of the box of a level (0, 1, 2) that holds a row.
__device__ __forceinline__ float* field_of(const RowsOfCache& rows, int level, int64_t row, int f) {
  return reinterpret_cast<float*>(rows.level(level)) + (row >> (6 * (level + 1))) * kBoxFields + f;
}

// Grows the boxes of the row of this lane: for rows anywhere.
__device__ __forceinline__ void grow_scattered(const RowsOfCache& rows, int64_t row, const Growth& growth) {
#pragma unroll
  for (int level = 0; level < kBoxLevels; ++level)
#pragma unroll
    for (int f = 0; f < kBoxFields; ++f) grow_field(field_of(rows, level, row, f), f < 3, growth.of[f]);
}

// The same for those lanes of a warp whose rows follow one another, leaf by leaf. All lanes call it.
__device__ __forceinline__ void grow_consecutive(const RowsOfCache& rows, bool valid, int64_t row,
                                                 const Growth& growth) {
  static_assert(kBoxLevels * kBoxFields <= kWarp);
  const int lane = threadIdx.x % kWarp;
  const int leaf = valid ? static_cast<int>(row / kFanout) : -1;
  for (unsigned left = __ballot_sync(kAllLanes, valid); left;) {
    const int leader = __ffs(static_cast<int>(left)) - 1;
    const int64_t first = __shfl_sync(kAllLanes, row, leader);
    const bool same_leaf = valid && leaf == static_cast<int>(first / kFanout);
    float joint = 0.0f;  // of the field that falls to this lane
#pragma unroll
    for (int f = 0; f < kBoxFields; ++f) {
      const int bits = ordered(same_leaf ? growth.of[f] : f < 3 ? bits_float(0x7f800000u) : -bits_float(0x7f800000u));
      const int all = f < 3 ? __reduce_min_sync(kAllLanes, bits) : __reduce_max_sync(kAllLanes, bits);
      joint = lane % kBoxFields == f ? unordered(all) : joint;
    }
    if (lane < kBoxLevels * kBoxFields)
      grow_field(field_of(rows, lane / kBoxFields, first, lane % kBoxFields), lane % kBoxFields < 3, joint);
    left &= ~__ballot_sync(kAllLanes, same_leaf);
  }
}

// ---- kernels

// One thread per segment: everything but features.
__global__ void __launch_bounds__(kRowThreads)
    voxel_cache_write_kernel(Segments plan, Observations in, RowsOfCache rows) {
  const int64_t s = static_cast<int64_t>(blockIdx.x) * kRowThreads + threadIdx.x;
  const WriteTarget target(plan, s, rows.limit, in.points);
  const bool is_new = target.inside && target.row >= in.used, was_observed = target.inside && target.point >= 0;
  if (is_new) {
    const int64_t key = __ldg(plan.key + s);
    rows.keys[target.row] = key;
    enter_row_of_many(rows.table, rows.slots, target.row, home_slot(axes_of(key), rows.slots));
  }
  if (target.inside && in.count)
    in.count[target.row] = static_cast<int32_t>(
        count_after(is_new ? 0 : in.count[target.row], plan.starts[s + 1] - plan.starts[s]));
  if (target.inside && (in.count || was_observed)) in.stamp_rows[target.row] = in.stamp;
  float xyz[3] = {0.0f, 0.0f, 0.0f}, footprint = 0.0f;
  if (was_observed) {
    for (int a = 0; a < 3; ++a) {
      xyz[a] = __ldg(in.xyz + 3 * static_cast<int64_t>(target.point) + a);
      rows.xyz[3 * static_cast<int64_t>(target.row) + a] = xyz[a];
    }
    footprint = in.footprint ? __ldg(in.footprint + target.point) : in.default_footprint;
    rows.footprint[target.row] = footprint;
  }
  const Growth growth = growth_by(was_observed, xyz, footprint);
  grow_consecutive(rows, is_new && was_observed, target.row, growth);
  if (was_observed && !is_new) grow_scattered(rows, target.row, growth);
}

__global__ void __launch_bounds__(kRowThreads) voxel_cache_clear_boxes_kernel(float* boxes, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kRowThreads + threadIdx.x;
  const float infinity = bits_float(0x7f800000u);
  const int f = static_cast<int>(i % kBoxFields);
  if (i < count * kBoxFields) boxes[i] = f < 3 ? infinity : f < 6 ? -infinity : 0.0f;
}

// One thread per row: enters it, and grows the boxes.
__global__ void __launch_bounds__(kRowThreads) voxel_cache_index_kernel(RowsOfCache rows, int64_t used) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowThreads + threadIdx.x;
  const bool in_bounds = row < used;
  float xyz[3] = {0.0f, 0.0f, 0.0f}, footprint = 0.0f;
  if (in_bounds) {
    const uint64_t home = home_slot(axes_of(__ldg(rows.keys + row)), rows.slots);
    enter_row_of_many(rows.table, rows.slots, static_cast<int32_t>(row), home);
    for (int a = 0; a < 3; ++a) xyz[a] = __ldg(rows.xyz + 3 * row + a);
    footprint = __ldg(rows.footprint + row);
  }
  grow_consecutive(rows, in_bounds, row, growth_by(in_bounds, xyz, footprint));
}

}  // namespace
}  // namespace mirage
