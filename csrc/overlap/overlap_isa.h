// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu/isa.h"
#include "cpu/point_block.h"
#include "overlap/overlap.h"

namespace mirage {

// The bits (views, words) that points first .. last - 1 set; first is a multiple of kPointBlock.
struct VisibleJob {
  const View* views;
  uint64_t* bits;
  int64_t num_views, words;
  int h, w;
  int64_t first, last;
};

// Which of S sets (S, W) to keep. Scratch: how many of the sets that are left have each bit, as binary numbers whose
// digits are bits of `digits` words, and the bits that one set alone has since the last one left.
struct KeepJob {
  const uint64_t* bits;
  int64_t sets, words, count;
  int digits;         // of S
  uint64_t* holders;  // (digits, W)
  uint64_t* alone;    // (W,)
  int64_t* own;       // (S,): how many bits each set alone has
  uint8_t* is_kept;   // (S,)
};

struct OverlapKernels {
  // Sets bits; all of them were 0, or set by other points.
  void (*mark_visible)(const GroupedPoints&, const VisibleJob&);
  // bits (n,) |= others (n,)
  void (*join)(uint64_t* bits, const uint64_t* others, int64_t n);
  // How many bits of a (n,) and b (n,) are set in both.
  int64_t (*count_common)(const uint64_t* a, const uint64_t* b, int64_t n);
  // Again and again the set leaves that alone has the fewest bits, until `count` are kept; ties: the first one leaves.
  void (*keep)(const KeepJob&);
};

MIRAGE_EACH_ISA(extern const OverlapKernels overlap_kernels)

}  // namespace mirage
