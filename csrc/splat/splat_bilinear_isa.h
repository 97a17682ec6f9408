// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/float16.h"
#include "splat/splat_isa.h"

// mode "bilinear". N points, V views, C channels, grid (h, w).
namespace mirage {

struct BlendGrid {
  int h, w;
  int64_t channels;
  const float* limits;  // (views, h w): a cell blends the points with a tap in it up to this depth
};

// The sums of cells [first, last) of some views.
struct BlendSums {
  int64_t first, last;
  float* features;  // (views, last - first, C): of weight times feature
  float* weights;   // one for each cell, `stride` between the views
  int64_t stride;

  int64_t cells() const { return last - first; }
};

// One view's cells from `first` on, and where they go.
struct BlendResult {
  int64_t count, stride;  // stride between the channels of out
  int64_t* index;
  float* depth;
  void* out;
};

// What the gradients of points in blocks [first, last) are made of.
struct BlendGradient {
  const View* views;
  int num_views;
  const float* grad;     // (views, h w, C)
  const float* weights;  // (views, h w)
  const float* blended;  // (views, h w, C): the features of the cell; of backward_xyz only
  int64_t first, last;
};

// Functions of features come once per dtype: float32, bfloat16, float16.
struct BilinearKernels {
  Scatter scatter;  // into the cells of the taps
  // Clears the sums and adds the points in ascending order.
  void (*blend[3])(const SplatPoints&, const View* views, int num_views, const BlendGrid&, const void* features,
                   const BlendSums&);
  // Of one view, the first of the sums: divides by the weights; a cell that is not covered becomes a hole, in index,
  // depth and weights too.
  void (*normalize[3])(const BlendGrid&, const BlendSums&, const BlendResult&);
  // Adds to sums (N, C) the gradient of the features.
  void (*backward_features)(const SplatPoints&, const BlendGrid&, const BlendGradient&, float* sums);
  // Adds to sums (N, 3) the gradient of the points through their weights.
  void (*backward_xyz[3])(const SplatPoints&, const BlendGrid&, const BlendGradient&, const void* features,
                          float* sums);
};

MIRAGE_EACH_ISA(extern const BilinearKernels bilinear_kernels)

}  // namespace mirage
