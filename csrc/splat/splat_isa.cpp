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

MIRAGE_HD void deinterleave(const float* xyz, int count, PointBlock& block) {
#pragma GCC ivdep
  for (int k = 0; k < count; ++k) {
    block.x[k] = xyz[3 * k];
    block.y[k] = xyz[3 * k + 1];
    block.z[k] = xyz[3 * k + 2];
  }
}

void load(const SplatPoints& points, int64_t first, PointBlock& block) {
  const int64_t left = points.n - first;
  const int count = left < kBlock ? static_cast<int>(left) : kBlock;
  const float nan = bits_float(0x7fc00000u);
  if (count == kBlock) {
    deinterleave(points.xyz + 3 * first, kBlock, block);
  } else {
    deinterleave(points.xyz + 3 * first, count, block);
    for (int k = count; k < kBlock; ++k) block.x[k] = block.y[k] = block.z[k] = nan;  // a NaN is never drawn
  }
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

typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

// `a < b ? a : b` keeps b where a is NaN, so such a point leaves the box alone.
void bound(const float* coordinate, float* least, float* most) {
  Lanes lo = Lanes{} + bits_float(0x7f800000u), hi = -lo;
  for (int k = 0; k < kBlock; k += kLanes) {
    Lanes c;
    __builtin_memcpy(&c, coordinate + k, sizeof(c));
    lo = c < lo ? c : lo;
    hi = c > hi ? c : hi;
  }
  float low[kLanes], high[kLanes];
  __builtin_memcpy(low, &lo, sizeof(lo));
  __builtin_memcpy(high, &hi, sizeof(hi));
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) {
      low[l] = low[l + half] < low[l] ? low[l + half] : low[l];
      high[l] = high[l + half] > high[l] ? high[l + half] : high[l];
    }
  }
  *least = low[0];
  *most = high[0];
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

// Packs the lanes that have something to draw into hits; returns how many. Points may be held against the depth bits
// that their cells show already (`keys`, or null), because most come too late: a nearer one is there. So does an
// equal one, for points come in ascending order.
int pack_hits(Candidates& c, const int64_t* keys) {
  int n = 0;
#if defined(__AVX512F__)
  __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int k = 0; k < kBlock; k += kLanes) {
    const __m512i cell = _mm512_load_si512(c.cell + k);
    __mmask16 in = _mm512_cmpge_epi32_mask(cell, _mm512_setzero_si512());
    if (keys && in) {  // the upper half of a key is the depth
      const __m512i shown = _mm512_mask_i32gather_epi32(cell, in, cell, reinterpret_cast<const int32_t*>(keys) + 1, 8);
      in = _mm512_mask_cmplt_epu32_mask(in, _mm512_load_si512(c.depth + k), shown);
    }
    _mm512_storeu_si512(c.hits + n, _mm512_maskz_compress_epi32(in, lane));
    n += __builtin_popcount(in);
    lane = _mm512_add_epi32(lane, _mm512_set1_epi32(kLanes));
  }
#else
  (void)keys;  // without a gather that is worth it, the comparison waits for the store
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
      const int n = pack_hits(c, squares ? nullptr : keys);
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

void join(int64_t* keys, const int64_t* others, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) keys[i] = others[i] < keys[i] ? others[i] : keys[i];
}

int64_t decode(int64_t* keys, int64_t n, float* depth) {
  int64_t hits = 0;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const int64_t key = keys[i];
    const bool hit = key != kEmptyKey;
    depth[i] = hit ? key_depth(key) : bits_float(0x7f800000u);
    keys[i] = hit ? key_index(key) : -1;
    hits += hit;
  }
  return hits;
}

}  // namespace

extern const SplatKernels splat_kernels{scatter, join, decode};

}  // namespace MIRAGE_ISA
}  // namespace mirage
