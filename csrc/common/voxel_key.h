// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hostdev.h"

// Which voxel a point lies in, as one integer, and where that integer is looked up. An axis counts voxels from 2^20
// below the origin, in 21 bits; a key packs x, y, z from the top. This decides, so it rounds once: in x * inverse_size.
namespace mirage {

constexpr int kAxisBits = 21;
constexpr int32_t kAxisLimit = 1 << 20;  // voxels to either side of the origin

struct VoxelAxes {
  uint32_t x, y, z;  // 0 .. 2^21 - 1
};

// floor(x * inverse_size) + 2^20; anything above 2^21 - 1 is out of range, or NaN. Clamping one voxel beyond the range
// keeps the conversion defined, and truncating first keeps it vectorizable where there is no instruction for floor.
MIRAGE_HD uint32_t voxel_axis(float x, float inverse_size) {
  const float scaled = x * inverse_size;
  const float bounded = scaled > -1048577.0f ? scaled : -1048577.0f;
  const float s = bounded < 1048576.0f ? bounded : 1048576.0f;
  const int32_t truncated = static_cast<int32_t>(s);
  const int32_t below = truncated - static_cast<int32_t>(static_cast<float>(truncated) > s);
  return static_cast<uint32_t>(below + kAxisLimit);
}

MIRAGE_HD bool in_range(VoxelAxes a) { return ((a.x | a.y | a.z) >> kAxisBits) == 0; }

MIRAGE_HD int64_t voxel_key(VoxelAxes a) {
  return static_cast<int64_t>((static_cast<uint64_t>(a.x) << (2 * kAxisBits)) |
                              (static_cast<uint64_t>(a.y) << kAxisBits) | a.z);
}

MIRAGE_HD VoxelAxes axes_of(int64_t key) {
  constexpr uint32_t mask = (1u << kAxisBits) - 1;
  const uint64_t k = static_cast<uint64_t>(key);
  return {static_cast<uint32_t>(k >> (2 * kAxisBits)) & mask, static_cast<uint32_t>(k >> kAxisBits) & mask,
          static_cast<uint32_t>(k) & mask};
}

// Bit b of 21 goes to bit 3b.
MIRAGE_HD uint64_t spread_bits(uint32_t axis) {
  uint64_t x = axis;
  x = (x | x << 32) & 0x001f00000000ffffu;
  x = (x | x << 16) & 0x001f0000ff0000ffu;
  x = (x | x << 8) & 0x100f00f00f00f00fu;
  x = (x | x << 4) & 0x10c30c30c30c30c3u;
  return (x | x << 2) & 0x1249249249249249u;
}

// The way back; the other bits are ignored.
MIRAGE_HD uint32_t unspread_bits(uint64_t code) {
  uint64_t x = code & 0x1249249249249249u;
  x = (x | x >> 2) & 0x10c30c30c30c30c3u;
  x = (x | x >> 4) & 0x100f00f00f00f00fu;
  x = (x | x >> 8) & 0x001f0000ff0000ffu;
  x = (x | x >> 16) & 0x001f00000000ffffu;
  return static_cast<uint32_t>(x | x >> 32) & ((1u << kAxisBits) - 1);
}

// Bit b of x, y, z becomes bit 3b + 2, 3b + 1, 3b: voxels near in this order are near in space.
MIRAGE_HD uint64_t morton(VoxelAxes a) { return spread_bits(a.x) << 2 | spread_bits(a.y) << 1 | spread_bits(a.z); }

MIRAGE_HD VoxelAxes axes_of_morton(uint64_t code) {
  return {unspread_bits(code >> 2), unspread_bits(code >> 1), unspread_bits(code)};
}

// Where the search for a key begins in a table of `slots`, a power of two >= 64. The voxels of a 4x4x4 block lie
// side by side in Morton order, so that a surface looked up in that order touches few cache lines and pages.
MIRAGE_HD uint64_t home_slot(VoxelAxes a, uint64_t slots) {
  const uint64_t block = static_cast<uint64_t>(a.x >> 2) << 38 | static_cast<uint64_t>(a.y >> 2) << 19 | (a.z >> 2);
  uint64_t h = block * 0x9e3779b97f4a7c15u;
  h ^= h >> 32;
  h *= 0xd6e8feb86659fd93u;
  h ^= h >> 32;
  const uint64_t inner = (a.x & 2) << 4 | (a.y & 2) << 3 | (a.z & 2) << 2 | (a.x & 1) << 2 | (a.y & 1) << 1 | (a.z & 1);
  return (h & (slots / 64 - 1)) * 64 + inner;
}

}  // namespace mirage
