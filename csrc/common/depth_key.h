// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hostdev.h"

// One 64-bit integer orders the points of a cell: nearest first, then lowest index. Depth is positive, so its
// bits sort as an integer and the key is a positive int64; a cell's depth and winner can never come apart.
namespace mirage {

constexpr int64_t kEmptyKey = INT64_MAX;

MIRAGE_HD int64_t depth_key(float z, uint32_t index) {
  return static_cast<int64_t>((static_cast<uint64_t>(float_bits(z)) << 32) | index);
}

MIRAGE_HD int64_t key_index(int64_t key) {
  return key & 0xffffffff;
}

MIRAGE_HD float key_depth(int64_t key) {
  return bits_float(static_cast<uint32_t>(static_cast<uint64_t>(key) >> 32));
}

}  // namespace mirage
