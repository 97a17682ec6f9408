// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/float16.h"
#include "../common/frustum.h"
#include "../common/int8.h"
#include "../common/voxel_key.h"

// voxel_cache: one point, one row, one box, one slot of the table. N points, S voxels among them, R rows, T slots.
namespace mirage {

enum class Fusion { kBest = 0, kLatest = 1, kMean = 2 };
enum class Element { kFloat, kBFloat16, kFloat16, kInt8 };

// Calls run with a value of the type. Of features, which are never int8.
template <class Run>
void with_float(Element element, const Run& run) {
  switch (element) {
    case Element::kBFloat16: run(BFloat16{}); break;
    case Element::kFloat16: run(Float16{}); break;
    default: run(float{});
  }
}

constexpr uint64_t kDropped = ~uint64_t{0};  // in place of a Morton code, of which 63 bits are used

struct CachePoints {
  const float* xyz;        // (N, 3)
  const void* features;    // (N, C)
  Element element;         // of the features: no int8
  int64_t channels;
  const uint8_t* valid;    // (N,), 0 = ignored; or null: all of them are valid
  const float* footprint;  // (N,) or null: `default_footprint` for all of them
  float default_footprint;
  float inverse_size;
  int32_t rejected_from;  // a point with a feature of this magnitude, in bits, or more is rejected
};

struct HeldRows {  // the rows in use
  const int64_t* keys;
  const float* footprint;
  const int32_t* table;
  uint64_t slots;
  int64_t rows;
};

constexpr int kBoxLevels = 3;
constexpr int kBoxFields = sizeof(PyramidBox) / sizeof(float);

struct RowsOfCache {  // what finds rows
  int64_t* keys;
  float *xyz, *footprint;
  int32_t* table;
  uint64_t slots;
  PyramidBox *level0, *level1, *level2;  // as in BoxPyramid
  int64_t limit;                      // R, the capacity

