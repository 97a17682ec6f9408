// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/float16.h"
#include "cpu/isa.h"
#include "splat/splat_composite.h"

namespace mirage {

// Functions come once per dtype of the features: float32, bfloat16, float16.
struct CompositeKernels {
  // Blends cells first .. last - 1 (V, h w) into rows (last - first, C); sums (C,) is a workspace.
  void (*blend[3])(const CompositeLayers&, int64_t first, int64_t last, const void* features, int64_t channels,
                   float* sums, void* rows);
  // The gradients of the weights of cells first .. last - 1, in an array (V, k, h w). grad (V, h w, C).
  void (*backward_weights[3])(const CompositeLayers&, int64_t first, int64_t last, const float* grad,
                              const void* features, int64_t channels, float* out);
};

MIRAGE_EACH_ISA(extern const CompositeKernels composite_kernels)

}  // namespace mirage
