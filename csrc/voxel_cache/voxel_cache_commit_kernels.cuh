// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/points_of_warp.cuh"
#include "voxel_cache/voxel_cache.h"

// Rows, the table and the boxes over them. K points in S segments, R rows.
namespace mirage {
namespace {

constexpr int kRowThreads = 256;
constexpr int kLevels = 3;
constexpr int kFields = 7;  // of a box

struct RowsOfCache {  // what finds rows; `limit` is their number R
  int64_t* keys;
  float *xyz, *footprint;
  int32_t* table;
  uint64_t slots;
  float *pages, *words, *tops;  // PageBoxes, by field
  int64_t limit;
};

struct Segments : PlanArrays {  // the plan, which is only read
  int64_t kept, count;
};

// What a row keeps besides its features.
struct Observations {
  const float *xyz, *footprint;
  int64_t points;
  float default_footprint;
  int32_t* count;  // or null
  int64_t* stamp_rows;
  int64_t stamp, used;
};

// A segment's row and winner. A plan that does not fit the state is cut down to what does: nobody is there to be told.
struct Goal {
  int32_t row, point;
  bool inside;  // false: there is no such row

  __device__ __forceinline__ Goal(const Segments& plan, int64_t s, int64_t limit, int64_t points)
      : row(-1), point(-1), inside(false) {
    if (s >= plan.count) return;
    row = __ldg(plan.row + s);
    point = __ldg(plan.winner + s);
    inside = row >= 0 && row < limit && point >= -1 && point < points;
  }
};

// Enters a row, and whichever it drives out: the lower row wins a slot, and who loses one tries the next. So the table
// comes out the same whoever is first: as if rows had entered in ascending order. An empty slot is the largest number
// without a sign.
__device__ __forceinline__ void enter_row_of_many(int32_t* table, uint64_t slots, int32_t row, uint64_t home) {
  unsigned mine = static_cast<unsigned>(row);
  uint64_t slot = home;
  for (uint64_t probe = 0; probe < slots; ++probe) {
    const unsigned before = atomicMin(reinterpret_cast<unsigned*>(table) + slot, mine);
    if (before == ~0u) return;
    mine = before > mine ? before : mine;
    slot = (slot + 1) & (slots - 1);
  }
}

// ---- boxes: least x, y, z, greatest x, y, z, extent

struct Growth {
  float of[kFields];
};

// The same as grow() of a box with one observation. One that is not `there` changes nothing.
__device__ __forceinline__ Growth growth_by(bool there, const float (&xyz)[3], float footprint) {
  PageBox box = empty_box();
  if (there) grow(box, xyz, footprint);
  const Box& b = box.box;
  return {{b.min[0], b.min[1], b.min[2], b.max[0], b.max[1], b.max[2], box.extent}};
}

// No field is ever -0, so floats sort as integers: the positive ones up, the negative ones down. A box only grows, so
// an old value can only cost an atomic.
__device__ __forceinline__ void grow_field(float* field, bool least, float x) {
  const float now = __ldcg(field);
  if (least ? !(x < now) : !(x > now)) return;
  const unsigned bits = float_bits(x);
  const bool negative = bits >> 31;
  if (least && !negative)
    atomicMin(reinterpret_cast<int*>(field), static_cast<int>(bits));
  else if (least)
    atomicMax(reinterpret_cast<unsigned*>(field), bits);
  else if (!negative)
    atomicMax(reinterpret_cast<int*>(field), static_cast<int>(bits));
  else
    atomicMin(reinterpret_cast<unsigned*>(field), bits);
}

// The field of the box of a level (0, 1, 2) that holds a row. (An array of pointers would have to lie in memory.)
__device__ __forceinline__ float* field_of(const RowsOfCache& rows, int level, int64_t row, int f) {
  float* boxes = level == 0 ? rows.pages : level == 1 ? rows.words : rows.tops;
  return boxes + (row >> (6 * (level + 1))) * kFields + f;
}

// Grows the boxes of a row by what its lane brings: for rows that lie anywhere.
__device__ __forceinline__ void grow_alone(const RowsOfCache& rows, int64_t row, const Growth& growth) {
#pragma unroll
  for (int level = 0; level < kLevels; ++level)
#pragma unroll
    for (int f = 0; f < kFields; ++f) grow_field(field_of(rows, level, row, f), f < 3, growth.of[f]);
}

// The same for those lanes of a warp whose rows follow one another, page by page. All lanes call it.
__device__ __forceinline__ void grow_together(const RowsOfCache& rows, bool there, int64_t row, const Growth& growth) {
  static_assert(kLevels * kFields <= kWarp);
  const int lane = threadIdx.x % kWarp;
  const int page = there ? static_cast<int>(row / kPage) : -1;
  for (unsigned left = __ballot_sync(kAllLanes, there); left;) {
    const int leader = __ffs(static_cast<int>(left)) - 1;
    const int64_t first = __shfl_sync(kAllLanes, row, leader);
    const bool mine = there && page == static_cast<int>(first / kPage);
    float joint = 0.0f;  // of the field that falls to this lane
#pragma unroll
    for (int f = 0; f < kFields; ++f) {
      const int bits = ordered(mine ? growth.of[f] : f < 3 ? bits_float(0x7f800000u) : -bits_float(0x7f800000u));
      const int all = f < 3 ? __reduce_min_sync(kAllLanes, bits) : __reduce_max_sync(kAllLanes, bits);
      joint = lane % kFields == f ? unordered(all) : joint;
    }
    if (lane < kLevels * kFields)
      grow_field(field_of(rows, lane / kFields, first, lane % kFields), lane % kFields < 3, joint);
    left &= ~__ballot_sync(kAllLanes, mine);
  }
}

// ---- kernels

// A thread a segment: everything but features.
__global__ void __launch_bounds__(kRowThreads) write_rows(Segments plan, Observations in, RowsOfCache rows) {
  const int64_t s = static_cast<int64_t>(blockIdx.x) * kRowThreads + threadIdx.x;
  const Goal goal(plan, s, rows.limit, in.points);
  const bool fresh = goal.inside && goal.row >= in.used, seen = goal.inside && goal.point >= 0;
  if (fresh) {
    const int64_t key = __ldg(plan.key + s);
    rows.keys[goal.row] = key;
    enter_row_of_many(rows.table, rows.slots, goal.row, home_slot(axes_of(key), rows.slots));
  }
  if (goal.inside && in.count)
    in.count[goal.row] = plan.starts[s + 1] - plan.starts[s] + (fresh ? 0 : in.count[goal.row]);
  if (goal.inside && (in.count || seen)) in.stamp_rows[goal.row] = in.stamp;
  float xyz[3] = {0.0f, 0.0f, 0.0f}, footprint = 0.0f;
  if (seen) {
    for (int a = 0; a < 3; ++a) {
      xyz[a] = __ldg(in.xyz + 3 * static_cast<int64_t>(goal.point) + a);
      rows.xyz[3 * static_cast<int64_t>(goal.row) + a] = xyz[a];
    }
    footprint = in.footprint ? __ldg(in.footprint + goal.point) : in.default_footprint;
    rows.footprint[goal.row] = footprint;
  }
  const Growth growth = growth_by(seen, xyz, footprint);
  grow_together(rows, fresh && seen, goal.row, growth);
  if (seen && !fresh) grow_alone(rows, goal.row, growth);
}

__global__ void __launch_bounds__(kRowThreads) clear_boxes(float* boxes, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kRowThreads + threadIdx.x;
  const float infinity = bits_float(0x7f800000u);
  const int f = static_cast<int>(i % kFields);
  if (i < count * kFields) boxes[i] = f < 3 ? infinity : f < 6 ? -infinity : 0.0f;
}

// A thread a row: enters it, and grows the boxes.
__global__ void __launch_bounds__(kRowThreads) index_rows(RowsOfCache rows, int64_t used) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowThreads + threadIdx.x;
  const bool there = row < used;
  float xyz[3] = {0.0f, 0.0f, 0.0f}, footprint = 0.0f;
  if (there) {
    const uint64_t home = home_slot(axes_of(__ldg(rows.keys + row)), rows.slots);
    enter_row_of_many(rows.table, rows.slots, static_cast<int32_t>(row), home);
    for (int a = 0; a < 3; ++a) xyz[a] = __ldg(rows.xyz + 3 * row + a);
    footprint = __ldg(rows.footprint + row);
  }
  grow_together(rows, there, row, growth_by(there, xyz, footprint));
}

}  // namespace
}  // namespace mirage
