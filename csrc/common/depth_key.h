// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hostdev.h"

// One 64-bit integer orders the points of a cell: nearest first, then lowest index. Depth is positive, so its bits sort
// as an integer. A cell's depth and its point are one word, so they always belong together.
namespace mirage {

// Above every key, and all bytes are the same. As an int64 it is -1, the index of a hole.
constexpr uint64_t kEmptyKey = ~uint64_t{0};

MIRAGE_HD uint64_t depth_key(float z, uint32_t index) { return static_cast<uint64_t>(float_bits(z)) << 32 | index; }

MIRAGE_HD int64_t key_index(uint64_t key) { return static_cast<int64_t>(key & 0xffffffff); }

MIRAGE_HD float key_depth(uint64_t key) { return bits_float(static_cast<uint32_t>(key >> 32)); }

struct NearestPoint {  // of a cell: infinity and -1 in a hole
  float depth;
  int64_t index;
};

MIRAGE_HD NearestPoint decode_key(uint64_t key) {
  const bool hit = key != kEmptyKey;
  return {hit ? key_depth(key) : bits_float(0x7f800000u), hit ? key_index(key) : -1};
}

}  // namespace mirage
