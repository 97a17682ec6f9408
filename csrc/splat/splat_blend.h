// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/float16.h"
#include "../common/frustum.h"
#include "splat/splat.h"

// splat_offsets: where in its cell a rendered point lies. splat_blend: maps (V, C, h, w) resampled at the centers of
// their cells, from the points of the nine cells around each.
namespace mirage {

constexpr int kNeighbors = 9;  // in the order of their cells

struct OffsetsJob {
  const float* xyz;  // (N, 3)
  int64_t n;
  const float *world2cam, *intrinsics;  // (V, 3, 4), (V, 3, 3)
  const int64_t* index;                 // (V, h, w); a hole where it is no point
  int64_t views;
  int h, w;
  float* out;  // (V, 2, h, w)

  MIRAGE_HD int64_t cells() const { return static_cast<int64_t>(h) * w; }
};

// From the center of cell (i, j) to the point, in cells; 0 in a hole.
MIRAGE_HD Offset offset_in_cell(const OffsetsJob& job, const Rigid& m, const Pinhole& k, int64_t point, int i, int j) {
  const bool some = point >= 0 && point < job.n;
  const float* at = job.xyz + 3 * (some ? point : 0);
  if (!some) return {0.0f, 0.0f};
  const Projection p = project(m, k, at[0], at[1], at[2]);
  return {p.u - (static_cast<float>(j) + 0.5f), p.v - (static_cast<float>(i) + 0.5f)};
}

struct BlendJob {
  const void* features;  // (V, C, h, w)
  const float* offsets;  // (V, 2, h, w)
  const float* depth;    // (V, h, w), not finite in holes
  int64_t views, channels;
  int h, w;
  float band;
  void* out;  // (V, C, h, w)

  MIRAGE_HD int64_t cells() const { return static_cast<int64_t>(h) * w; }
};

struct Neighbor {  // what a cell shows; no depth off the grid
  float x, y, depth;
};

// How much the point of the neighbor down rows and across columns counts at the center of a cell at `depth`: its
// bilinear weight there, if it lies in its own cell and on about the same surface. 0 for NaN.
MIRAGE_HD float neighbor_weight(const Neighbor& n, float depth, int down, int across, float band) {
  const bool own = (magnitude_of(n.x) <= 0.5f) & (magnitude_of(n.y) <= 0.5f);
  const bool same = is_finite(depth) & is_finite(n.depth) & (magnitude_of(n.depth - depth) <= band * depth);
  const float x = magnitude_of(static_cast<float>(across) + n.x);
  const float y = magnitude_of(static_cast<float>(down) + n.y);
  const float weight = (1.0f - x) * (1.0f - y);
  return own & same & (x < 1.0f) & (y < 1.0f) ? weight : 0.0f;
}

// A neighbor of weight 0 does not count, whatever its features are.
MIRAGE_HD float weighted_sum(float sum, float weight, float feature) {
  const float product = weight * feature;
  return sum + (weight > 0.0f ? product : 0.0f);
}

// 0 where hardly any neighbor counts, as in a hole. All channels of a cell are multiplied by it.
MIRAGE_HD float inverse_weight(float total) {
  const float inverse = 1.0f / total;
  return is_covered(total) ? inverse : 0.0f;
}

// The cell's own feature where no neighbor counts.
MIRAGE_HD float blended(float sum, float inverse, float own) {
  const float mean = sum * inverse;
  return inverse > 0.0f ? mean : own;
}

}  // namespace mirage
