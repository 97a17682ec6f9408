// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/camera.h"
#include "../common/depth_key.h"

// splat: one point into one view. N points, V views, C channels, grid (h, w).
namespace mirage {

// (No bool members: the compiler would keep the structs in memory, and the loop would not vectorize.)
struct Span {  // of one axis; empty when last < first
  int32_t first, last;
};

struct CellRange {  // rows i0..i1 and columns j0..j1, both ends included; empty when i1 < i0
  int32_t i0, i1, j0, j1;
};

// Cells of 0..size-1 whose center lies within `reach` of `at`: ceil((at - reach) - 1/2) .. floor((at + reach) - 1/2),
// clamped to the grid; none for NaN. Clamping before the conversion keeps it defined, and selects keep it vectorizable.
MIRAGE_HD Span centers_within(float at, float reach, int size) {
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
// centers it covers, or else the cell it lands in. An extent that is negative or NaN covers no center.
MIRAGE_HD CellRange covered_cells(const Projection& p, const Pinhole& k, float extent, int h, int w, float near) {
  const float half = extent * p.inv;
  const Span columns = centers_within(p.u, half * k.fx, w);
  const Span rows = centers_within(p.v, half * k.fy, h);
  const bool square = in_front(p.z, near) & (columns.first <= columns.last) & (rows.first <= rows.last);
  const bool own = inside(p, h, w, near);
  const int32_t i = static_cast<int32_t>(own ? p.v : 0.0f);
  const int32_t j = static_cast<int32_t>(own ? p.u : 0.0f);
  const int32_t i_last = own ? i : -1;
  return {square ? rows.first : i, square ? rows.last : i_last, square ? columns.first : j, square ? columns.last : j};
}

constexpr float kMaxRadius = 16777216.0f;  // of a disc, in cells; no grid is larger

// Of a disc with a radius of its own; 0 for NaN.
MIRAGE_HD float limited_radius(float radius, float limit) {
  const float positive = radius > 0.0f ? radius : 0.0f;
  return positive < limit ? positive : limit;
}

struct Offset {  // in cells
  float x, y;

  MIRAGE_HD float length2() const { return x * x + y * y; }
};

// From (u, v) to the center of cell (i, j).
MIRAGE_HD Offset to_center(float u, float v, int32_t i, int32_t j) {
  return {(static_cast<float>(j) + 0.5f) - u, (static_cast<float>(i) + 0.5f) - v};
}

// Whether a disc of `radius` cells around (u, v) covers the center of cell (i, j); false for NaN. A point that is a
// disc takes the cells it covers and the cell it lands in, whose center is the nearest of all.
MIRAGE_HD bool disc_covers(float u, float v, float radius, int32_t i, int32_t j) {
  return to_center(u, v, i, j).length2() <= radius * radius;
}

// A range that leaves out no cell that disc_covers, and few others: the slack is more than the rounding of both, which
// stays below 5 * 2^-24 of the radius and of the grid's size.
MIRAGE_HD CellRange cells_around(const Projection& p, float radius, int h, int w, float near) {
  const float reach = radius * 1.001f + 0x1p-7f;
  const Span columns = centers_within(p.u, reach + static_cast<float>(w) * 0x1p-20f, w);
  const Span rows = centers_within(p.v, reach + static_cast<float>(h) * 0x1p-20f, h);
  const bool some = in_front(p.z, near) & (columns.first <= columns.last);
  return {rows.first, some ? rows.last : -1, columns.first, columns.last};
}

// Mode "bilinear": a point has a tap in each of the four cells whose centers surround it: rows i, i + 1 and columns j,
// j + 1. i = -2 where it has none; some of the four may lie off the grid.
struct Corners {
  int32_t i, j;
  float s, t;  // how far towards column j + 1 and row i + 1, 0 to 1
};

MIRAGE_HD int32_t floor_of(float x) {  // of a number that an int32 can hold
  const int32_t toward_zero = static_cast<int32_t>(x);
  return toward_zero - static_cast<int32_t>(static_cast<float>(toward_zero) > x);
}

// At column a and row b, where cells have their centers at integers.
MIRAGE_HD Corners corners_at(float a, float b, bool in_view, int h, int w) {
  const bool some = in_view & (a >= -1.0f) & (a < static_cast<float>(w)) & (b >= -1.0f) & (b < static_cast<float>(h));
  const float a_in = some ? a : 0.0f;
  const float b_in = some ? b : 0.0f;
  const int32_t j = floor_of(a_in);
  const int32_t i = floor_of(b_in);
  return {i - 2 * static_cast<int32_t>(!some), j, a_in - static_cast<float>(j), b_in - static_cast<float>(i)};
}

MIRAGE_HD Corners corners_of(const Projection& p, int h, int w, float near) {
  return corners_at(p.u - 0.5f, p.v - 0.5f, in_front(p.z, near), h, w);
}

struct BilinearTap {  // cell < 0: the corner lies off the grid or weighs nothing
  int32_t cell;
  float weight;
};

// Corner 0 to 3 in the order of their cells: (i, j), (i, j + 1), (i + 1, j), (i + 1, j + 1).
MIRAGE_HD BilinearTap bilinear_tap(const Corners& c, int corner, int h, int w) {
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

// Calls visit(corner, tap) for all four.
template <class Visit>
MIRAGE_HD void each_tap(const Corners& c, int h, int w, const Visit& visit) {
  for (int corner = 0; corner < 4; ++corner) visit(corner, bilinear_tap(c, corner, h, w));
}

constexpr float kCornerMargin = 1.0f;  // cells: a point up to half a cell beside the grid has taps in it

// A cell blends the points with a tap in it up to this depth; none of them (all depths are positive) in a hole.
MIRAGE_HD float blend_limit(float nearest, float band) {
  const float limit = (1.0f + band) * nearest;
  return nearest < bits_float(0x7f800000u) ? limit : 0.0f;
}

// A cell whose weights sum to less is a hole.
constexpr float kMinWeight = 1e-4f;

MIRAGE_HD bool is_covered(float weight) { return weight > kMinWeight; }

struct BlendedCell {
  int64_t index;
  float depth, weight;
};

// From the nearest point of a cell and the sum of its weights.
MIRAGE_HD BlendedCell finish_cell(int64_t index, float depth, float weight) {
  const bool covered = is_covered(weight);
  return {covered ? index : -1, covered ? depth : bits_float(0x7f800000u), covered ? weight : 0.0f};
}

// One channel's part of the gradient of a weight, times the sum of weights. The difference comes first: it is small
// where the sum is divided by a small weight.
MIRAGE_HD float weight_gradient(float grad, float feature, float blended) { return grad * (feature - blended); }

// The sum of term(0) .. term(n - 1) in an order that loops and warps share: lane l adds the terms l, l + 16, ... as far
// as there are 16 of them; then come the terms that are left, and then the lanes, both in ascending order.
// `lanes.add(first, term)` adds term(first + l) to lane l, `lanes.at(l)` is its sum.
constexpr int kSumLanes = 16;

template <class Lanes, class Term>
MIRAGE_HD float sum_in_order(int64_t n, Lanes lanes, const Term& term) {
  const int64_t rounds = n / kSumLanes;
  for (int64_t i = 0; i < rounds; ++i) lanes.add(kSumLanes * i, term);
  float sum = 0.0f;
  for (int64_t i = rounds * kSumLanes; i < n; ++i) sum += term(i);
  for (int l = 0; l < kSumLanes; ++l) sum += lanes.at(l);
  return sum;
}

// The gradient of a point's position (u, v) in a view, from those of its weights.
struct PositionGradient {
  float u = 0.0f, v = 0.0f;

  // The gradient of one corner's weight; corners come in ascending order.
  MIRAGE_HD void add(int corner, float s, float t, float grad) {
    const float across = corner % 2 ? s : 1.0f - s;
    const float down = corner / 2 ? t : 1.0f - t;
    u += (corner % 2 ? grad : -grad) * down;
    v += (corner / 2 ? grad : -grad) * across;
  }
};

// The gradient of a point (x, y, z) from that of its position (u, v) in a view.
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
