// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/camera.h"
#include "../common/depth_key.h"

// splat: one point into one view. N points, V views, C channels, grid (h, w).
namespace mirage {

// (No bool members: the compiler would keep the structs in memory, and the loop would not vectorise.)
struct Span {  // of one axis; empty when last < first
  int32_t first, last;
};

struct CellRange {  // rows i0..i1 and columns j0..j1, both ends included; empty when i1 < i0
  int32_t i0, i1, j0, j1;
};

// Cells of 0..size-1 whose centre lies within `reach` of `at`: ceil((at - reach) - 1/2) .. floor((at + reach) - 1/2),
// clamped to the grid; none for NaN. Clamping before the conversion keeps it defined, and selects keep it vectorisable.
MIRAGE_HD Span centres_within(float at, float reach, int size) {
  const float end = static_cast<float>(size - 1);
  const float lo = (at - reach) - 0.5f;
  const float hi = (at + reach) - 0.5f;
  const float lo_up = lo > 0.0f ? lo : 0.0f;
  const float hi_up = hi > 0.0f ? hi : 0.0f;
  const float lo_in = lo_up < end ? lo_up : end;
  const float hi_in = hi_up < end ? hi_up : end;
  const int32_t below = static_cast<int32_t>(lo_in);
  const int32_t first = below + static_cast<int32_t>(static_cast<float>(below) < lo_in);
  const int32_t last = static_cast<int32_t>(hi_in);
  return {first, (lo <= end) & (hi >= 0.0f) ? last : -1};
}

// The cells of a point that is a square of half-size `extent` (world units) facing the camera: those whose
// centres it covers, or else the cell it lands in. An extent that is negative or NaN covers no centre.
MIRAGE_HD CellRange covered_cells(const Projection& p, const Pinhole& k, float extent, int h, int w) {
  const float half = extent * p.inv;
  const Span columns = centres_within(p.u, half * k.fx, w);
  const Span rows = centres_within(p.v, half * k.fy, h);
  const bool square = in_front(p.z) & (columns.first <= columns.last) & (rows.first <= rows.last);
  const bool own = inside(p, h, w);
  const int32_t i = static_cast<int32_t>(own ? p.v : 0.0f);
  const int32_t j = static_cast<int32_t>(own ? p.u : 0.0f);
  const int32_t i_last = own ? i : -1;
  return {square ? rows.first : i, square ? rows.last : i_last, square ? columns.first : j, square ? columns.last : j};
}

constexpr float kMostRadius = 16777216.0f;  // of a disc, in cells; no grid is larger

// Whether a disc of `radius` cells around (u, v) covers the centre of cell (i, j); false for NaN. A point that is a
// disc takes the cells it covers and the cell it lands in, whose centre is the nearest of all.
MIRAGE_HD bool disc_covers(float u, float v, float radius, int32_t i, int32_t j) {
  const float x = (static_cast<float>(j) + 0.5f) - u;
  const float y = (static_cast<float>(i) + 0.5f) - v;
  return x * x + y * y <= radius * radius;
}

// A range that leaves out no cell that disc_covers, and few others: the slack is more than the rounding of both, which
// stays below 5 * 2^-24 of the radius and of the grid's size.
MIRAGE_HD CellRange cells_around(const Projection& p, float radius, int h, int w) {
  const float reach = radius * 1.001f + 0x1p-7f;
  const Span columns = centres_within(p.u, reach + static_cast<float>(w) * 0x1p-20f, w);
  const Span rows = centres_within(p.v, reach + static_cast<float>(h) * 0x1p-20f, h);
  const bool some = in_front(p.z) & (columns.first <= columns.last);
  return {rows.first, some ? rows.last : -1, columns.first, columns.last};
}

// mode "bilinear": a point touches the cells of rows i, i + 1 and columns j, j + 1, in proportion to how near their
// centres are. i = -2 where it touches none; some of the four may lie off the grid.
struct Corners {
  int32_t i, j;
  float s, t;  // how far towards column j + 1 and row i + 1, 0 to 1
};

MIRAGE_HD int32_t floor_of(float x) {  // of a number that an int32 can hold
  const int32_t toward_zero = static_cast<int32_t>(x);
  return toward_zero - static_cast<int32_t>(static_cast<float>(toward_zero) > x);
}

MIRAGE_HD Corners corners_of(const Projection& p, int h, int w) {
  const float a = p.u - 0.5f;
  const float b = p.v - 0.5f;
  const bool some = in_front(p.z) & (a >= -1.0f) & (a < static_cast<float>(w)) & (b >= -1.0f) &
                    (b < static_cast<float>(h));
  const float a_in = some ? a : 0.0f;
  const float b_in = some ? b : 0.0f;
  const int32_t j = floor_of(a_in);
  const int32_t i = floor_of(b_in);
  return {i - 2 * static_cast<int32_t>(!some), j, a_in - static_cast<float>(j), b_in - static_cast<float>(i)};
}

struct Touch {  // cell < 0: the corner lies off the grid or weighs nothing
  int32_t cell;
  float weight;
};

// Corner 0 to 3 in the order of their cells: (i, j), (i, j + 1), (i + 1, j), (i + 1, j + 1).
MIRAGE_HD Touch touch(const Corners& c, int corner, int h, int w) {
  const int32_t i = c.i + corner / 2;
  const int32_t j = c.j + corner % 2;
  const float across = corner % 2 ? c.s : 1.0f - c.s;
  const float down = corner / 2 ? c.t : 1.0f - c.t;
  const float weight = across * down;
  const bool touches = (i >= 0) & (i < h) & (j >= 0) & (j < w) & (weight > 0.0f);
  const int32_t row = touches ? i : 0;
  const int32_t column = touches ? j : 0;
  return {row * w + column - static_cast<int32_t>(!touches), weight};  // not a select: it would become a branch
}

// A cell mixes the points that touch it no farther than this; none (all depths are positive) where it shows nothing.
MIRAGE_HD float blend_limit(float nearest, float band) {
  const float limit = (1.0f + band) * nearest;
  return nearest < bits_float(0x7f800000u) ? limit : 0.0f;
}

// A cell is known where the weights it mixes sum to more.
constexpr float kLeastWeight = 1e-4f;

// The gradient of a point (x, y, z) from that of its place (u, v) in a view.
MIRAGE_HD Vec3 project_backward(const Rigid& m, const Pinhole& k, float x, float y, float z, float grad_u,
                                float grad_v) {
  const Vec3 p = transform(m, x, y, z);
  const float inv = 1.0f / p.z;
  const float gx = (grad_u * k.fx) * inv;
  const float gy = (grad_v * k.fy) * inv;
  const float gz = -(gx * (p.x * inv) + gy * (p.y * inv));
  return {(m.r00 * gx + m.r10 * gy) + m.r20 * gz, (m.r01 * gx + m.r11 * gy) + m.r21 * gz,
          (m.r02 * gx + m.r12 * gy) + m.r22 * gz};
}

}  // namespace mirage
