// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "camera.h"

// A conservative reject: can any point of a box be drawn by a view? The float32 test of camera.h decides which
// cell a point gets; this one only saves asking it. So it must never reject a point that camera.h would draw, and
// it answers "maybe" wherever rounding, overflow or a NaN could matter.
namespace mirage {

struct Box {  // points whose coordinates are NaN or infinite are never drawn and may be left out
  float min[3], max[3];
};

struct Frustum {
  // A point with depth > 0 is left of column 0 when fx X + cx Z < 0, right of the last one when
  // (w - cx) Z - fx X <= 0; rows alike; and behind when Z <= 0. Five half-spaces n . x + d >= 0.
  double normal[5][3], offset[5];
  double focal[5];         // how far a square's half-size moves the half-space: fx, fx, fy, fy, 0
  double magnitude[5][4];  // the same sums over absolute values, which bound the rounding error
};

MIRAGE_HD double magnitude_of(double x) {
  return x < 0 ? -x : x;
}

// Of the grid grown by `margin` cells on every side: a point there may still cover cells of the grid.
MIRAGE_HD Frustum make_frustum(const Rigid& m, const Pinhole& k, int h, int w, float margin = 0.0f) {
  const double grown = margin;
  const double rows[3][4] = {{m.r00, m.r01, m.r02, m.t0}, {m.r10, m.r11, m.r12, m.t1}, {m.r20, m.r21, m.r22, m.t2}};
  const double side[5] = {k.fx, -k.fx, k.fy, -k.fy, 0.0};
  const double depth[5] = {k.cx + grown, (w - static_cast<double>(k.cx)) + grown, k.cy + grown,
                           (h - static_cast<double>(k.cy)) + grown, 1.0};
  // |u| and the bound it is compared with, per unit of depth, both count towards the rounding error
  const double depth_size[5] = {magnitude_of(k.cx) + grown, magnitude_of(k.cx) + w + grown,
                                magnitude_of(k.cy) + grown, magnitude_of(k.cy) + h + grown, 1.0};
  const int axis[5] = {0, 0, 1, 1, 2};
  Frustum f;
  for (int p = 0; p < 5; ++p) {
    for (int a = 0; a < 4; ++a) {
      const double across = side[p] * rows[axis[p]][a];
      (a < 3 ? f.normal[p][a] : f.offset[p]) = across + depth[p] * rows[2][a];
      f.magnitude[p][a] = magnitude_of(across) + depth_size[p] * magnitude_of(rows[2][a]);
    }
    f.focal[p] = magnitude_of(side[p]);
  }
  return f;
}

struct View {  // a camera over a grid
  Rigid world2cam;
  Pinhole pinhole;
  Frustum frustum;
};

MIRAGE_HD View load_view(const float* world2cam, const float* intrinsics, int h, int w, float margin = 0.0f) {
  const Rigid m = load_rigid(world2cam);
  const Pinhole k = load_pinhole(intrinsics);
  return {m, k, make_frustum(m, k, h, w, margin)};
}

// A point's extent where each has its own: `scale` times the larger of its own and `least`, which a NaN gives way to.
MIRAGE_HD float scaled_extent(float scale, float own, float least) {
  return scale * (own > least ? own : least);
}

// True only when no point of the box, taken as a square of half-size up to `extent`, can be drawn.
// Rounding in camera.h is below 16 units in the last place of the summed magnitudes (2^-24 each, 1e-6 in all);
// the margin is ten times that, plus what an underflow of X / Z can hide while coordinates stay below 1e15.
MIRAGE_HD bool misses(const Frustum& f, const Box& box, float extent) {
  double centre[3], half[3], largest[3];
  for (int a = 0; a < 3; ++a) {
    const double lo = box.min[a], hi = box.max[a];
    if (!(lo <= hi)) return true;  // no finite point at all
    centre[a] = 0.5 * (lo + hi);
    half[a] = 0.5 * (hi - lo);
    largest[a] = magnitude_of(lo) > magnitude_of(hi) ? magnitude_of(lo) : magnitude_of(hi);
    if (!(largest[a] < 1e15)) return false;
  }
  const double reach = extent > 0.0f ? extent : 0.0;
  if (!(reach < 1e15)) return false;
  bool out = false;
  for (int p = 0; p < 5; ++p) {
    double best = f.offset[p], size = f.magnitude[p][3];
    for (int a = 0; a < 3; ++a) {
      best += f.normal[p][a] * centre[a] + magnitude_of(f.normal[p][a]) * half[a];
      size += f.magnitude[p][a] * largest[a];
    }
    const double grown = f.focal[p] * reach;
    out |= best + grown < -(1e-5 * (size + grown) + 1e-12 * (1.0 + f.focal[p]));
  }
  return out;
}

}  // namespace mirage
