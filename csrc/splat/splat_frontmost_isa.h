// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu/isa.h"
#include "splat/splat_frontmost.h"

namespace mirage {

// Of one view at a time: they stay in a cache where those of all views would not.
struct FrontmostBuffers {
  uint32_t* nearest;  // (h w,) bits of depths
  uint32_t* points;   // (N + 1,) those in view
  int32_t* cells;     // (N + 1,) of these
  float* depths;      // (N + 1,)
};

struct FrontmostKernels {
  // Writes which points are front-most in one view.
  void (*mark)(const FrontmostJob&, int64_t view, const FrontmostBuffers&);
};

MIRAGE_EACH_ISA(extern const FrontmostKernels frontmost_kernels)

}  // namespace mirage
