// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu/isa.h"
#include "cpu/page_walk.h"
#include "cpu/point_block.h"

namespace mirage {

constexpr int64_t kPagesPerBlock = kPointBlock / kPage;

enum class Shape : int32_t { kPoint, kSquare, kDisc };

struct SplatPoints {
  const float* xyz;      // (N, 3)
  const uint8_t* valid;  // (N,), 0 = not to be drawn; or null: all of them
  const float* extents;  // (N,), each to be scaled (scaled_extent); or null: `extent` for all of them
  float extent;          // world units
  float least_extent;
  float radius;  // cells
  Shape shape;
  int64_t n;
  PageBoxes boxes;  // that all points lie in; or nulls: nobody knows where they lie
};

MIRAGE_HD int64_t num_blocks(const SplatPoints& points) {
  return ceil_div(points.n, kPointBlock);
}

// Keys (h w) per view, (views, h, w) in all, of the points of blocks (with boxes: of runs of 64 pages) part,
// part + parts, ...
struct SplatJob {
  const View* views;
  int64_t* keys;
  int num_views, h, w;
  int64_t part, parts;
};

// Clears the job's keys and lowers them by its points.
using Scatter = void (*)(const SplatPoints&, const SplatJob&);

struct SplatKernels {
  Scatter scatter;
  // Lowers keys (n,) by others (n,).
  void (*join)(int64_t* keys, const int64_t* others, int64_t n);
  // Turns keys (n,) into depth and, in place, index; returns how many are not holes.
  int64_t (*decode)(int64_t* keys, int64_t n, float* depth);
};

MIRAGE_EACH_ISA(extern const SplatKernels splat_kernels)

}  // namespace mirage
