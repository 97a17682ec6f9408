// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/frustum.h"
#include "../common/voxel_key.h"

// voxel_cache: one point, one row, one box, one slot of the table. N points, S voxels among them, R rows, T slots.
namespace mirage {

enum class Fusion { kBest = 0, kLatest = 1, kMean = 2 };
enum class Element { kFloat, kBFloat16, kFloat16, kInt8 };

constexpr uint64_t kDropped = ~uint64_t{0};  // in place of a Morton code, of which 63 bits are used

struct CachePoints {
  const float* xyz;        // (N, 3)
  const uint8_t* valid;    // (N,), 0 = not offered; or null: all of them are
  const float* footprint;  // (N,) or null: `default_footprint` for all of them
  float default_footprint;
  float inverse_size;
};

struct HeldRows {  // what the cache holds already
  const int64_t* keys;
  const float* footprint;
  const int32_t* table;
  uint64_t slots;
  int64_t rows;
};

// A page's box holds every observation that its rows have held since the last rebuild.
MIRAGE_HD PageBox empty_box() {
  const float inf = bits_float(0x7f800000u);
  return {{{inf, inf, inf}, {-inf, -inf, -inf}}, 0.0f};
}

// Adding 0 turns -0 into 0, so that the box is the same bits whichever of the two came first.
MIRAGE_HD void grow(PageBox& b, const float* xyz, float footprint) {
  for (int a = 0; a < 3; ++a) {
    const float x = xyz[a] + 0.0f;
    b.box.min[a] = x < b.box.min[a] ? x : b.box.min[a];
    b.box.max[a] = x > b.box.max[a] ? x : b.box.max[a];
  }
  b.extent = footprint > b.extent ? footprint : b.extent;
}

MIRAGE_HD void grow(PageBox& b, const PageBox& other) {
  for (int a = 0; a < 3; ++a) {
    b.box.min[a] = other.box.min[a] < b.box.min[a] ? other.box.min[a] : b.box.min[a];
    b.box.max[a] = other.box.max[a] > b.box.max[a] ? other.box.max[a] : b.box.max[a];
  }
  b.extent = other.extent > b.extent ? other.extent : b.extent;
}

MIRAGE_HD bool usable_footprint(float f) {  // false for NaN
  return (f >= 0.0f) & (f < bits_float(0x7f800000u));
}

// One scale a row: the largest magnitude is 127.
MIRAGE_HD float int8_scale(float largest) {
  return largest / 127.0f;
}

// -127 .. 127. Adding and taking away 1.5 * 2^23 rounds to nearest, ties to even. A scale that has lost bits to
// underflow can leave a quotient above 127.
MIRAGE_HD int32_t int8_steps(float x, float scale) {
  const float steps = (x / scale + 12582912.0f) - 12582912.0f;
  const float high = steps < 127.0f ? steps : 127.0f;
  const float in = high > -127.0f ? high : -127.0f;
  return static_cast<int32_t>(scale > 0.0f ? in : 0.0f);
}

// Does a depth map show, where a row at depth z falls, something more than `factor` times as far?
MIRAGE_HD bool seen_through(float shown, float z, float factor) {
  return is_finite(shown) & (shown > 0.0f) & (shown > z * factor);
}

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
  int64_t* key;     // (S,)
  int32_t* starts;  // (S + 1,): where each segment begins in `order`
  int32_t* row;     // (S,)
  int32_t* winner;  // (S,): the point whose observation is kept, -1 where the row keeps its own
  int32_t* order;   // (K,): points
};

MIRAGE_HD int64_t plan_words(int64_t kept, int64_t segments) {
  return segments + ceil_div(3 * segments + 1 + kept, 2);
}

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
