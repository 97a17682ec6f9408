// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/frustum.h"
#include "cpu/isa.h"

namespace mirage {

struct SplatPoints {
  const float* xyz;       // (N, 3)
  const uint8_t* valid;   // (N,), 0 = not to be drawn; or null: all of them
  const float* extents;   // (N,) or null: `extent` for all of them
  float extent;           // world units
  int64_t n;
};

struct SplatView {
  Rigid world2cam;
  Pinhole pinhole;
  Frustum frustum;
};

// Keys (h w) per view, (views, h, w) in all, of the points of blocks part, part + parts, ...
struct SplatJob {
  const SplatView* views;
  int64_t* keys;
  int num_views, h, w;
  int64_t part, parts;
};

struct SplatKernels {
  // Clears the job's keys and lowers them by its points.
  void (*scatter)(const SplatPoints&, const SplatJob&);
  // Lowers keys (n,) by others (n,).
  void (*join)(int64_t* keys, const int64_t* others, int64_t n);
  // Turns keys (n,) into depth and, in place, index; returns how many are not holes.
  int64_t (*decode)(int64_t* keys, int64_t n, float* depth);
};

MIRAGE_EACH_ISA(extern const SplatKernels splat_kernels)

}  // namespace mirage
