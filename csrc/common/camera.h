// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hostdev.h"

// Pinhole cameras. The convention is stated once, in mirage_kernels/cameras.py. Which cell a point lands in is
// decided here, so every line below is IEEE float32 with one rounding per operation, in the order written
// (compile with -ffp-contract=off, or -fmad=false for the device).
namespace mirage {

constexpr float kNear = 1e-6f;

struct Rigid {  // a (3, 4) matrix [R | t], row-major
  float r00, r01, r02, t0;
  float r10, r11, r12, t1;
  float r20, r21, r22, t2;
};

struct Pinhole {
  float fx, fy, cx, cy;
};

struct Vec3 {
  float x, y, z;
};

MIRAGE_HD Rigid load_rigid(const float* m) {
  return {m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7], m[8], m[9], m[10], m[11]};
}

MIRAGE_HD Pinhole load_pinhole(const float* k) {  // from a row-major (3, 3)
  return {k[0], k[4], k[2], k[5]};
}

MIRAGE_HD Vec3 transform(const Rigid& m, float x, float y, float z) {
  return {((m.r00 * x + m.r01 * y) + m.r02 * z) + m.t0,
          ((m.r10 * x + m.r11 * y) + m.r12 * z) + m.t1,
          ((m.r20 * x + m.r21 * y) + m.r22 * z) + m.t2};
}

struct Projection {
  float u, v;  // cells from the grid's top left corner, cell centres at +0.5
  float z;     // depth along the optical axis
  float inv;   // 1 / z
};

MIRAGE_HD Projection project(const Rigid& world2cam, const Pinhole& k, float x, float y, float z) {
  const Vec3 p = transform(world2cam, x, y, z);
  const float inv = 1.0f / p.z;
  return {(p.x * inv) * k.fx + k.cx, (p.y * inv) * k.fy + k.cy, p.z, inv};
}

MIRAGE_HD bool in_front(float z) {
  return kNear < z && z < bits_float(0x7f800000u);
}

MIRAGE_HD bool inside(const Projection& p, int h, int w) {  // false for NaN
  return in_front(p.z) & (p.u >= 0.0f) & (p.u < static_cast<float>(w)) & (p.v >= 0.0f) &
         (p.v < static_cast<float>(h));
}

// Row-major cell, or -1 outside. The select before the conversion keeps float -> int defined and vectorisable.
MIRAGE_HD int32_t cell_of(const Projection& p, int h, int w) {
  const bool in = inside(p, h, w);
  const float u = in ? p.u : 0.0f;
  const float v = in ? p.v : 0.0f;
  const int32_t cell = static_cast<int32_t>(v) * w + static_cast<int32_t>(u);
  return in ? cell : -1;
}

// Camera-space point of the centre of cell (i, j) at depth z.
MIRAGE_HD Vec3 lift(const Pinhole& k, int i, int j, float z) {
  return {((static_cast<float>(j) + 0.5f - k.cx) * (1.0f / k.fx)) * z,
          ((static_cast<float>(i) + 0.5f - k.cy) * (1.0f / k.fy)) * z, z};
}

}  // namespace mirage
