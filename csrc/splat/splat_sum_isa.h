// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu/isa.h"
#include "cpu/point_block.h"
#include "splat/splat_sum.h"

namespace mirage {

struct SumBuffers {
  float* sums;              // (h w, C + 1), of weighted features, and of weights
  uint32_t* rows;           // (kPointBlock, C + 1), of a thread; words, because transpose moves no floats
  const uint32_t** planes;  // (C,), of a thread
};

struct SumKernels {
  // Adds all points to rows first .. last - 1 of the grid.
  void (*add_to_rows)(const PlacedPoints&, int first, int last, const SumBuffers&);
};

MIRAGE_EACH_ISA(extern const SumKernels sum_kernels)

}  // namespace mirage
