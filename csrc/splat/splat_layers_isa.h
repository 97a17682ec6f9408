// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat_isa.h"
#include "splat/splat_layers.h"

// splat with k. N points, V views, k layers, grid (h, w).
namespace mirage {

constexpr int64_t kLayerBlock = 8;  // keys that are moved together: those of a cell are a multiple of them

// Larger than every key, also as a signed integer, which is what vectors compare.
constexpr int64_t kNoLayer = INT64_MAX;

// The z-buffers of views. Every cell has its `layers` nearest keys, in ascending order, and further ones up to
// `stride`, which are not used.
struct LayerBuffers {
  int64_t* keys;     // (views, h w, stride)
  uint64_t* limits;  // (views, h w): the last of the `layers` keys
  int64_t layers, stride, cells;

  MIRAGE_HD LayerBuffers from(int64_t view) const {
    return {keys + view * cells * stride, limits + view * cells, layers, stride, cells};
  }
};

// The points of blocks part, part + parts, ...
struct LayersJob {
  const View* views;
  LayerBuffers buffers;
  int num_views, h, w;
  int64_t part, parts;
};

// One view's cells first .. last - 1, in arrays (k, h w).
struct DecodedLayers {
  int64_t first, last;
  int64_t* index;
  float *depth, *distance2;
};

struct LayersKernels {
  // Empties the job's buffers, then inserts the keys of its points.
  void (*scatter)(const SplatPoints&, const LayersJob&);
  // Inserts the keys of cells first .. last - 1 of other buffers.
  void (*join)(const LayerBuffers&, const LayerBuffers& others, int64_t first, int64_t last);
  void (*decode)(const SplatPoints&, const View&, int w, const LayerBuffers&, const DecodedLayers&);
};

MIRAGE_EACH_ISA(extern const LayersKernels layers_kernels)

}  // namespace mirage
