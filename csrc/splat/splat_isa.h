// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu/isa.h"
#include "cpu/leaf_traversal.h"
#include "cpu/point_block.h"
#include "splat/splat_cloud.h"
#include "splat/splat_surface.h"

namespace mirage {

constexpr int64_t kLeavesPerBlock = kPointBlock / kFanout;

MIRAGE_HD int64_t num_blocks(const SplatPoints& points) { return ceil_div(points.n, kPointBlock); }

// Keys (h w) per view, (views, h, w) in all, of the points of blocks (with boxes: of runs of 64 leaves) part,
// part + parts, ...
struct SplatJob {
  const View* views;
  uint64_t* keys;
  int num_views, h, w;
  int64_t part, parts;
};

// Empties the job's keys, then takes the minimum with those of its points.
using Scatter = void (*)(const SplatPoints&, const SplatJob&);

struct SplatKernels {
  Scatter scatter;
  // keys (n,) = the minimum of keys and others (n,).
  void (*join)(uint64_t* keys, const uint64_t* others, int64_t n);
  // Turns keys (n,) into depth and, in place, index; returns how many are not holes.
  int64_t (*decode)(uint64_t* keys, int64_t n, float* depth);
  // Cells [begin, end) of two renderings.
  void (*composite)(const SurfaceJob&, int64_t begin, int64_t end);
};

MIRAGE_EACH_ISA(extern const SplatKernels splat_kernels)

}  // namespace mirage
