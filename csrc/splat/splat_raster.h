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
  uint32_t depth[kBlock + kLanes];  // bits of Z
  int32_t i0[kBlock], i1[kBlock], j0[kBlock], j1[kBlock];
  float u[kBlock + kLanes], v[kBlock + kLanes];
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
// point not nearer than the depth in the upper half of buffer.limits()[cell] may be left out; kEmptyKey changes nothing.
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

constexpr int kSmallSide = 1 << 20;  // of a grid: there the differences of coordinates are exact

// Discs of a radius below kSide / 2: they cover no cells but kSide x kSide around them. Each of these is tested for many
// discs at once, where rasterize_discs tests one disc's.
template <int kSide, class Buffer>
void rasterize_small_discs(const SplatBlock& block, const RasterView& to, const Buffer& buffer, Candidates& c) {
  const Rigid m = to.view.world2cam;
  const Pinhole pinhole = to.view.pinhole;
  const int h = to.h, w = to.w;
  const float near = block.near, beside = 0.5f * kSide;
  for_each_lane(block.lanes, [&](int k) {
    const Projection p = project(m, pinhole, block.x[k], block.y[k], block.z[k]);
    const bool some = in_front(p.z, near) & (p.u > -beside) & (p.u < static_cast<float>(w) + beside) & (p.v > -beside) &
                      (p.v < static_cast<float>(h) + beside);
    c.mark[k] = static_cast<int32_t>(some) - 1;
    c.depth[k] = float_bits(p.z);
    c.u[k] = p.u;
    c.v[k] = p.v;
  });
  alignas(64) float radius[kBlock + kLanes];
  alignas(64) int32_t point[kBlock + kLanes];
  const int n = pack_words<5>(c.mark, block.lanes, {c.depth, c.u, c.v, block.extent, kLaneNumbers.number},
                              {c.depth, c.u, c.v, radius, point});
  const int lanes = ceil_div(n, kLanes) * kLanes;
  constexpr float kFirst = 0.5f * (kSide - 1);  // cells before the point, on either axis
  for (int number = 0; number < kSide * kSide; ++number) {
    const int32_t down = number / kSide, across = number % kSide;
#pragma GCC ivdep
    for (int k = 0; k < lanes; ++k) {
      const float u = c.u[k], v = c.v[k];
      const int32_t i = floor_of(v - kFirst) + down, j = floor_of(u - kFirst) + across;
      const bool covers = disc_covers(u, v, radius[k], i, j) | ((i == floor_of(v)) & (j == floor_of(u)));
      const bool in = (k < n) & (i >= 0) & (i < h) & (j >= 0) & (j < w);
      c.cell[k] = covers & in ? i * w + j : -1;
    }
    const int hits = pack_winners<true>(c.cell, c.depth, lanes, buffer.limits(), c.hits);
    for (int hit = 0; hit < hits; ++hit) {
      const int k = c.hits[hit];
      buffer.add(c.cell[k], depth_key(bits_float(c.depth[k]), index_of(block, point[k])));
    }
  }
}

template <class Buffer>
void rasterize_discs(const SplatBlock& block, const RasterView& to, const Buffer& buffer, Candidates& c) {
  if (to.h <= kSmallSide && to.w <= kSmallSide) {
    if (block.largest_radius < 1.0f) return rasterize_small_discs<2>(block, to, buffer, c);
    if (block.largest_radius < 1.5f) return rasterize_small_discs<3>(block, to, buffer, c);
#if defined(__AVX512F__)  // elsewhere 25 tests that mostly fail take longer than those around one disc
    if (block.largest_radius < 2.5f) return rasterize_small_discs<5>(block, to, buffer, c);
#endif
  }
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
        const bool covers = (cell != own) & disc_covers(u, v, radius, i, j);
        buffer.add(cell, covers ? key : kEmptyKey);
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
