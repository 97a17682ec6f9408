// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hostdev.h"

// Pinhole cameras. The convention is stated once, in mirage_kernels/cameras.py. Which cell a point lands in is
// decided here, so every line below is IEEE float32 with one rounding per operation, in the order written
// (compile with -ffp-contract=off, or -fmad=false for the device).
namespace mirage {

constexpr float kNear = 1e-6f;  // the default of `near`: nothing at this depth or nearer is in view

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
  return {((m.r00 * x + m.r01 * y) + m.r02 * z) + m.t0, ((m.r10 * x + m.r11 * y) + m.r12 * z) + m.t1,
          ((m.r20 * x + m.r21 * y) + m.r22 * z) + m.t2};
}

struct Projection {
  float u, v;  // cells from the grid's top left corner, cell centers at +0.5
  float z;     // depth along the optical axis
  float inv;   // 1 / z
};

MIRAGE_HD Projection project(const Rigid& world2cam, const Pinhole& k, float x, float y, float z) {
  const Vec3 p = transform(world2cam, x, y, z);
  const float inv = 1.0f / p.z;
  return {(p.x * inv) * k.fx + k.cx, (p.y * inv) * k.fy + k.cy, p.z, inv};
}

MIRAGE_HD bool in_front(float z, float near = kNear) { return near < z && z < bits_float(0x7f800000u); }

MIRAGE_HD bool inside(const Projection& p, int h, int w, float near = kNear) {  // false for NaN
  return in_front(p.z, near) & (p.u >= 0.0f) & (p.u < static_cast<float>(w)) & (p.v >= 0.0f) &
         (p.v < static_cast<float>(h));
}

// Row-major cell, or -1 outside. The select before the conversion keeps float -> int defined and vectorizable.
MIRAGE_HD int32_t cell_of(const Projection& p, int h, int w, float near = kNear) {
  const bool in = inside(p, h, w, near);
  const float u = in ? p.u : 0.0f;
  const float v = in ? p.v : 0.0f;
  const int32_t cell = static_cast<int32_t>(v) * w + static_cast<int32_t>(u);
  return in ? cell : -1;
}

// The conditions that Cameras checks, with the messages of mirage_kernels/camera_values.py. All false for NaN.
MIRAGE_HD bool is_pinhole_matrix(const float* k) {  // (3, 3)
  const float smallest = bits_float(0x00800000u);  // the smallest normal number
  return is_finite(k[0]) & is_finite(k[2]) & is_finite(k[4]) & is_finite(k[5]) & (k[0] >= smallest) &
         (k[4] >= smallest) & (k[1] == 0.0f) & (k[3] == 0.0f) & (k[6] == 0.0f) & (k[7] == 0.0f) & (k[8] == 1.0f);
}

constexpr double kRigidTolerance = 1e-3;

MIRAGE_HD bool is_rigid_matrix(const float* m) {  // (4, 4)
  double r[3][3];
  bool ok = (m[12] == 0.0f) & (m[13] == 0.0f) & (m[14] == 0.0f) & (m[15] == 1.0f);
  for (int a = 0; a < 3; ++a) {
    for (int b = 0; b < 3; ++b) r[a][b] = m[4 * a + b];
    ok = ok & is_finite(m[4 * a + 3]);
  }
  for (int a = 0; a < 3; ++a) {
    for (int b = a; b < 3; ++b) {
      const double off = ((r[a][0] * r[b][0] + r[a][1] * r[b][1]) + r[a][2] * r[b][2]) - (a == b ? 1.0 : 0.0);
      ok = ok & (off <= kRigidTolerance) & (off >= -kRigidTolerance);
    }
  }
  const double det = r[0][0] * (r[1][1] * r[2][2] - r[1][2] * r[2][1]) -
                     r[0][1] * (r[1][0] * r[2][2] - r[1][2] * r[2][0]) +
                     r[0][2] * (r[1][0] * r[2][1] - r[1][1] * r[2][0]);
  return ok & (det > 0.0);
}

// cam2world (4, 4) -> world2cam (3, 4): R^T and -((r00 tx + r10 ty) + r20 tz) and so on, in float64, rounded once.
MIRAGE_HD void invert_rigid(const float* m, float* inverse) {
  for (int a = 0; a < 3; ++a) {
    for (int b = 0; b < 3; ++b) inverse[4 * a + b] = m[4 * b + a];
    const double x = static_cast<double>(m[a]) * static_cast<double>(m[3]);
    const double y = static_cast<double>(m[4 + a]) * static_cast<double>(m[7]);
    const double z = static_cast<double>(m[8 + a]) * static_cast<double>(m[11]);
    inverse[4 * a + 3] = static_cast<float>(-((x + y) + z));
  }
}

// Camera-space point of the center of cell (i, j) at depth z.
MIRAGE_HD Vec3 lift(const Pinhole& k, int i, int j, float z) {
  return {((static_cast<float>(j) + 0.5f - k.cx) * (1.0f / k.fx)) * z,
          ((static_cast<float>(i) + 0.5f - k.cy) * (1.0f / k.fy)) * z, z};
}

}  // namespace mirage
