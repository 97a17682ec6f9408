// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu/isa.h"
#include "cpu/point_block.h"
#include "splat/splat_blend.h"

namespace mirage {

constexpr int kBlendRows = 4;  // of cells, blended together

// A row of numbers with a margin, filled up to whole vectors.
MIRAGE_HD int64_t blend_stride(int64_t w) { return ceil_div(w, kLanes) * kLanes + kLanes; }

// Numbers that kBlendRows rows of cells need: offsets and depths around a row, weights and their sums, features, and
// sums of those.
MIRAGE_HD int64_t blend_scratch(int64_t w) { return (9 + (kNeighbors + 2) * kBlendRows + 3) * blend_stride(w); }

template <class T>
using BlendRows = void (*)(const BlendJob&, int64_t view, int first, int last, float* scratch);

struct BlendKernels {
  // The offsets of a row of cells.
  void (*offsets)(const OffsetsJob&, int64_t view, int row);
  // All channels of rows first .. last - 1, at most kBlendRows.
  BlendRows<float> of_float;
  BlendRows<BFloat16> of_bfloat16;
  BlendRows<Float16> of_float16;

  BlendRows<float> of(float) const { return of_float; }
  BlendRows<BFloat16> of(BFloat16) const { return of_bfloat16; }
  BlendRows<Float16> of(Float16) const { return of_float16; }
};

MIRAGE_EACH_ISA(extern const BlendKernels blend_kernels)

}  // namespace mirage