  MIRAGE_HD PyramidBox* level(int level) const { return level == 0 ? level0 : level == 1 ? level1 : level2; }
  MIRAGE_HD int64_t num_boxes(int level) const {
    const int64_t boxes = ceil_div(limit, kFanout);
    return level == 0 ? boxes : level == 1 ? ceil_div(boxes, kFanout) : ceil_div(boxes, kFanout * kFanout);
  }
};

// What rows keep besides their features.
struct Observations {
  const float *xyz, *footprint;  // of the points
  int64_t points;
  float default_footprint;
  int32_t* count;  // of rows; or null
  int64_t* stamp_rows;
  int64_t stamp, used;  // of the R rows so many are in use
};

// A leaf's box holds every observation that its rows have held since the last rebuild.
MIRAGE_HD PyramidBox empty_box() {
  const float inf = bits_float(0x7f800000u);
  return {{{inf, inf, inf}, {-inf, -inf, -inf}}, 0.0f};
}

// Adding 0 turns -0 into 0, so that the box is the same bits whichever of the two came first.
MIRAGE_HD void grow(PyramidBox& b, const float* xyz, float footprint) {
  for (int a = 0; a < 3; ++a) {
    const float x = xyz[a] + 0.0f;
    b.box.min[a] = x < b.box.min[a] ? x : b.box.min[a];
    b.box.max[a] = x > b.box.max[a] ? x : b.box.max[a];
  }
  b.extent = footprint > b.extent ? footprint : b.extent;
}

MIRAGE_HD void grow(PyramidBox& b, const PyramidBox& other) {
  for (int a = 0; a < 3; ++a) {
    b.box.min[a] = other.box.min[a] < b.box.min[a] ? other.box.min[a] : b.box.min[a];
    b.box.max[a] = other.box.max[a] > b.box.max[a] ? other.box.max[a] : b.box.max[a];
  }
  b.extent = other.extent > b.extent ? other.extent : b.extent;
}

MIRAGE_HD bool usable_footprint(float f) {  // false for NaN
  return (f > 0.0f) & (f < bits_float(0x7f800000u));
}

// Magnitudes sort as integers, and those of infinities and NaN are the largest.
MIRAGE_HD int32_t magnitude_bits(float x) { return static_cast<int32_t>(float_bits(x) & 0x7fffffffu); }

constexpr int32_t kInfinityBits = 0x7f800000;
constexpr int32_t kAveragedBits = 0x75000000;  // 2^107: the sum of kMaxCount such features is finite

MIRAGE_HD int32_t rejected_from(Fusion fusion) { return fusion == Fusion::kMean ? kAveragedBits + 1 : kInfinityBits; }

// Whether a valid point is kept if its features are finite. A valid point that is not kept is rejected.
MIRAGE_HD bool is_kept(VoxelAxes axes, float footprint) { return in_range(axes) & usable_footprint(footprint); }

// Of a voxel's points the one of lowest rank is written: smallest footprint first, then lowest index. A usable
// footprint is positive, so its bits sort as an integer.
MIRAGE_HD uint64_t point_rank(float footprint, uint32_t point) {
  return static_cast<uint64_t>(float_bits(footprint)) << 32 | point;
}

// Ties: the existing row wins.
MIRAGE_HD int32_t winner_over_row(int32_t winner, float footprint, float row_footprint) {
  return footprint < row_footprint ? winner : -1;
}

// A mean is a float32 sum and a count. A sum that grows without end absorbs what is added to it, so both are halved
// once the count is kMaxCount: later observations then weigh as much as before.
constexpr int64_t kMaxCount = 1 << 20;

// The number of observations to add to a mean until it is halved. (A file may hold a larger count.)
MIRAGE_HD int64_t until_halved(int64_t count) { return count < kMaxCount ? kMaxCount - count : 1; }

// The count of a mean after `more` observations.
MIRAGE_HD int64_t count_after(int64_t count, int64_t more) {
  while (more >= until_halved(count)) {
    const int64_t added = until_halved(count);
    count = (count + added) / 2;
    more -= added;
  }
  return count + more;
}

// Whether the depth of a map, where a row at depth z lands, is more than `factor` times that.
MIRAGE_HD bool seen_through(float map_depth, float z, float factor) {
  return is_finite(map_depth) & (map_depth > 0.0f) & (map_depth > z * factor);
}

struct StoredRows {
  const void* features;  // (R, C)
  Element element;
  const float* scale;    // (R,) or null
  const int32_t* count;  // (R,) or null
  int64_t rows, channels;
};

struct RowScale {  // of one row
  bool scaled, averaged;
  float scale, count;
};

MIRAGE_HD RowScale load_scale(const StoredRows& in, int64_t row) {
  return {in.scale != nullptr, in.count != nullptr, in.scale ? in.scale[row] : 1.0f,
          in.count ? static_cast<float>(in.count[row]) : 1.0f};
}

// The value of a stored number. A row without a scale is not multiplied: times 1 would keep every number, but not the
// bits of every NaN (a GPU returns one NaN for all, a CPU quiets a signaling one).
MIRAGE_HD float decode_value(float x, const RowScale& row) {
  const float scaled = row.scaled ? x * row.scale : x;
  return row.averaged ? scaled / row.count : scaled;
}

struct CarvedRows {
  const float* xyz;  // (R, 3)
  int64_t rows;
  BoxPyramid boxes;
  int64_t views;
  const float* depth;  // (V, h, w)
  int h, w;
  float factor;
  uint8_t* keep;  // (R,): 0 where a depth map sees through the row
};

// The row that holds a key, or -1. Entries that no row in use can have had are passed by.
MIRAGE_HD int32_t find_row(const int32_t* table, uint64_t slots, const int64_t* keys, int64_t rows, int64_t key,
                           uint64_t home) {
  uint64_t slot = home;
  for (uint64_t probe = 0; probe < slots; ++probe) {
    const int32_t row = table[slot];
    if (row < 0) return -1;
    if (row < rows && keys[row] == key) return row;
    slot = (slot + 1) & (slots - 1);
  }
  return -1;
}

// Enters a row higher than every other: the first empty slot is its own. False when the table is full.
MIRAGE_HD bool enter_row(int32_t* table, uint64_t slots, int32_t row, uint64_t home) {
  uint64_t slot = home;
  for (uint64_t probe = 0; probe < slots; ++probe) {
    if (table[slot] < 0) {
      table[slot] = row;
      return true;
    }
    slot = (slot + 1) & (slots - 1);
  }
  return false;
}

// A plan: K points in S segments, of one voxel each, in one array of 64-bit words.
struct PlanArrays {
  int64_t* key;  // (S,)
  int32_t* starts;  // (S + 1,): where each segment begins in `order`
  int32_t* row;  // (S,)
  int32_t* winner;  // (S,): the point whose observation is kept, -1 where the row keeps its own
  int32_t* order;  // (K,): points
};

struct Segments : PlanArrays {
  int64_t kept, count;
};

// Whether a segment's row and winner fit a state.
MIRAGE_HD bool fits_state(int64_t row, int64_t winner, int64_t limit, int64_t points) {
  return row >= 0 && row < limit && winner >= -1 && winner < points;
}

MIRAGE_HD int64_t plan_words(int64_t kept, int64_t segments) { return segments + ceil_div(3 * segments + 1 + kept, 2); }

// Ends the last segment, and fills the last word up.
MIRAGE_HD void close_plan(const PlanArrays& plan, int64_t kept, int64_t segments) {
  plan.starts[segments] = static_cast<int32_t>(kept);
  if ((3 * segments + 1 + kept) % 2 != 0) plan.order[kept] = 0;
}

MIRAGE_HD PlanArrays split_plan(int64_t* words, int64_t segments) {
  int32_t* starts = reinterpret_cast<int32_t*>(words + segments);
  return {words, starts, starts + segments + 1, starts + 2 * segments + 1, starts + 3 * segments + 1};
}

}  // namespace mirage
