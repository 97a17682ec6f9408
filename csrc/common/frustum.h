// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "camera.h"

// A conservative test: can a view see any point of a box? The float32 test of camera.h decides which cell a point gets;
// this one only saves calling it. So it must never reject a point that camera.h keeps, and it keeps every box for which
// rounding, overflow or a NaN could matter.
namespace mirage {

struct Box {  // points with NaN or infinite coordinates are never visible and may be left out
  float min[3], max[3];
};

constexpr int64_t kFanout = 64;  // points in a box of the first level, and boxes of a level in one of the next

struct PyramidBox {  // as stored, 7 floats
  Box box;
  float extent;  // the largest of the points' own
};

struct BoxPyramid {  // boxes of 64, of 64^2 and of 64^3 consecutive points; nulls where there are none
  const PyramidBox *level0, *level1, *level2;
  int64_t size0, size1, size2;  // how many boxes a level has
};

// Points have extents scaled_extent(scale, own, min).
struct ExtentRule {
  float scale, min;
};

struct Frustum {
  // A point with depth > 0 is left of column 0 when fx X + cx Z < 0, right of the last one when
  // (w - cx) Z - fx X <= 0; rows alike; and behind when Z <= 0. Five half-spaces n . x + d >= 0.
  float normal[5][3], offset[5];
  float focal[5];  // how far a square's half-size moves the half-space: fx, fx, fy, fy, 0
  float magnitude[5][4];  // the same sums over absolute values, which bound the rounding error
};

template <class T>
MIRAGE_HD T magnitude_of(T x) {
  return x < 0 ? -x : x;
}

// The frustum of the grid, extended by `margin` cells on every side: a point there may still cover cells of the grid.
MIRAGE_HD Frustum make_frustum(const Rigid& m, const Pinhole& k, int h, int w, float margin = 0.0f) {
  const double grown = margin;
  const double rows[3][4] = {{m.r00, m.r01, m.r02, m.t0}, {m.r10, m.r11, m.r12, m.t1}, {m.r20, m.r21, m.r22, m.t2}};
  const double side[5] = {k.fx, -k.fx, k.fy, -k.fy, 0.0};
  const double depth[5] = {k.cx + grown, (w - static_cast<double>(k.cx)) + grown, k.cy + grown,
                           (h - static_cast<double>(k.cy)) + grown, 1.0};
  // |u| and the bound it is compared with, per unit of depth, both count towards the rounding error
  const double depth_size[5] = {magnitude_of(k.cx) + grown, magnitude_of(k.cx) + w + grown, magnitude_of(k.cy) + grown,
                                magnitude_of(k.cy) + h + grown, 1.0};
  const int axis[5] = {0, 0, 1, 1, 2};
  Frustum f;
  for (int p = 0; p < 5; ++p) {
    for (int a = 0; a < 4; ++a) {
      const double across = side[p] * rows[axis[p]][a];
      (a < 3 ? f.normal[p][a] : f.offset[p]) = static_cast<float>(across + depth[p] * rows[2][a]);
      f.magnitude[p][a] = static_cast<float>(magnitude_of(across) + depth_size[p] * magnitude_of(rows[2][a]));
    }
    f.focal[p] = static_cast<float>(magnitude_of(side[p]));
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

// A point's extent where each has its own: `scale` times the larger of its own and `min`; `min` where it is NaN.
MIRAGE_HD float scaled_extent(float scale, float own, float min) { return scale * (own > min ? own : min); }

// A box of points that are squares of half-size up to `reach`, in the form that is_culled takes.
struct BoxSpan {
  Vec3 center, half, largest;
  float reach;
  int32_t none;  // 1: the box has no finite point
  int32_t bounded;  // 1: the numbers are small enough for the test
};

MIRAGE_HD float larger(float a, float b) { return a > b ? a : b; }

MIRAGE_HD BoxSpan span_of(const Box& box, float extent) {
  const Vec3 lo = {box.min[0], box.min[1], box.min[2]}, hi = {box.max[0], box.max[1], box.max[2]};
  const Vec3 largest = {larger(magnitude_of(lo.x), magnitude_of(hi.x)), larger(magnitude_of(lo.y), magnitude_of(hi.y)),
                        larger(magnitude_of(lo.z), magnitude_of(hi.z))};
  const float reach = extent > 0.0f ? extent : 0.0f;
  return {{0.5f * (lo.x + hi.x), 0.5f * (lo.y + hi.y), 0.5f * (lo.z + hi.z)},
          {0.5f * (hi.x - lo.x), 0.5f * (hi.y - lo.y), 0.5f * (hi.z - lo.z)},
          largest,
          reach,
          !((lo.x <= hi.x) & (lo.y <= hi.y) & (lo.z <= hi.z)),
          (largest.x < 1e15f) & (largest.y < 1e15f) & (largest.z < 1e15f) & (reach < 1e15f)};
}

// Whether all of the box lies beyond half-space p. True only where no point of it is visible. Rounding in camera.h is
// below 16 units in the last place of the summed magnitudes (2^-24 each, 1e-6 in all), and so is that of the sums
// below; the margin is five times both, plus the effect of an underflow of X / Z while coordinates stay below 1e15.
// Where a sum overflows, so does the margin.
MIRAGE_HD int32_t lies_beyond(const Frustum& f, int p, const BoxSpan& s) {
  const float* n = f.normal[p];
  const float* m = f.magnitude[p];
  const float across = (n[0] * s.center.x + n[1] * s.center.y) + n[2] * s.center.z;
  const float reach = (magnitude_of(n[0]) * s.half.x + magnitude_of(n[1]) * s.half.y) +
                      (magnitude_of(n[2]) * s.half.z + f.focal[p] * s.reach);
  const float size = (m[0] * s.largest.x + m[1] * s.largest.y) + (m[2] * s.largest.z + m[3]) + f.focal[p] * s.reach;
  return (across + f.offset[p]) + reach < -(1e-5f * size + 1e-12f * (1.0f + f.focal[p]));
}

// 1 where no point of the box is visible. (No loop and no bool, so that a loop over boxes vectorizes.)
MIRAGE_HD int32_t is_culled(const Frustum& f, const BoxSpan& s) {
  const int32_t beyond = lies_beyond(f, 0, s) | lies_beyond(f, 1, s) | lies_beyond(f, 2, s) | lies_beyond(f, 3, s) |
                         lies_beyond(f, 4, s);
  return s.none | (s.bounded & beyond);
}

MIRAGE_HD bool is_culled(const Frustum& f, const Box& box, float extent) {
  return is_culled(f, span_of(box, extent)) != 0;
}

}  // namespace mirage
