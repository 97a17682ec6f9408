// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "splat/splat_block.h"

// The cells that the points of a block cover, for z-buffers with one key in a cell or several. For splat*_isa.cpp only.
namespace mirage {
namespace MIRAGE_ISA {
namespace {

struct alignas(64) Candidates {
  int32_t cell[kBlock];    // negative: nothing to rasterize; of a disc: where it lands
  uint32_t depth[kBlock];  // bits of Z
  int32_t i0[kBlock], i1[kBlock], j0[kBlock], j1[kBlock];
  float u[kBlock], v[kBlock];
  int32_t mark[kBlock];           // of a disc: negative where there is nothing to rasterize
  int32_t hits[kBlock + kLanes];  // the lanes with something to rasterize
};

MIRAGE_HD uint64_t key_of(const SplatBlock& block, const Candidates& c, int lane) {
  return depth_key(bits_float(c.depth[lane]), index_of(block, lane));
}

struct RasterView {
  const View& view;
  int h, w;
};

// Adds the points of a block to the buffer of one view: buffer.add(cell, key) once for every cell that a point covers. A
// point not nearer than the depth in the upper half of buffer.limits()[cell] may be left out.
template <class Buffer>
using Rasterize = void (*)(const SplatBlock&, const RasterView&, const Buffer&, Candidates&);

template <class Buffer>
void rasterize_points(const SplatBlock& block, const RasterView& to, const Buffer& buffer, Candidates& c) {
  const Rigid m = to.view.world2cam;
  const Pinhole pinhole = to.view.pinhole;
  const int h = to.h, w = to.w, lanes = block.lanes;
  const float near = block.near;
  for_each_lane(lanes, [&](int k) {
    const Projection p = project(m, pinhole, block.x[k], block.y[k], block.z[k]);
    c.cell[k] = cell_of(p, h, w, near);
    c.depth[k] = float_bits(p.z);
  });
  const int n = pack_winners<false>(c.cell, c.depth, lanes, buffer.limits(), c.hits);
  for (int hit = 0; hit < n; ++hit) {
    const int k = c.hits[hit];
    buffer.add(c.cell[k], key_of(block, c, k));
  }
}

template <class Buffer>
void rasterize_squares(const SplatBlock& block, const RasterView& to, const Buffer& buffer, Candidates& c) {
  const Rigid m = to.view.world2cam;
  const Pinhole pinhole = to.view.pinhole;
  const int h = to.h, w = to.w, lanes = block.lanes;
  const float near = block.near;
  for_each_lane(lanes, [&](int k) {
    const Projection p = project(m, pinhole, block.x[k], block.y[k], block.z[k]);
    const CellRange cells = covered_cells(p, pinhole, block.extent[k], h, w, near);
    c.i0[k] = cells.i0;
    c.i1[k] = cells.i1;
    c.j0[k] = cells.j0;
    c.j1[k] = cells.j1;
    c.cell[k] = cells.i1 - cells.i0;
    c.depth[k] = float_bits(p.z);
  });
  const int n = pack_marked(c.cell, lanes, c.hits);
  for (int hit = 0; hit < n; ++hit) {
    const int k = c.hits[hit];
    const uint64_t key = key_of(block, c, k);
    for (int i = c.i0[k]; i <= c.i1[k]; ++i)
      for (int j = c.j0[k]; j <= c.j1[k]; ++j) buffer.add(static_cast<int64_t>(i) * w + j, key);
  }
}

// A disc of this radius covers no cells but those around the one that it lands in, or beside the grid would.
constexpr float kSmallRadius = 1.25f;
constexpr int kSmallSide = 1 << 20;  // of a grid: here coordinates are rounded by a thirtieth of a cell at most

// Which of the 3 x 3 cells around cell (i, j), in bits 0 to 8, the disc covers, and always (i, j) itself.
MIRAGE_HD int32_t small_disc(float u, float v, float radius, int32_t i, int32_t j, int h, int w) {
  const float outside = bits_float(0x7f800000u), radius2 = radius * radius;
  float across[3], down[3];  // squared, as in disc_covers
  for (int step = 0; step < 3; ++step) {
    const int32_t column = j + step - 1, row = i + step - 1;
    const Offset to = to_center(u, v, row, column);
    across[step] = (column >= 0) & (column < w) ? to.x * to.x : outside;
    down[step] = (row >= 0) & (row < h) ? to.y * to.y : outside;
  }
  int32_t covered = 0;
  for (int near = 0; near < 9; ++near) {
    const float distance2 = across[near % 3] + down[near / 3];
    const bool covers = near == 4 ? distance2 < outside : distance2 <= radius2;
    covered |= static_cast<int32_t>(covers) << near;
  }
  return covered;
}

// Tests the cells around in vectors, where rasterize_discs tests them one by one.
template <class Buffer>
void rasterize_small_discs(const SplatBlock& block, const RasterView& to, const Buffer& buffer, Candidates& c) {
  const Rigid m = to.view.world2cam;
  const Pinhole pinhole = to.view.pinhole;
  const int h = to.h, w = to.w, lanes = block.lanes;
  const float near = block.near;
  for_each_lane(lanes, [&](int k) {
    const Projection p = project(m, pinhole, block.x[k], block.y[k], block.z[k]);
    const bool some = in_front(p.z, near) & (p.u > -2.0f) & (p.u < static_cast<float>(w + 2)) & (p.v > -2.0f) &
                      (p.v < static_cast<float>(h + 2));
    const float u = some ? p.u : -9.0f, v = some ? p.v : -9.0f;  // there is no cell around
    const int32_t i = floor_of(v), j = floor_of(u);
    const int32_t covered = small_disc(u, v, block.extent[k], i, j, h, w);
    c.i0[k] = i;
    c.j0[k] = j;
    c.i1[k] = covered;
    c.mark[k] = covered - static_cast<int32_t>(covered == 0);
    c.depth[k] = float_bits(p.z);
  });
  const int64_t rows[3] = {-w, 0, w};
  int64_t offset[9];
  for (int near_cell = 0; near_cell < 9; ++near_cell) offset[near_cell] = rows[near_cell / 3] + near_cell % 3 - 1;
  const int n = pack_marked(c.mark, lanes, c.hits);
  for (int hit = 0; hit < n; ++hit) {
    const int k = c.hits[hit];
    const uint64_t key = key_of(block, c, k);
    const int64_t own = static_cast<int64_t>(c.i0[k]) * w + c.j0[k];
    for (uint32_t left = static_cast<uint32_t>(c.i1[k]); left != 0; left &= left - 1)
      buffer.add(own + offset[__builtin_ctz(left)], key);
  }
}

template <class Buffer>
void rasterize_discs(const SplatBlock& block, const RasterView& to, const Buffer& buffer, Candidates& c) {
  if (block.largest_radius <= kSmallRadius && to.h <= kSmallSide && to.w <= kSmallSide)
    return rasterize_small_discs(block, to, buffer, c);
  const Rigid m = to.view.world2cam;
  const Pinhole pinhole = to.view.pinhole;
  const int h = to.h, w = to.w, lanes = block.lanes;
  const float near = block.near;
  for_each_lane(lanes, [&](int k) {
    const Projection p = project(m, pinhole, block.x[k], block.y[k], block.z[k]);
    const CellRange cells = cells_around(p, block.extent[k], h, w, near);
    c.u[k] = p.u;
    c.v[k] = p.v;
    c.i0[k] = cells.i0;
    c.i1[k] = cells.i1;
    c.j0[k] = cells.j0;
    c.j1[k] = cells.j1;
    c.cell[k] = cell_of(p, h, w, near);
    c.mark[k] = c.cell[k] >= 0 ? 0 : cells.i1 - cells.i0;
    c.depth[k] = float_bits(p.z);
  });
  const int n = pack_marked(c.mark, lanes, c.hits);
  for (int hit = 0; hit < n; ++hit) {
    const int k = c.hits[hit];
    const uint64_t key = key_of(block, c, k);
    const int64_t own = c.cell[k];
    const float u = c.u[k], v = c.v[k], radius = block.extent[k];
    if (own >= 0) buffer.add(own, key);
    for (int i = c.i0[k]; i <= c.i1[k]; ++i) {
      for (int j = c.j0[k]; j <= c.j1[k]; ++j) {
        const int64_t cell = static_cast<int64_t>(i) * w + j;
        if (cell != own && disc_covers(u, v, radius, i, j)) buffer.add(cell, key);
      }
    }
  }
}

template <class Buffer>
Rasterize<Buffer> choose_rasterizer(Shape shape) {
  switch (shape) {
    case Shape::kSquare: return rasterize_squares<Buffer>;
    case Shape::kDisc: return rasterize_discs<Buffer>;
    default: return rasterize_points<Buffer>;
  }
}

}  // namespace
}  // namespace MIRAGE_ISA
}  // namespace mirage
