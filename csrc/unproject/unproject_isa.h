// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu/isa.h"
#include "unproject/unproject.h"

namespace mirage {

// The pixels of a cell, those among which the median is, and a byte of each; with room to fill up vectors.
constexpr int64_t pool_scratch(int64_t pixels) { return 2 * pixels + pixels / 4 + 48; }

struct UnprojectKernels {
  // Depths of the cells of row i: depth (w,), 0 where a cell has none, and with `pixel` (w,) the row-major pixel
  // each was read from (-1 where none, or several). `scratch` has pool_scratch(pixels of the largest cell) words.
  void (*pool_row)(const DepthMap&, const PoolRule&, const Grid&, int64_t i, uint32_t* scratch, float* depth,
                   int64_t* pixel);
  // depth (w,) -> xyz (w, 3), footprint (w,), valid (w,)
  void (*lift_row)(const Rigid& cam2world, const Pinhole&, int64_t i, int64_t w, const float* depth, float* xyz,
                   float* footprint, uint8_t* valid);
};

MIRAGE_EACH_ISA(extern const UnprojectKernels unproject_kernels)

}  // namespace mirage
