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

constexpr int kMaxVisible = 1024;
constexpr int kUnusedSums = 4;  // behind those of a view's cells, one for each corner

// Points with a tap in a view, in ascending order: what a z-buffer and then the sums are made of.
struct alignas(64) VisiblePoints {
  uint32_t point[kMaxVisible], depth[kMaxVisible];  // bits of Z
  int32_t i[kMaxVisible], j[kMaxVisible];           // their Corners
  float s[kMaxVisible], t[kMaxVisible];
  int32_t count;
};

// The visible points of every view, to be continued.
struct VisibleLists {
  VisiblePoints** last;  // (views,)
  VisiblePoints* (*extend)(VisibleLists&, int view);  // makes the next, empty one the last of the view
};

// The z-buffer of blocks [first, last).
struct BilinearJob {
  const View* views;
  uint64_t* keys;  // (views, h w)
  int num_views, h, w;
  int64_t first, last;
};

// The sums of cells [first, last) of a view.
struct BlendSums {
  int64_t first, last;
  float* features;  // (cells + kUnusedSums, C): of weight times feature
  float* weights;   // (cells + kUnusedSums,)

  int64_t cells() const { return last - first; }
};

// Cells from `first` on, and where they go.
struct BlendResult {
  int64_t stride;  // between the channels of out
  int64_t* index;
  float* depth;
  float* weight;
  void* out;
  bool stream;  // past the caches
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
  // Empties the job's keys, then takes the minimum with those of its points in the cells of their taps, and lists the
  // points.
  void (*scatter)(const SplatPoints&, const BilinearJob&, VisibleLists&);
  // Adds the points to the sums of the cells that blend them.
  void (*blend[3])(const VisiblePoints&, const BlendGrid&, const void* features, const BlendSums&);
  // Divides by the weights; a cell that is not covered becomes a hole, in index, depth and weight too.
  void (*normalize[3])(const BlendGrid&, const BlendSums&, const BlendResult&);
  // Adds to sums (N, C) the gradient of the features.
  void (*backward_features)(const SplatPoints&, const BlendGrid&, const BlendGradient&, float* sums);
  // Adds to sums (N, 3) the gradient of the points through their weights.
  void (*backward_xyz[3])(const SplatPoints&, const BlendGrid&, const BlendGradient&, const void* features,
                          float* sums);
};

MIRAGE_EACH_ISA(extern const BilinearKernels bilinear_kernels)

}  // namespace mirage
