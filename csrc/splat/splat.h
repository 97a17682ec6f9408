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

}  // namespace mirage
