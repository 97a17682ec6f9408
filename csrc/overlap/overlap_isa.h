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

struct OverlapKernels {
  // Sets bits; all of them were 0, or set by other points.
  void (*mark_visible)(const GroupedPoints&, const VisibleJob&);
  // bits (n,) |= others (n,)
  void (*join)(uint64_t* bits, const uint64_t* others, int64_t n);
  // How many bits of a (n,) and b (n,) are set in both.
  int64_t (*count_common)(const uint64_t* a, const uint64_t* b, int64_t n);
};

MIRAGE_EACH_ISA(extern const OverlapKernels overlap_kernels)

}  // namespace mirage
