// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/camera.h"

// visible and overlap: sets of groups of points as bits. Bit g % 64 of word g / 64 stands for group g.
namespace mirage {

struct GroupedPoints {
  const float* xyz;       // (N, 3)
  const uint8_t* valid;   // (N,), 0 = ignored; or null: all of them are valid
  const int64_t* groups;  // (N,) or null: point n is group n
  int64_t n, num_groups;
};

MIRAGE_HD bool is_visible(const Rigid& world2cam, const Pinhole& k, float x, float y, float z, int h, int w) {
  return inside(project(world2cam, k, x, y, z), h, w);
}

struct GroupBit {
  int64_t word;
  uint64_t bit;
};

// Of a group that is not one of 0 .. groups - 1 (groups > 0): no bit, in the first word.
MIRAGE_HD GroupBit bit_of_group(int64_t group, int64_t groups) {
  const bool in_bounds = static_cast<uint64_t>(group) < static_cast<uint64_t>(groups);
  return {in_bounds ? group >> 6 : 0, static_cast<uint64_t>(in_bounds) << (group & 63)};
}

MIRAGE_HD int count_bits(uint64_t x) {
#if defined(__CUDA_ARCH__)
  return __popcll(x);
#elif defined(__POPCNT__) || !defined(__x86_64__)
  return __builtin_popcountll(x);
#else  // the oldest x86-64 has no such instruction, and a call into a library would cost more than this
  x -= (x >> 1) & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return static_cast<int>((x * 0x0101010101010101u) >> 56);
#endif
}

// Intersection over union of sets that hold of_a and of_b groups, `common` of them both; 0 / 0 = 0. The quotient is
// rounded to float64 and then to float32, which up to 2^24 groups is the same as one float32 division.
MIRAGE_HD float iou(int64_t common, int64_t of_a, int64_t of_b) {
  const int64_t either = of_a + of_b - common;
  return either > 0 ? static_cast<float>(static_cast<double>(common) / static_cast<double>(either)) : 0.0f;
}

}  // namespace mirage
