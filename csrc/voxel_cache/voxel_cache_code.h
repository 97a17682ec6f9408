// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/voxel_key.h"

// Morton codes without the bits that say nothing, in the same order, so that two digits are mostly enough to sort them.
namespace mirage {

constexpr uint64_t kHighBits = uint64_t{7} << 60;  // the highest bit of every axis
constexpr uint32_t kLowBits = (1u << (kAxisBits - 1)) - 1;

// Turns over the bits below the top one where that is 0: what is near the origin, on either side, then begins with 0s.
MIRAGE_HD uint32_t fold_axis(uint32_t c) { return c ^ (c >> (kAxisBits - 1) != 0 ? 0 : kLowBits); }

// The same of a code: turns over what belongs to the axes whose tops are 0. Its own inverse.
MIRAGE_HD uint64_t fold_code(uint64_t code) {
  const uint64_t below = ~code >> 60 & 7;
  const uint64_t every = kHighBits | (kHighBits - 1);
  const uint64_t x = below & 4 ? every / 7 * 4 : 0;
  const uint64_t y = below & 2 ? every / 7 * 2 : 0;
  const uint64_t z = below & 1 ? every / 7 : 0;
  return code ^ ((x | y | z) & ~kHighBits);
}

// A folded bit that is the same for every point is dropped. Below the top bits that loses no order: what it was turned
// over by is a higher bit of the same code.
struct ShortCode {
  uint64_t keep;  // which bits of a code are kept
  uint64_t constant;  // what the others are in a folded one
  uint64_t moves[6];  // which bits go down by 1, 2, 4, ... places
  int bits;
};

// From the bits that are 1 anywhere, and those that are 0 anywhere, in folded axes. To pack bits together: Warren,
// Hacker's Delight, 7-4 and 7-5.
MIRAGE_HD ShortCode make_short_code(VoxelAxes ones, VoxelAxes zeros) {
  ShortCode s;
  s.keep = morton(ones) & morton(zeros);
  s.constant = morton(ones) & ~s.keep;
  s.bits = 0;
  for (uint64_t left = s.keep; left != 0; left &= left - 1) ++s.bits;
  uint64_t mask = s.keep, below = ~s.keep << 1;  // below: bits with an odd number of dropped ones to go past
  for (int i = 0; i < 6; ++i) {
    uint64_t parity = below;
    for (int shift = 1; shift < 64; shift *= 2) parity ^= parity << shift;
    s.moves[i] = parity & mask;
    mask = (mask ^ s.moves[i]) | s.moves[i] >> (1 << i);
    below &= ~parity;
  }
  return s;
}

MIRAGE_HD uint64_t shorten(const ShortCode& s, uint64_t code) {
  uint64_t x = code & s.keep;
  for (int i = 0; i < 6; ++i) {
    const uint64_t moved = x & s.moves[i];
    x = (x ^ moved) | moved >> (1 << i);
  }
  return x;
}

MIRAGE_HD uint64_t restore(const ShortCode& s, uint64_t code) {
  uint64_t x = code;
  for (int i = 5; i >= 0; --i) x = (x & ~s.moves[i]) | (x << (1 << i) & s.moves[i]);
  x = (x & s.keep) | (s.constant & kHighBits);
  return (x & (s.keep | kHighBits)) | (fold_code((x & kHighBits) | s.constant) & ~s.keep & ~kHighBits);
}

}  // namespace mirage
