// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_isa.h"

#include "splat/splat_block.h"

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

uint64_t* keys_of(const SplatJob& job, int v) { return job.keys + v * (static_cast<int64_t>(job.h) * job.w); }

// Lowers the keys of one view by the points of a block.
using Rasterize = void (*)(const SplatBlock&, const SplatPoints&, const SplatJob&, int v, Candidates&);

void rasterize_points(const SplatBlock& block, const SplatPoints&, const SplatJob& job, int v, Candidates& c) {
  const Rigid m = job.views[v].world2cam;
  const Pinhole pinhole = job.views[v].pinhole;
  uint64_t* keys = keys_of(job, v);
  const int h = job.h, w = job.w, lanes = block.lanes;
  const float near = block.near;
  for_each_lane(lanes, [&](int k) {
    const Projection p = project(m, pinhole, block.x[k], block.y[k], block.z[k]);
    c.cell[k] = cell_of(p, h, w, near);
    c.depth[k] = float_bits(p.z);
  });
  const int n = pack_winners<false>(c.cell, c.depth, lanes, keys, c.hits);
  for (int hit = 0; hit < n; ++hit) {
    const int k = c.hits[hit];
    min_key(keys[c.cell[k]], key_of(block, c, k));
  }
}

void rasterize_squares(const SplatBlock& block, const SplatPoints&, const SplatJob& job, int v, Candidates& c) {
  const Rigid m = job.views[v].world2cam;
  const Pinhole pinhole = job.views[v].pinhole;
  uint64_t* keys = keys_of(job, v);
  const int h = job.h, w = job.w, lanes = block.lanes;
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
      for (int j = c.j0[k]; j <= c.j1[k]; ++j) min_key(keys[static_cast<int64_t>(i) * w + j], key);
  }
}

void rasterize_discs(const SplatBlock& block, const SplatPoints& points, const SplatJob& job, int v, Candidates& c) {
  const Rigid m = job.views[v].world2cam;
  const Pinhole pinhole = job.views[v].pinhole;
  uint64_t* keys = keys_of(job, v);
  const int h = job.h, w = job.w, lanes = block.lanes;
  const float near = block.near;
  const float radius = points.radius;
  for_each_lane(lanes, [&](int k) {
    const Projection p = project(m, pinhole, block.x[k], block.y[k], block.z[k]);
    const CellRange cells = cells_around(p, radius, h, w, near);
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
    if (c.cell[k] >= 0) min_key(keys[c.cell[k]], key);
    for (int i = c.i0[k]; i <= c.i1[k]; ++i)
      for (int j = c.j0[k]; j <= c.j1[k]; ++j)
        if (disc_covers(c.u[k], c.v[k], radius, i, j)) min_key(keys[static_cast<int64_t>(i) * w + j], key);
  }
}

Rasterize choose_rasterizer(Shape shape) {
  switch (shape) {
    case Shape::kSquare: return rasterize_squares;
    case Shape::kDisc: return rasterize_discs;
    default: return rasterize_points;
  }
}

void rasterize_all(const SplatPoints& points, const SplatJob& job, SplatBlock& block, Candidates& c) {
  const Rasterize rasterize = choose_rasterizer(points.shape);
  for (int64_t number = job.part; number < num_blocks(points); number += job.parts) {
    load(points, number, block);
    for (int v = 0; v < job.num_views; ++v)
      if (!is_culled(job.views[v].frustum, block.box, block.largest_extent)) rasterize(block, points, job, v, c);
  }
}

// The leaves that views first .. first + count - 1 may see.
void rasterize_leaves(const SplatPoints& points, const SplatJob& job, int first, int count, SplatBlock& block,
                      Candidates& c) {
  const Rasterize rasterize = choose_rasterizer(points.shape);
  const ExtentRule rule{points.extents ? points.extent : 0.0f, points.min_extent};
  int held = 0;
  uint32_t views = 0;  // that may see one of the leaves held
  const auto flush = [&] {
    block.lanes = held * static_cast<int>(kFanout);
    for (; views != 0; views &= views - 1) rasterize(block, points, job, first + __builtin_ctz(views), c);
    held = 0;
  };
  for_each_visible_leaf(points.boxes, rule, job.views + first, count, job.part, job.parts,
                        [&](int64_t leaf, uint32_t some) {
                          load_leaf(points, leaf * kFanout, held++, block);
                          views |= some;
                          if (held == kLeavesPerBlock) flush();
                        });
  flush();
}

void scatter(const SplatPoints& points, const SplatJob& job) {
  const int64_t cells = static_cast<int64_t>(job.h) * job.w;
  SplatBlock block;
  Candidates c;
  prepare(points, block);
  for (int64_t i = 0; i < job.num_views * cells; ++i) job.keys[i] = kEmptyKey;
  if (!points.boxes.level0) return rasterize_all(points, job, block, c);
  for (int first = 0; first < job.num_views; first += kViewBatch) {
    const int left = job.num_views - first;
    rasterize_leaves(points, job, first, left < kViewBatch ? left : kViewBatch, block, c);
  }
}

void join(uint64_t* keys, const uint64_t* others, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) keys[i] = others[i] < keys[i] ? others[i] : keys[i];
}

int64_t decode(uint64_t* keys, int64_t n, float* depth) {
  int64_t hits = 0;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const NearestPoint point = decode_key(keys[i]);
    depth[i] = point.depth;
    keys[i] = static_cast<uint64_t>(point.index);
    hits += point.index >= 0;
  }
  return hits;
}

}  // namespace

extern const SplatKernels splat_kernels{scatter, join, decode};

}  // namespace MIRAGE_ISA
}  // namespace mirage
