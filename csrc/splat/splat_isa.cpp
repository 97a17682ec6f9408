// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "splat/splat_isa.h"

#include "splat/splat_raster.h"

namespace mirage {
namespace MIRAGE_ISA {
namespace {

struct KeyBuffer {  // of one view: the nearest point of every cell
  uint64_t* keys;  // (h w,)

  MIRAGE_HD const uint64_t* limits() const { return keys; }
  MIRAGE_HD void add(int64_t cell, uint64_t key) const { min_key(keys[cell], key); }
};

KeyBuffer buffer_of(const SplatJob& job, int v) { return {job.keys + v * (static_cast<int64_t>(job.h) * job.w)}; }

void rasterize_all(const SplatPoints& points, const SplatJob& job, SplatBlock& block, Candidates& c) {
  const auto rasterize = choose_rasterizer<KeyBuffer>(points.shape);
  for (int64_t number = job.part; number < num_blocks(points); number += job.parts) {
    load(points, number, block);
    for (int v = 0; v < job.num_views; ++v)
      if (!is_culled(job.views[v].frustum, block.box, block.largest_extent))
        rasterize(block, {job.views[v], job.h, job.w}, buffer_of(job, v), c);
  }
}

// The leaves that views first .. first + count - 1 may see.
void rasterize_leaves(const SplatPoints& points, const SplatJob& job, int first, int count, SplatBlock& block,
                      Candidates& c) {
  const auto rasterize = choose_rasterizer<KeyBuffer>(points.shape);
  const ExtentRule rule{points.extents ? points.extent : 0.0f, points.min_extent};
  int held = 0;
  uint32_t views = 0;  // that may see one of the leaves held
  const auto flush = [&] {
    block.lanes = held * static_cast<int>(kFanout);
    for (; views != 0; views &= views - 1) {
      const int v = first + __builtin_ctz(views);
      rasterize(block, {job.views[v], job.h, job.w}, buffer_of(job, v), c);
    }
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

void composite(const SurfaceJob& job, int64_t begin, int64_t end) {
#pragma GCC ivdep
  for (int64_t i = begin; i < end; ++i) job.composite(i);
}

}  // namespace

extern const SplatKernels splat_kernels{scatter, join, decode, composite};

}  // namespace MIRAGE_ISA
}  // namespace mirage
