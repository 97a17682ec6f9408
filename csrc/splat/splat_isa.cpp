// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_isa.h"

#include "splat/splat.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace mirage {
namespace MIRAGE_ISA {
namespace {

// A block is deinterleaved once and then met by every view while it lies in the first-level cache.
constexpr int kBlock = 256;
constexpr int kLanes = 16;

struct alignas(64) PointBlock {
  float x[kBlock], y[kBlock], z[kBlock], extent[kBlock];
  Box box;
  uint32_t first;  // index of the block's first point
};

struct alignas(64) Candidates {
  int32_t cell[kBlock];    // negative: nothing to draw
  uint32_t depth[kBlock];  // bits of Z
  int32_t i0[kBlock], i1[kBlock], j0[kBlock], j1[kBlock];
  int32_t hits[kBlock + kLanes];  // the lanes with something to draw
};

void load(const SplatPoints& points, int64_t first, PointBlock& block) {
  const int64_t left = points.n - first;
  const int count = left < kBlock ? static_cast<int>(left) : kBlock;
  const float* xyz = points.xyz + 3 * first;
  const float nan = bits_float(0x7fc00000u);
#pragma GCC ivdep
  for (int k = 0; k < count; ++k) {
    block.x[k] = xyz[3 * k];
    block.y[k] = xyz[3 * k + 1];
    block.z[k] = xyz[3 * k + 2];
  }
  for (int k = count; k < kBlock; ++k) block.x[k] = block.y[k] = block.z[k] = nan;  // a NaN is never drawn
  if (points.valid) {
    const uint8_t* valid = points.valid + first;
    for (int k = 0; k < count; ++k) block.x[k] = valid[k] != 0 ? block.x[k] : nan;
  }
  if (points.extents) {
    for (int k = 0; k < count; ++k) block.extent[k] = points.extents[first + k];
    for (int k = count; k < kBlock; ++k) block.extent[k] = 0.0f;
  }
  block.first = static_cast<uint32_t>(first);
}

// By lanes, so that it vectorises; `a < b ? a : b` keeps b where a is NaN, so such a point leaves the box alone.
void bound(const float* coordinate, float* least, float* most) {
  alignas(64) float lo[kLanes], hi[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    lo[l] = bits_float(0x7f800000u);
    hi[l] = bits_float(0xff800000u);
  }
  for (int k = 0; k < kBlock; k += kLanes) {
#pragma GCC ivdep
    for (int l = 0; l < kLanes; ++l) {
      const float c = coordinate[k + l];
      lo[l] = c < lo[l] ? c : lo[l];
      hi[l] = c > hi[l] ? c : hi[l];
    }
  }
  for (int l = 1; l < kLanes; ++l) {
    lo[0] = lo[l] < lo[0] ? lo[l] : lo[0];
    hi[0] = hi[l] > hi[0] ? hi[l] : hi[0];
  }
  *least = lo[0];
  *most = hi[0];
}

void project_points(const PointBlock& block, const SplatView& view, int h, int w, Candidates& out) {
  const Rigid m = view.world2cam;
  const Pinhole pinhole = view.pinhole;
#pragma GCC ivdep
  for (int k = 0; k < kBlock; ++k) {
    const Projection p = project(m, pinhole, block.x[k], block.y[k], block.z[k]);
    out.cell[k] = cell_of(p, h, w);
    out.depth[k] = float_bits(p.z);
  }
}

void project_squares(const PointBlock& block, const SplatView& view, int h, int w, Candidates& out) {
  const Rigid m = view.world2cam;
  const Pinhole pinhole = view.pinhole;
#pragma GCC ivdep
  for (int k = 0; k < kBlock; ++k) {
    const Projection p = project(m, pinhole, block.x[k], block.y[k], block.z[k]);
    const CellRange cells = covered_cells(p, pinhole, block.extent[k], h, w);
    out.i0[k] = cells.i0;
    out.i1[k] = cells.i1;
    out.j0[k] = cells.j0;
    out.j1[k] = cells.j1;
    out.cell[k] = cells.i1 - cells.i0;
    out.depth[k] = float_bits(p.z);
  }
}

// Packs the lanes whose cell is not negative into hits; returns how many.
int compress(Candidates& c) {
  int n = 0;
#if defined(__AVX512F__)
  __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int k = 0; k < kBlock; k += kLanes) {
    const __mmask16 in = _mm512_cmpge_epi32_mask(_mm512_load_si512(c.cell + k), _mm512_setzero_si512());
    _mm512_storeu_si512(c.hits + n, _mm512_maskz_compress_epi32(in, lane));
    n += __builtin_popcount(in);
    lane = _mm512_add_epi32(lane, _mm512_set1_epi32(kLanes));
  }
#else
  for (int k = 0; k < kBlock; k += kLanes) {
    int32_t all = -1;
    for (int l = 0; l < kLanes; ++l) all &= c.cell[k + l];
    if (all < 0) continue;  // every sign bit is set
    for (int l = 0; l < kLanes; ++l) {
      c.hits[n] = k + l;
      n += c.cell[k + l] >= 0;
    }
  }
#endif
  return n;
}

// Stores without a branch: which point comes nearer is a coin toss the branch predictor loses.
MIRAGE_HD void lower(int64_t& cell, int64_t key) {
  cell = key < cell ? key : cell;
}

void scatter(const SplatPoints& points, const SplatJob& job) {
  const int64_t cells = static_cast<int64_t>(job.h) * job.w;
  const bool squares = points.extents != nullptr || points.extent > 0.0f;
  PointBlock block;
  Candidates c;
  float largest_extent = points.extent, unused;
  for (int k = 0; k < kBlock; ++k) block.extent[k] = points.extent;
  for (int64_t i = 0; i < job.num_views * cells; ++i) job.keys[i] = kEmptyKey;
  for (int64_t first = job.part * kBlock; first < points.n; first += job.parts * kBlock) {
    load(points, first, block);
    bound(block.x, &block.box.min[0], &block.box.max[0]);
    bound(block.y, &block.box.min[1], &block.box.max[1]);
    bound(block.z, &block.box.min[2], &block.box.max[2]);
    if (points.extents) bound(block.extent, &unused, &largest_extent);
    for (int v = 0; v < job.num_views; ++v) {
      const SplatView& view = job.views[v];
      if (misses(view.frustum, block.box, largest_extent)) continue;
      int64_t* keys = job.keys + v * cells;
      (squares ? project_squares : project_points)(block, view, job.h, job.w, c);
      const int n = compress(c);
      for (int hit = 0; hit < n; ++hit) {
        const int k = c.hits[hit];
        const int64_t key = depth_key(bits_float(c.depth[k]), block.first + static_cast<uint32_t>(k));
        if (!squares) {
          lower(keys[c.cell[k]], key);
          continue;
        }
        for (int i = c.i0[k]; i <= c.i1[k]; ++i)
          for (int j = c.j0[k]; j <= c.j1[k]; ++j) lower(keys[static_cast<int64_t>(i) * job.w + j], key);
      }
    }
  }
}

}  // namespace

extern const SplatKernels splat_kernels{scatter};

}  // namespace MIRAGE_ISA
}  // namespace mirage
